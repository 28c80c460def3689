"""The verdict about one kind of fault, over all times that it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from bench.heal import judge
from bench.heal.judge import quantile
from bench.heal.record import ways

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.heal.record import Mesh, Pair, Record

TOLD_WITHIN = 5.0
"""Seconds in which a pair that cannot connect is to be told so."""

GOAL = 3.0
"""Seconds in which pairs are to be back, in 95 of 100 cases."""


class Healed(Struct):
    """Pairs of one mesh that were broken: the seconds of those that healed, and the number of those that did not."""

    seconds: list[float] = field(default_factory=list)
    never: int = 0

    @property
    def broken(self) -> int:
        """The number of pairs that were broken."""
        return len(self.seconds) + self.never

    @property
    def share(self) -> float | None:
        """The share of broken pairs that healed; None if none was broken."""
        return len(self.seconds) / self.broken if self.broken else None

    def quantile(self, share: float) -> float | None:
        """The seconds in which this share of the healed pairs were back; None if there are none."""
        return quantile(self.seconds, share) if self.seconds else None


class Verdict(Struct):
    """What came of a fault, made `times` times.

    `pairs`: those whose path it touched. `told`: of pairs that cannot connect, the seconds until a page said so with
    the right reason, None if it did not; `reasons`: how often each was said. `slow`: pairs that healed too late, and
    what they said meanwhile. `silent`: pairs that said connected while nothing flowed. `unexpected`: pairs that were
    interrupted though nothing was wrong with their path.
    """

    fault: str
    times: int = 0
    pairs: int = 0
    call: Healed = field(default_factory=Healed)
    plain: Healed = field(default_factory=Healed)
    told: list[float | None] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    slow: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Judge one more record."""
        self.times += 1
        self.pairs += len(record.broken)
        for name, healed in (("call", self.call), ("plain", self.plain)):
            _count(healed, record, name)  # type: ignore[arg-type]
        self.slow += _slow(record)
        for telling in judge.tellings(record):
            self.told.append(telling.seconds if telling.right else None)
            said = telling.reason or "nothing"
            self.reasons[said] = self.reasons.get(said, 0) + 1
        self.silent += [f"{one} with {other}: {seconds:.1f} s" for (one, other), seconds in judge.silent(record)]
        self.unexpected += [f"{one} with {other}" for one, other in judge.unexpected(record)]

    @property
    def told_in_time(self) -> int:
        """How often a page said within five seconds, and rightly, why a pair is not connected."""
        return sum(seconds is not None and seconds <= TOLD_WITHIN for seconds in self.told)


def summarize(records: Iterable[Record]) -> list[Verdict]:
    """Judge records, by fault."""
    verdicts: dict[str, Verdict] = {}
    for record in records:
        verdicts.setdefault(record.fault, Verdict(record.fault)).add(record)
    return list(verdicts.values())


def breaches(verdicts: Sequence[Verdict], *, timed: bool) -> list[str]:
    """Return the goals that were missed; without those about time, if `timed` is false."""
    never = sum(verdict.call.never for verdict in verdicts)
    found = [f"{never} pairs did not heal"] if never else []
    wrong = sum(seconds is None for verdict in verdicts for seconds in verdict.told)
    found += [f"{wrong} times the reason of a failed pair was wrong, or it was not told"] if wrong else []
    if not timed:
        return found
    seconds = [each for verdict in verdicts for each in verdict.call.seconds]
    if seconds and (p95 := quantile(seconds, 0.95)) > GOAL:
        found.append(f"pairs were back in {p95:.2f} s at p95; the goal is {GOAL:g} s")
    silent = sum(len(verdict.silent) for verdict in verdicts)
    found += [f"{silent} times a pair said connected while nothing flowed"] if silent else []
    late = sum(len(verdict.told) - verdict.told_in_time for verdict in verdicts) - wrong
    found += [f"{late} times a failed pair was told so after more than {TOLD_WITHIN:g} s"] if late else []
    return found


def _slow(record: Record) -> Iterator[str]:
    for pair, seconds in judge.healings(record, "call"):
        if seconds is None or seconds > GOAL:
            [broken] = (one for one in record.broken if one.pair == pair)
            took = "never" if seconds is None else f"{seconds:.1f} s"
            said = "; ".join(_said(record, way, broken.at) for way in ways(pair))
            yield f"{took}, usable after {broken.usable - broken.at:.1f} s; {said}"


def _said(record: Record, way: Pair, since: float) -> str:
    """Return what a page said of another one from the time of the fault on."""
    told = [one for one in record.states.get(way, ()) if one.at >= since]
    words = (f"{one.state}{f' ({one.reason})' if one.reason else ''} {one.at - since:.1f}" for one in told)
    return f"{way[0]} of {way[1]}: {', '.join(words) or 'nothing'}"


def _count(healed: Healed, record: Record, mesh: Mesh) -> None:
    for healing in judge.healings(record, mesh):
        if healing.seconds is None:
            healed.never += 1
        else:
            healed.seconds.append(healing.seconds)
