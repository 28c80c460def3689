"""What came of one run: counts, and examples of every breach."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct, field

from bench.chaos import returns
from bench.chaos.judge import CHECKS, expected, told
from bench.chaos.returns import Returns
from bench.chaos.rosters import announced_after, leaves
from bench.plan import Latency, percentiles

if TYPE_CHECKING:
    from bench.chaos.record import Record

EXAMPLES = 20
AFTERMATH = ("leaked", "bugs")
"""Checks that only hold good once all nodes have stopped."""


class Verdict(Struct):
    """One fault. `breaches` counts by check; `announced`: seconds, of killed nodes."""

    fault: str
    seed: int
    sent: int
    judged: int
    refused: dict[str, int]
    joins: int
    joins_failed: dict[str, int]
    breaches: dict[str, int]
    examples: dict[str, list[str]]
    latency: Latency
    leaving: Latency
    """From a leave to the last who was told of it; `latency` is that of messages."""
    announced: float | None
    settled: float
    returns: Returns
    timeline: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.breaches.values())

    def with_aftermath(self, record: Record) -> Verdict:
        """Add what was found after all had left."""
        for name in AFTERMATH:
            self._count(name, record)
        return self

    def _count(self, name: str, record: Record) -> None:
        found = list(CHECKS[name](record))
        self.breaches[name] = len(found)
        if found:
            self.examples[name] = found[:EXAMPLES]


def sum_up(fault: str, seed: int, record: Record, settled: float) -> Verdict:
    """Judge a record."""
    stays = record.stays
    waits = [int((one.at - one.sent_at) * 1e9) for stay in stays if not stay.struck for one in stay.arrived]
    verdict = Verdict(
        fault=fault,
        seed=seed,
        sent=sum(len(times) for stay in stays for times in stay.sent.values()),
        judged=sum(1 for _ in expected(record)),
        refused=dict(Counter(code for stay in stays for codes in stay.refused.values() for code in codes.values())),
        joins=sum(stay.joined_at is not None for stay in stays),
        joins_failed=dict(Counter(stay.join_error or "no answer" for stay in stays if stay.joined_at is None)),
        breaches={},
        examples={},
        latency=percentiles(waits),
        leaving=percentiles([int(seconds * 1e9) for seconds in leaves(record)]),
        announced=_announced(record),
        settled=settled,
        returns=returns.count(record, sum(1 for _ in told(record))),
        timeline=record.timeline,
    )
    for name in CHECKS:
        verdict._count(name, record)  # noqa: SLF001 - its own module
    return verdict


def _announced(record: Record) -> float | None:
    times = [announced_after(record, kill.members, kill.at) for kill in record.kills]
    known = [time for time in times if time is not None]
    return max(known) if known else None
