"""The report of a run of attacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.attack.verdict import (
    FACTOR,
    KERNEL,
    LOG_AT_ONCE,
    LOG_RATE,
    MEMORY,
    TAIL_FACTOR,
    TAIL_SLACK_US,
)
from bench.report import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.attack.verdict import Verdict

HEADINGS = [
    *("", "attempts", "cut", "calm p50", "p99", "elsewhere p50", "p99", "attacked p50", "p99", "ratio p50", "p99"),
    *("newcomers elsewhere p50", "p95", "attacked p50", "p95", "lost", "MiB", "kernel MiB", "log KB/s", "bugs"),
]


def lines(verdicts: list[Verdict], *, timed: bool) -> Iterator[str]:
    """Yield the limits, the table and the breaches."""
    yield "latency between bystanders in ms: calm, while the other server is attacked, while theirs is"
    yield f"MiB: growth of the server's memory, at most {MEMORY >> 20}; for sockets, of the kernel's, {KERNEL >> 20}"
    yield f"log: at most {LOG_AT_ONCE >> 10} KB at once and {LOG_RATE >> 10} KB a second"
    if timed:
        limits = verdicts[0].limits
        median = f"p50 at most {FACTOR:g} times and {limits.slack / 1000:g} ms more"
        tail = f"p99 at most {TAIL_FACTOR:g} times and {TAIL_SLACK_US / 1000:g} ms more"
        yield f"{median}, {tail} than while the other server is attacked"
        yield f"newcomers: ms to connect and join, p95 at most {limits.newcomers / 1000:g}"
    else:
        yield "too short to judge latency"
    yield from aligned([[*HEADINGS, "verdict"], *(_row(verdict, timed=timed) for verdict in verdicts)])
    for verdict in verdicts:
        yield from (f"{verdict.attack}: {breach}" for breach in verdict.breaches(timed=timed))


def _row(verdict: Verdict, *, timed: bool) -> list[str]:
    spans = (verdict.calm, verdict.elsewhere, verdict.during)
    newcomers = (verdict.newcomers_elsewhere, verdict.newcomers)
    times = (time for span in spans for time in (span.p50, span.p99))
    return [
        verdict.attack,
        *(str(count) for count in (verdict.attempts, verdict.cut)),
        *(f"{value / 1000:.2f}" for value in times),
        *(f"{ratio:.2f}" for ratio in (verdict.ratio, verdict.tail_ratio)),
        *(f"{time / 1000:.1f}" for span in newcomers for time in (span.p50, span.p95)),
        str(verdict.lost),
        *(f"{grown / 2**20:.1f}" for grown in (verdict.grown, verdict.kernel)),
        f"{verdict.logged / verdict.seconds / 1024:.1f}",
        str(len(verdict.tracebacks)),
        "BROKEN" if any(verdict.breaches(timed=timed)) else "held",
    ]
