"""A whole migration under traffic: copy, mirror, verify, cut over, go back, cut over again.

    demo.py PATH_TO_CROSSFADE

Exits 0 only if no client met an error or a wrong answer, and the two servers end up equal.
"""

import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import dataset
from processes import Crossfade, Server
from screen import Screen
from traffic import Traffic

# Keys a second of the backfill: slow enough that it can be watched under traffic.
RATE = 8_000
TICK = 0.2
# How long the application runs on one side before the next flip.
SPELL = 6.0


class Migration:
    """The director: gives the orders of an operator, and watches meanwhile."""

    def __init__(self, crossfade: Crossfade, traffic: Traffic, screen: Screen):
        self.crossfade, self.traffic, self.screen = crossfade, traffic, screen
        self.peak_lag = 0.0
        self.peak_rate = 0.0
        self.holds: list[str] = []
        self.status: dict = {}

    def watch(self, until, seconds: float = 120.0):
        """Shows the status until the condition holds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.look()
            if until():
                return
            time.sleep(TICK)
        raise RuntimeError(f"nothing came of it within {seconds:.0f} s: {self.status}")

    def look(self):
        self.status = self.crossfade.status()
        self.screen.show(self.status, self.traffic.gauges)
        self.peak_lag = max(self.peak_lag, self.status["mirror"]["lag_seconds"])
        self.peak_rate = max(self.peak_rate, self.screen.commands.value)

    def spell(self):
        end = time.monotonic() + SPELL
        self.watch(lambda: time.monotonic() >= end)

    def order(self, command: str) -> dict:
        answer = self.crossfade.ask(command)
        self.watch(answer.done)
        return answer.result()

    def backfill(self):
        self.watch(lambda: self.status["phase"] == "mirroring")
        copied = self.status["backfill"]["copied"]
        self.screen.step(f"backfill done: {copied:,} keys copied while the clients went on")

    def verify(self):
        verify = self.order("verify")
        found = verify["missing"] + verify["extra"] + verify["different"]
        self.screen.step(f"verify: {verify['state']}, {verify['checked']:,} keys, {found} to repair")

    def flip(self, command: str):
        hold = self.order(command)["hold_ms"]
        self.holds.append(f"{command} {hold} ms")
        self.look()
        primary = self.status["primary"]
        self.screen.step(f"{command}: clients are on the {primary} now, held for {hold} ms")

    def settle(self):
        """The last writes reach the other side."""
        self.watch(lambda: settled(self.status["mirror"]), 30)


def settled(mirror: dict) -> bool:
    return mirror["lag_seconds"] == 0 and mirror["queued"] == 0 and mirror["dirty_keys"] == 0


def migrate(migration: Migration):
    migration.backfill()
    migration.spell()
    migration.verify()
    migration.flip("cutover")
    migration.spell()
    migration.flip("rollback")
    migration.spell()
    # What was verified before the rollback no longer counts.
    migration.verify()
    migration.flip("cutover")
    migration.spell()


def summary(migration: Migration, keys: int, problems: list[str], result: dict) -> int:
    differences = sum(result[kind] for kind in ("missing", "extra", "type", "value", "expiry"))
    commands = migration.status["clients"]["commands"]
    slowest = migration.traffic.gauges.slowest.value * 1000
    rows = {
        "keys": f"{keys:,} at the start",
        "client commands": f"{commands:,}, {migration.peak_rate:,.0f} a second at best",
        "flips": ", ".join(migration.holds),
        "longest wait": f"{slowest:,.0f} ms, of any client for any answer",
        "peak lag": f"{migration.peak_lag * 1000:,.0f} ms",
        "errors": str(len(problems) or "none"),
        "differences": str(differences or "none"),
    }
    print("\n" + "\n".join(f"  {name:>16}  {value}" for name, value in rows.items()) + "\n")
    for problem in problems[:20]:
        print(f"  {problem}")
    return 1 if problems or differences else 0


def demo(binary: str, home: Path, stack: ExitStack) -> int:
    screen = Screen()
    source = stack.enter_context(Server("source", home))
    target = stack.enter_context(Server("target", home))
    screen.step(f"source on {source.port}, target on {target.port}")
    keys = dataset.load(source.port)
    screen.step(f"source filled: {keys:,} keys of every type")
    crossfade = stack.enter_context(Crossfade(binary, source, target, home, RATE))
    screen.step(f"crossfade on {crossfade.port}, admin API on {crossfade.admin}")
    traffic = stack.enter_context(Traffic(crossfade.port))
    screen.step(f"{len(traffic.processes[False] + traffic.processes[True])} client processes started")

    migration = Migration(crossfade, traffic, screen)
    try:
        migrate(migration)
        problems = traffic.stop()
        migration.settle()
    except Exception:
        print(crossfade.tail(), file=sys.stderr)
        raise
    screen.step("traffic stopped; comparing the two servers, key by key, both ways")
    comparison = crossfade.inspect("compare").result(accept=(0, 1))
    return summary(migration, keys, problems, comparison)


def main() -> int:
    binary = str(Path(sys.argv[1]).resolve())
    # Whatever ends the demo, what it has started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="crossfade-demo-") as home, ExitStack() as stack:
        try:
            return demo(binary, Path(home), stack)
        except (RuntimeError, OSError) as error:
            print(f"the demo failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
