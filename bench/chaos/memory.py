"""Checks that memory does not grow: compares the last third of a run with the middle third."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.record import Record, Sample

LEAST_SECONDS = 120.0
"""Least length of a run that is judged; a shorter one is still warming up."""

NODE_FACTOR, REDIS_FACTOR = 1.10, 1.25
"""Allowed ratio of the last third to the middle one. Redis holds little, so a few members weigh more."""

SLACK = 2**18
"""Allowed growth in bytes on top of that."""


class Growth(Struct, frozen=True):
    """The median memory of the middle and the last third of a run, in bytes."""

    what: str
    middle: float
    last: float
    factor: float

    @property
    def flat(self) -> bool:
        """Whether the growth is within the limit."""
        return self.last <= self.middle * self.factor + SLACK

    def __str__(self) -> str:
        sizes = f"{self.middle / 2**20:.1f} MiB in the middle third, {self.last / 2**20:.1f} in the last"
        return f"{self.what}: {sizes}, {self.last / self.middle:.3f} times that; at most {self.factor:g}"


def growths(record: Record) -> list[Growth]:
    """Return the growth of Redis and of every node whose process ran through both thirds."""
    middle, last = _thirds(record.samples)
    if not middle or not last:
        return []
    found = []
    for node in sorted(middle[0].nodes.keys() & last[-1].nodes.keys()):
        if middle[0].nodes[node][0] == last[-1].nodes[node][0]:
            before, after = ([one.nodes[node][1] for one in part if node in one.nodes] for part in (middle, last))
            found.append(Growth(f"RSS of node {node}", median(before), median(after), NODE_FACTOR))
    before, after = ([one.redis for one in part if one.redis] for part in (middle, last))
    if before and after:
        found.append(Growth("used memory of Redis", median(before), median(after), REDIS_FACTOR))
    return found


def grown(record: Record) -> Iterator[str]:
    """Processes whose memory grew, in a run that is long enough to be judged."""
    samples = record.samples
    if not samples or samples[-1].at - samples[0].at < LEAST_SECONDS:
        return
    found = growths(record)
    if not any(one.what.startswith("RSS") for one in found):
        yield "no node lived through the last two thirds"
    yield from (str(one) for one in found if not one.flat)


def _thirds(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    if not samples:
        return [], []
    first, third = samples[0].at, (samples[-1].at - samples[0].at) / 3
    last = [one for one in samples if one.at >= first + 2 * third]
    return [one for one in samples if first + third <= one.at < first + 2 * third], last
