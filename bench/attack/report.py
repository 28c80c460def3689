"""The table of a run of attacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.attack.verdict import FACTOR, MEMORY, SLACK_US, TAIL_FACTOR, TAIL_SLACK_US
from bench.report import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.attack.verdict import Verdict

HEADINGS = [
    *("", "strikes", "cut", "calm p50", "p99", "elsewhere p50", "p99", "attacked p50", "p99", "ratio p50", "p99"),
    *("lost", "MiB", "bugs"),
]


def lines(verdicts: list[Verdict], *, timed: bool) -> Iterator[str]:
    """The bounds, the table, and what was broken."""
    yield "ms between bystanders: in calm, while another server is attacked, while theirs is"
    yield f"MiB that the server took more, at most {MEMORY >> 20}"
    if timed:
        median = f"p50 at most {FACTOR:g} times and {SLACK_US / 1000:g} ms more"
        tail = f"p99 at most {TAIL_FACTOR:g} times and {TAIL_SLACK_US / 1000:g} ms more"
        yield f"{median}, {tail} than beside the same attack elsewhere, which is the machine's share"
    else:
        yield "too short to judge latency"
    yield from aligned([[*HEADINGS, "verdict"], *(_row(verdict, timed=timed) for verdict in verdicts)])
    for verdict in verdicts:
        yield from (f"{verdict.attack}: {breach}" for breach in verdict.breaches(timed=timed))


def _row(verdict: Verdict, *, timed: bool) -> list[str]:
    spans = (verdict.calm, verdict.elsewhere, verdict.during)
    times = (time for span in spans for time in (span.p50, span.p99))
    return [
        verdict.attack,
        *(str(count) for count in (verdict.strikes, verdict.cut)),
        *(f"{value / 1000:.2f}" for value in times),
        *(f"{ratio:.2f}" for ratio in (verdict.ratio, verdict.tail_ratio)),
        str(verdict.lost),
        f"{verdict.grown / 2**20:.1f}",
        str(len(verdict.tracebacks)),
        "BROKEN" if any(verdict.breaches(timed=timed)) else "held",
    ]
