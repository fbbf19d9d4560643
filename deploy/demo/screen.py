"""What the demo shows: a table that stays in place on a terminal, plain lines anywhere else."""

import sys
import time

WIDTH = 72
BAR = 40
# Without a terminal, one line in this many seconds is enough.
PLAIN_EVERY = 2.0


def bar(percent: float) -> str:
    full = round(BAR * min(percent, 100.0) / 100.0)
    return "█" * full + "░" * (BAR - full)


class Rate:
    """Things a second, from a count that only grows."""

    def __init__(self):
        self.count, self.at, self.value = 0, time.monotonic(), 0.0

    def update(self, count: int) -> float:
        elapsed = time.monotonic() - self.at
        if elapsed >= 0.5:
            self.value = (count - self.count) / elapsed
            self.count, self.at = count, time.monotonic()
        return self.value


class Screen:
    def __init__(self):
        self.live = sys.stdout.isatty()
        self.began = time.monotonic()
        self.drawn = 0
        self.printed_at = 0.0
        self.commands = Rate()

    def step(self, text: str):
        """A line that stays."""
        self.erase()
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def show(self, status: dict, gauges):
        """The state of things now, over what was shown before."""
        rate = self.commands.update(status["clients"]["commands"])
        if self.live:
            self.erase()
            lines = table(status, gauges, rate)
            print("\n".join(lines), flush=True)
            self.drawn = len(lines)
        elif time.monotonic() - self.printed_at >= PLAIN_EVERY:
            self.printed_at = time.monotonic()
            self.step("  " + line(status, gauges, rate))

    def erase(self):
        if self.drawn:
            print(f"\x1b[{self.drawn}F\x1b[J", end="")
            self.drawn = 0


def table(status: dict, gauges, rate: float) -> list[str]:
    backfill, mirror, verify = status["backfill"], status["mirror"], status["verify"]
    primary = status["primary"]
    flow = "source ──▶ target" if primary == "source" else "target ──▶ source"
    rows = {
        "phase": f"{status['phase']:<14} clients on the {primary}, mirror {flow}",
        "backfill": f"{bar(backfill['percent'])} {backfill['percent']:5.1f} %",
        "copied": f"{backfill['copied']:,} keys, {backfill['keys_per_second']:,.0f} a second,"
        f" {backfill['recopied']:,} recopied",
        "mirror": f"{mirror['applied']:,} applied, {mirror['queued']:,} queued,"
        f" {mirror['dirty_keys']:,} dirty",
        "lag": f"{mirror['lag_seconds'] * 1000:,.0f} ms",
        "verify": f"{verify['state']}, {verify['checked']:,} keys checked",
        "clients": f"{status['clients']['connected']} connected, {rate:,.0f} commands a second",
        "slowest": f"{gauges.slowest.value * 1000:,.0f} ms, the longest that a client has waited",
        "errors": f"{gauges.problems.value}",
    }
    body = [f"  {name:>9}  {value}" for name, value in rows.items()]
    return ["─" * WIDTH, *body, "─" * WIDTH]


def line(status: dict, gauges, rate: float) -> str:
    backfill, mirror, verify = status["backfill"], status["mirror"], status["verify"]
    checked = f" verified {verify['checked']:,}" if verify["state"] == "running" else ""
    return (
        f"{status['phase']} backfill {backfill['percent']:.0f} %{checked} lag {mirror['lag_seconds'] * 1000:.0f} ms"
        f" queued {mirror['queued']} dirty {mirror['dirty_keys']}"
        f" commands/s {rate:,.0f} errors {gauges.problems.value}"
    )
