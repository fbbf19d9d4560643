"""The processes of the demo: two servers of its own and crossfade between them.

All of them listen on free ports of the loopback interface, write below one temporary directory, and
are stopped by the handle that started them; no other process is touched.
"""

import json
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

READY = re.compile(r"ready listen=(\S+?):(\d+) admin=([\w.:\[\]]+)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A child whose output goes to a file, stopped when the `with` block is left."""

    def __init__(self, name: str, command: list[str], home: Path):
        self.log = home / f"{name}.log"
        with self.log.open("wb") as sink:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_for(self, what: str, ready, seconds: float = 20):
        """The first true answer of `ready`; the process' own last words if there is none."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.child.poll() is None:
            if answer := ready():
                return answer
            time.sleep(0.02)
        raise RuntimeError(f"{what} did not start:\n{self.tail()}")


class Server(Process):
    """A redis-server that keeps nothing on disk."""

    def __init__(self, name: str, home: Path):
        self.port = free_port()
        options = {"port": self.port, "bind": "127.0.0.1", "dir": home, "appendonly": "no"}
        command = ["redis-server", "--save", ""]
        for option, value in options.items():
            command += [f"--{option}", str(value)]
        super().__init__(name, command, home)
        self.wait_for(name, self.answers)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Crossfade(Process):
    """`crossfade run`, its admin API, and the commands that drive it."""

    def __init__(self, binary: str, source: Server, target: Server, home: Path, rate: int):
        self.binary = binary
        self.ends = ["--source", source.url, "--target", target.url]
        listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        state = ["--state-dir", str(home / "state"), "--backfill-rate", str(rate)]
        super().__init__("crossfade", [binary, "run", *self.ends, *listen, *state], home)
        ready = self.wait_for("crossfade", lambda: READY.search(self.log.read_text()))
        self.port, self.admin = int(ready[2]), ready[3]

    def status(self) -> dict:
        with urllib.request.urlopen(f"http://{self.admin}/v1/status", timeout=5) as answer:
            return json.load(answer)

    def ask(self, command: str) -> "Answer":
        """A command to the running migration, as an operator would give it."""
        return Answer([self.binary, command, "--admin", self.admin, "--json"])

    def inspect(self, command: str) -> "Answer":
        """`check` or `compare`, which speak to the two servers themselves."""
        return Answer([self.binary, command, *self.ends, "--json"])


class Answer:
    """A command of crossfade's under way, and then what it answered."""

    def __init__(self, command: list[str]):
        self.name = command[1]
        self.child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def done(self) -> bool:
        return self.child.poll() is not None

    def result(self, accept: tuple[int, ...] = (0,)) -> dict:
        out, err = self.child.communicate()
        if self.child.returncode not in accept or not out.strip():
            raise RuntimeError(f"crossfade {self.name} failed: {err.strip() or out.strip()}")
        return json.loads(out)
