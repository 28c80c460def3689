"""Revoked access tokens: the part of the broker contract about them, and the table that each node has."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Claim = Literal["jti", "sub"]


class Revocation(Struct, frozen=True):
    """Tokens that count no more: the one with a `jti`, or those of a `sub`. Times are seconds since 1970.

    `issued_before`: of a `sub`, only those that were issued earlier or do not say when; 0 for all. `until`: when it
    ends, at the latest when the last of these tokens has expired.
    """

    claim: Claim
    value: str
    until: float
    issued_before: float = 0.0

    @property
    def key(self) -> tuple[Claim, str]:
        """The claim and its value, which identify it."""
        return self.claim, self.value


class RevocationTable:
    """The revocations that a node knows; `len` and iteration skip those that have ended."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[Claim, str], Revocation] = {}
        self._ends: list[tuple[float, tuple[Claim, str]]] = []  # a heap, in which replaced ones stay until they end

    def __len__(self) -> int:
        self._forget_ended()
        return len(self._known)

    def __iter__(self) -> Iterator[Revocation]:
        self._forget_ended()
        return iter(tuple(self._known.values()))

    def find(self, claim: Claim, value: str) -> Revocation | None:
        """Return a revocation that has not ended."""
        found = self._known.get((claim, value))
        return None if found is None or found.until <= self._clock() else found

    def put(self, revocation: Revocation) -> bool:
        """Add or replace one; return whether that is a change."""
        self._forget_ended()
        if self._known.get(revocation.key) == revocation or revocation.until <= self._clock():
            return False
        self._known[revocation.key] = revocation
        heapq.heappush(self._ends, (revocation.until, revocation.key))
        return True

    def lift(self, claim: Claim, value: str) -> bool:
        """Remove one; return whether it was there."""
        self._forget_ended()
        return self._known.pop((claim, value), None) is not None

    def revokes(self, sub: str, token_id: str, issued: float | None) -> bool:
        """Whether a token counts no more. `token_id`: its `jti`, empty if it has none; `issued`: its `iat`."""
        if not self._known:
            return False
        if token_id and self.find("jti", token_id) is not None:
            return True
        of_sub = self.find("sub", sub)
        if of_sub is None:
            return False
        return not of_sub.issued_before or issued is None or issued < of_sub.issued_before

    def revokes_all_of(self, sub: str) -> bool:
        """Whether no token of a `sub` counts."""
        of_sub = self.find("sub", sub)
        return of_sub is not None and not of_sub.issued_before

    def _forget_ended(self) -> None:
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, key = heapq.heappop(self._ends)
            known = self._known.get(key)
            if known is not None and known.until <= now:
                del self._known[key]


class Revocations(Protocol):
    """The revocations that all nodes know until they end, also those that start later.

    While nodes cannot reach each other, each knows those that it knew.
    """

    @property
    def table(self) -> RevocationTable:
        """Those that this node knows."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` when there are more than before."""

    async def revoke(self, revocation: Revocation) -> bool:
        """Add or replace one, for all nodes; False if there are as many as there may be. Raises `Unavailable`."""

    async def lift(self, claim: Claim, value: str) -> bool:
        """Remove one, for all nodes; False if there is none. Raises `Unavailable`."""


class MemoryRevocations:
    """The revocations of a single process, at most `limit`."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self.table = RevocationTable(clock)
        self._limit = limit
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        """See `Revocations`."""
        self._watchers.append(changed)

    async def revoke(self, revocation: Revocation) -> bool:
        """See `Revocations`."""
        if len(self.table) >= self._limit and self.table.find(*revocation.key) is None:
            return False
        if self.table.put(revocation):
            for changed in self._watchers:
                changed()
        return True

    async def lift(self, claim: Claim, value: str) -> bool:
        """See `Revocations`."""
        return self.table.lift(claim, value)


def by_end(table: RevocationTable) -> Sequence[Revocation]:
    """Return the revocations, those that end first before others."""
    return sorted(table, key=lambda one: (one.until, one.key))
