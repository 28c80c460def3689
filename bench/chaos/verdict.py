"""The verdict of a run: counts, and examples of every breach."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct, field

from bench.chaos import resume_checks
from bench.chaos.judge import CHECKS, expected, told
from bench.chaos.resume_checks import ResumeCounts
from bench.chaos.roster_checks import announced_after, leaves
from bench.plan import Latency, percentiles

if TYPE_CHECKING:
    from bench.chaos.record import Record

EXAMPLES = 20
FINAL_CHECKS = ("leaked", "bugs")
"""Checks that are made after all nodes have stopped."""


class Verdict(Struct):
    """The result of one fault.

    `breaches`: counts by check. `announced`: seconds until the peers of a killed node were reported as gone.
    """

    fault: str
    seed: int
    sent: int
    judged: int
    refused: dict[str, int]
    joins: int
    joins_failed: dict[str, int]
    kicks: dict[str, int]
    """Requests to remove a member, by answer."""
    breaches: dict[str, int]
    examples: dict[str, list[str]]
    latency: Latency
    leaving: Latency
    """Time from a leave until the last member was told of it; `latency` is that of messages."""
    announced: float | None
    settled: float
    returns: ResumeCounts
    timeline: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.breaches.values())

    def with_final_checks(self, record: Record) -> Verdict:
        """Add the checks that are made after all members have left."""
        for name in FINAL_CHECKS:
            self.check(name, record)
        return self

    def check(self, name: str, record: Record) -> None:
        """Make a check, and keep the count and some examples of its breaches."""
        found = list(CHECKS[name](record))
        self.breaches[name] = len(found)
        if found:
            self.examples[name] = found[:EXAMPLES]


def summarize(fault: str, seed: int, record: Record, settled: float) -> Verdict:
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
        kicks=dict(Counter(stay.kick_answer or "no answer" for stay in stays if stay.kicked_at is not None)),
        breaches={},
        examples={},
        latency=percentiles(waits),
        leaving=percentiles([int(seconds * 1e9) for seconds in leaves(record)]),
        announced=_announced(record),
        settled=settled,
        returns=resume_checks.count(record, sum(1 for _ in told(record))),
        timeline=record.timeline,
    )
    for name in CHECKS:
        verdict.check(name, record)
    return verdict


def _announced(record: Record) -> float | None:
    times = [announced_after(record, kill.members, kill.at) for kill in record.kills]
    known = [time for time in times if time is not None]
    return max(known) if known else None
