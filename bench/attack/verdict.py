"""What came of one attack, and what may come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from bench.plan import Latency

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = 96 * 2**20
"""Bytes that the server may take beyond what it took before the first attack, whatever is done to it."""

FACTOR, SLACK_US = 2.0, 500.0
"""How many times its median beside an attack elsewhere a message between bystanders may take, and so many microseconds
more."""

TAIL_FACTOR, TAIL_SLACK_US = 4.0, 10_000.0
"""The same for the 99th percentile, which two cores that five processes share move, too."""


class Verdict(Struct):
    """One attack. `calm`, `elsewhere` (another server was attacked) and `during` are bystanders' latencies.

    `grown` is in bytes, `tracebacks` are log lines.
    """

    attack: str
    strikes: int
    cut: int
    calm: Latency
    elsewhere: Latency
    during: Latency
    lost: int
    grown: int
    tracebacks: list[str]
    complaints: list[str]

    @property
    def ratio(self) -> float:
        """The median during the attack by that while it was done to another server."""
        return self.during.p50 / self.elsewhere.p50 if self.elsewhere.p50 else 0.0

    @property
    def tail_ratio(self) -> float:
        """The same of the 99th percentiles."""
        return self.during.p99 / self.elsewhere.p99 if self.elsewhere.p99 else 0.0

    def breaches(self, *, timed: bool = True) -> Iterator[str]:
        """What must not be; latency only where the run was long enough to tell."""
        if not self.strikes:
            yield "nobody attacked"
        if not self.during.count:
            yield "the bystanders fell silent"
        if self.lost:
            yield f"{self.lost} messages of bystanders were lost"
        if self.grown > MEMORY:
            yield f"memory grew by {self.grown / 2**20:.1f} MiB, more than {MEMORY // 2**20}"
        if self.tracebacks:
            yield f"{len(self.tracebacks)} tracebacks in the log; the first: {self.tracebacks[0][:300]}"
        yield from self.complaints
        if timed and self.during.p50 > FACTOR * self.elsewhere.p50 + SLACK_US:
            yield f"the median of bystanders was {self.ratio:.1f} times that beside an attack elsewhere"
        if timed and self.during.p99 > TAIL_FACTOR * self.elsewhere.p99 + TAIL_SLACK_US:
            yield f"the 99th percentile of bystanders was {self.tail_ratio:.1f} times that beside an attack elsewhere"
