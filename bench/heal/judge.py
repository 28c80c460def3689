"""Judges a record: when pairs that were broken flow again, and whether the pages said so. Pure, without a clock."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from bench.heal.record import pairs_of, ways

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.heal.record import Mesh, Pair, Record, State

PAUSE = 1.0
"""Seconds without an arrival, ten messages, after which a way does not flow."""

SILENCE = 5.0
"""Seconds for which a pair may say that it is connected while a way does not flow."""


class Span(NamedTuple):
    """Seconds since 1970."""

    begin: float
    end: float

    def common(self, other: Span) -> float:
        """Return the seconds that two spans have in common."""
        return max(0.0, min(self.end, other.end) - max(self.begin, other.begin))


class Healing(NamedTuple):
    """How a broken pair came back: `seconds` from the moment when a path was usable, None if it did not."""

    pair: Pair
    seconds: float | None


class Telling(NamedTuple):
    """What a page said of a pair that cannot connect: `seconds` after the fault, None and no reason if it did not."""

    way: Pair
    wanted: str
    seconds: float | None
    reason: str

    @property
    def right(self) -> bool:
        """Whether it said what is true."""
        return self.reason == self.wanted


def healings(record: Record, mesh: Mesh) -> Iterator[Healing]:
    """Yield the pairs that the fault has interrupted."""
    for broken in record.broken:
        spans = [span for way in ways(broken.pair) for span in pauses(record, mesh, way) if span.end > broken.at]
        if spans and _is_member(record, mesh, broken.pair):
            last = max(span.end for span in spans)
            yield Healing(broken.pair, None if last >= record.ended else max(0.0, last - broken.usable))


def silent(record: Record) -> Iterator[tuple[Pair, float]]:
    """Yield the pairs, as a page and another one, that said connected for too long while a way did not flow."""
    for way, states in record.states.items():
        spans = [span for one in ways(way) for span in pauses(record, "call", one)]
        longest = max((span.common(told) for span in spans for told in connected(states, record.ended)), default=0.0)
        if longest > SILENCE:
            yield way, longest


def tellings(record: Record) -> Iterator[Telling]:
    """Yield what the pages said of the pairs that cannot connect."""
    for broken in record.broken:
        for way in ways(broken.pair) if broken.reason else ():
            failed = [one for one in record.states.get(way, ()) if one.state == "failed" and one.at >= broken.at]
            right = next((one for one in failed if one.reason == broken.reason), None)
            said = right or (failed[0] if failed else None)
            seconds = None if said is None else said.at - broken.at
            yield Telling(way, broken.reason, seconds, "" if said is None else said.reason)


def unexpected(record: Record) -> Iterator[Pair]:
    """Yield the pairs of the call that were interrupted although the fault has not touched their path."""
    touched = {broken.pair for broken in record.broken}
    pages = {page for _, way in record.arrivals for page in way}
    for pair in pairs_of(pages, pages):
        if pair not in touched and any(pauses(record, "call", way) for way in ways(pair)):
            yield pair


def pauses(record: Record, mesh: Mesh, way: Pair) -> list[Span]:
    """Return the spans in which nothing arrived on a way; one that lasts until the end of the record ends there."""
    times = [at for at in record.arrivals.get((mesh, way), ()) if record.began <= at <= record.ended]
    edges = [record.began, *times, record.ended]
    return [Span(*span) for span in pairwise(edges) if span[1] - span[0] > PAUSE]


def connected(states: Sequence[State], ended: float) -> Iterator[Span]:
    """Yield the spans in which a page called its pair connected."""
    for state, after in pairwise([*states, None]):
        if state is not None and state.state == "connected":
            yield Span(state.at, ended if after is None else after.at)


def quantile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that this share of all values does not exceed. Raises ValueError if there are none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("There are no values.")
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _is_member(record: Record, mesh: Mesh, pair: Pair) -> bool:
    """Whether the pair is one of the mesh: something has arrived on it before the fault."""
    return mesh == "call" or any((mesh, way) in record.arrivals for way in ways(pair))
