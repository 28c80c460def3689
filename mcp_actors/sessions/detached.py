"""The detached sessions: bounded in all and by address, and found by the address that has most of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator


S = TypeVar("S", bound=Hashable)


class DetachedSessions(Generic[S]):
    """At most `limit` sessions, and at most `share` of one address; 0 is no limit of an address.

    One more makes another end: the oldest of its own address if that has as many as it may, else the oldest of the
    address that has most.
    """

    def __init__(self, limit: int, share: int) -> None:
        self._limit = limit
        self._share = share or limit
        self._by_address: dict[str, dict[S, None]] = {}
        self._by_count: list[dict[str, None]] = [{}]
        """The addresses with so many sessions, the longest so first."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[S]:
        return (session for sessions in self._by_address.values() for session in sessions)

    def add(self, session: S, address: str) -> None:
        """Add a session of an address."""
        sessions = self._by_address.setdefault(address, {})
        if session not in sessions:
            sessions[session] = None
            self._moved(address, len(sessions) - 1)

    def discard(self, session: S, address: str) -> None:
        """Remove a session of an address, if it is here."""
        sessions = self._by_address.get(address, {})
        if session in sessions:
            del sessions[session]
            self._moved(address, len(sessions) + 1)
            if not sessions:
                del self._by_address[address]

    def surplus(self, address: str) -> S | None:
        """Return the session that must end before another of an address may be added, or None."""
        if len(self._by_address.get(address, ())) >= self._share:
            return next(iter(self._by_address[address]))
        if self._size < self._limit:
            return None
        heaviest = next(iter(self._by_count[-1]))
        return next(iter(self._by_address[heaviest]))

    def _moved(self, address: str, before: int) -> None:
        """Follow the count of an address, which was `before` and is one more or one less."""
        count, by_count = len(self._by_address[address]), self._by_count
        self._size += count - before
        by_count[before].pop(address, None)
        if count == len(by_count):
            by_count.append({})
        if count:
            by_count[count][address] = None
        while len(by_count) > 1 and not by_count[-1]:
            by_count.pop()
