"""What was recorded during one fault: the fault's own times, and what the pages noted."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable

Mesh = Literal["call", "plain"]
"""`call`: pairs of the package's Call. `plain`: pairs that nothing heals, of the same pages."""

Pair = tuple[int, int]
"""The numbers of two pages, the lower one first; as a way, of the one that sends and the one that receives."""


class Broken(Struct, frozen=True):
    """A pair whose path a fault breaks, in seconds since 1970: when, and when some path is usable again.

    `reason`: what both pages must say before that; empty: nothing is demanded, as it takes too short.
    """

    pair: Pair
    at: float
    usable: float
    reason: str = ""


class State(Struct, frozen=True):
    """What a page says about its pair with another from a time on; `reason` only if it failed."""

    at: float
    state: str
    reason: str = ""


class Record(Struct):
    """One fault, from `began` to `ended`.

    `arrivals`: by mesh and way, the times of all arrivals, in order. `states`: by page and the other page, what `call`
    says, in order, with the state before the fault first.
    """

    fault: str
    began: float
    ended: float
    broken: list[Broken]
    arrivals: dict[tuple[Mesh, Pair], list[float]] = field(default_factory=dict)
    states: dict[Pair, list[State]] = field(default_factory=dict)

    def take(self, page: int, drained: dict[str, Any]) -> None:
        """Add what a page has noted."""
        for mesh, other, at in drained["arrivals"]:
            self.arrivals.setdefault((mesh, (number(other), page)), []).append(at)
        for other, state, reason, at in drained["states"]:
            self.states.setdefault((page, number(other)), []).append(State(at, state, reason))


def name(page: int) -> str:
    """Return the id of the peer on a page."""
    return f"page-{page}"


def number(peer: str) -> int:
    """Return the page of a peer."""
    return int(peer.removeprefix("page-"))


def pairs_of(pages: Iterable[int], others: Iterable[int]) -> list[Pair]:
    """Return all pairs of one of the pages with one of the others, each once."""
    found = {(min(one, other), max(one, other)) for one in pages for other in others if one != other}
    return sorted(found)


def ways(pair: Pair) -> list[Pair]:
    """Return both ways of a pair."""
    return list(permutations(pair))  # type: ignore[arg-type]
