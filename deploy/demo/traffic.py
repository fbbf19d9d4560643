"""Runs the workers, each a process of its own, and redis-benchmark beside them."""

import multiprocessing
import signal
import subprocess
import time

import redis

import workers

CONSUMERS = (workers.Jobs, workers.Events, workers.News)
PRODUCERS = (
    workers.Producer,
    workers.Counters,
    workers.Counters,
    workers.Sessions,
    workers.Carts,
    workers.Scores,
    workers.Locks,
    workers.Locks,
)
BENCHMARK = "set,get,incr,lpush,rpop,sadd,spop,hset,zadd,zpopmin"
# Replies after which something is amiss for sure, whichever the worker.
LIMIT = 20


class Gauges:
    """What the screen shows while the workers run."""

    def __init__(self):
        self.problems = multiprocessing.Value("q", 0)
        self.slowest = multiprocessing.Value("d", 0.0)

    def note(self, seconds: float, problems: int):
        with self.slowest.get_lock():
            self.slowest.value = max(self.slowest.value, seconds)
        with self.problems.get_lock():
            self.problems.value += problems


def work(kind, number, port, started, stop, gauges, reports):
    """The life of one worker process."""
    # Ctrl-C is the director's affair: it stops everything in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    client = redis.Redis(port=port, socket_timeout=30)
    worker = kind(client, number)
    started.set()
    while not stop.is_set() and len(worker.problems) < LIMIT:
        attempt(worker, worker.step, gauges)
        time.sleep(worker.pace)
    attempt(worker, worker.finish, None)
    reports.put((kind.__name__, worker.count, worker.problems))


def attempt(worker, act, gauges):
    known, began = len(worker.problems), time.monotonic()
    try:
        act()
    except Exception as error:  # Whatever it is, no client should have met it.
        worker.problems.append(f"{type(worker).__name__} {worker.number}: {error!r}")
    if gauges:
        # How long a consumer waits is the producer's affair.
        seconds = 0.0 if worker.consumer else time.monotonic() - began
        gauges.note(seconds, len(worker.problems) - known)


def benchmark(port, stop, gauges, reports):
    """redis-benchmark in short runs, so that it can be stopped and leaves the others some time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = ["-q", "-c", "10", "-n", "3000", "-r", "20000", "-P", "4", "-t", BENCHMARK]
    problems = []
    while not stop.is_set() and not problems:
        run = subprocess.run(
            ["redis-benchmark", "-p", str(port), *options], capture_output=True, text=True
        )
        if run.returncode != 0 or "rror" in run.stdout + run.stderr:
            problems.append(f"redis-benchmark: {run.stderr.strip() or run.stdout.strip()}")
            gauges.note(0.0, 1)
        stop.wait(0.5)
    reports.put(("Benchmark", 0, problems))


class Traffic:
    """All clients together: started by `with`, ended by `stop`, which tells what went wrong."""

    def __init__(self, port: int):
        self.client = redis.Redis(port=port)
        self.gauges = Gauges()
        self.reports = multiprocessing.Queue()
        self.ends = {False: multiprocessing.Event(), True: multiprocessing.Event()}
        self.processes: dict[bool, list] = {False: [], True: []}
        for number, kind in enumerate(CONSUMERS + PRODUCERS):
            self.start(kind, number, port)
        bench = multiprocessing.Process(
            target=benchmark, args=(port, self.ends[False], self.gauges, self.reports), daemon=True
        )
        bench.start()
        self.processes[False].append(bench)

    def start(self, kind, number, port):
        """Consumers come first and are waited for: what is published to nobody is lost."""
        started, stop = multiprocessing.Event(), self.ends[kind.consumer]
        process = multiprocessing.Process(
            target=work,
            args=(kind, number, port, started, stop, self.gauges, self.reports),
            daemon=True,
        )
        process.start()
        self.processes[kind.consumer].append(process)
        if not started.wait(10):
            raise RuntimeError(f"the {kind.__name__} client could not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes[False] + self.processes[True]:
            process.kill()

    def stop(self) -> list[str]:
        """Producers first, then what consumes from them; then everything that was not as expected."""
        reports = []
        for consumer in (False, True):
            self.ends[consumer].set()
            reports += [self.reports.get(timeout=60) for _ in self.processes[consumer]]
        found = [problem for _, _, problems in reports for problem in problems]
        return found + unbalanced(reports) + self.unlocked(reports)

    def unlocked(self, reports) -> list[str]:
        """What was added under the lock by one client and overwritten by another."""
        added = sum(count for name, count, _ in reports if name == "Locks")
        kept = int(self.client.get("demo:locked") or 0)
        return [] if kept == added else [f"Locks: {kept} of {added} additions were kept"]


def unbalanced(reports) -> list[str]:
    """What was produced and never consumed."""
    sent = sum(count for name, count, _ in reports if name == "Producer")
    return [
        f"{name} got {count} of {sent}"
        for name, count, _ in reports
        if name in {kind.__name__ for kind in CONSUMERS} and count != sent
    ]
