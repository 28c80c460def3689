"""Figures of outcomes: the median and range over rounds, and the ratio of two contenders.

A ratio is the median of the ratios within each round. Contenders take turns within a round, so whatever slows the
machine for longer than that affects both sides of a ratio.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import Outcome

MIB = 1024 * 1024
COUNTS = ("lost", "duplicated", "reordered", "refused", "told", "amiss")
"""Quantities reported from the worst round, not as a median."""


class Figure(NamedTuple):
    """A quantity over all rounds."""

    median: float
    least: float
    most: float


class Ratio(NamedTuple):
    """The ratio of a quantity of two contenders, over all rounds."""

    median: float
    least: float
    most: float
    rounds: int

    def __str__(self) -> str:
        times = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f}, {times})"


def quantities(outcome: Outcome) -> dict[str, float]:
    """Return the quantities of an outcome by name, without those that were not measured."""
    found = {"rss_mib": outcome.rss_bytes / MIB, "load_busy": outcome.load_busy}
    if outcome.operations:
        found |= {"cpu_us": outcome.cpu_us, "throughput": outcome.throughput, "operations": outcome.operations}
    if outcome.latency.count:
        latency = outcome.latency
        found |= {"latency_p50_us": latency.p50, "latency_p95_us": latency.p95, "latency_p99_us": latency.p99}
        found |= {"latency_max_us": latency.max, "latency_count": latency.count}
    return found | outcome.extra


def figures(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """Return the median, minimum and maximum of each quantity."""
    samples: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in quantities(outcome).items():
            samples.setdefault(name, []).append(value)
    return {name: Figure(median(values), min(values), max(values)) for name, values in samples.items()}


def ratio(ours: Sequence[Outcome], theirs: Sequence[Outcome], name: str) -> Ratio | None:
    """Return the ratio of a quantity, paired by round, or None if no round measured it for both.

    A contender that failed has fewer rounds; those beyond them are ignored.
    """
    rounds = [(quantities(one), quantities(other)) for one, other in zip(ours, theirs, strict=False)]
    found = [one[name] / other[name] for one, other in rounds if name in one and other.get(name)]
    return Ratio(median(found), min(found), max(found), len(found)) if found else None
