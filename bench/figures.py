"""From outcomes to figures: medians and spans over rounds, and the ratio of ours to another's."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import Outcome

MIB = 1024 * 1024
COUNTS = ("lost", "duplicated", "reordered", "refused", "amiss")
"""Quantities of which the worst round counts, not the median."""


class Figure(NamedTuple):
    """One quantity over all rounds."""

    median: float
    least: float
    most: float


def quantities(outcome: Outcome) -> dict[str, float]:
    """What one outcome says, by name; a quantity that was not measured is left out."""
    found = {"rss_mib": outcome.rss_bytes / MIB, "load_busy": outcome.load_busy}
    if outcome.operations:
        found |= {"cpu_us": outcome.cpu_us, "throughput": outcome.throughput, "operations": outcome.operations}
    if outcome.latency.count:
        latency = outcome.latency
        found |= {"latency_p50_us": latency.p50, "latency_p95_us": latency.p95, "latency_p99_us": latency.p99}
        found |= {"latency_max_us": latency.max, "latency_count": latency.count}
    return found | outcome.extra


def figures(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """Median, least and most of each quantity over the rounds."""
    samples: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in quantities(outcome).items():
            samples.setdefault(name, []).append(value)
    return {name: Figure(median(values), min(values), max(values)) for name, values in samples.items()}


def ratio(ours: Figure | None, theirs: Figure | None) -> float | None:
    """Our median to theirs; None where one of them is missing."""
    if ours is None or theirs is None or not theirs.median:
        return None
    return ours.median / theirs.median
