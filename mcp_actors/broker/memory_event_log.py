"""The log of membership events of a single process, in memory."""
# ruff: noqa: D102 - the protocol documents the methods

from __future__ import annotations

import secrets
from itertools import islice
from typing import TYPE_CHECKING

from mcp_actors.broker.event_log import Lease, Logged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcp_actors.broker.event_log import MembershipEvent


class MemoryEventLog:
    """An `EventLog` of at most `limit` events: one more, and the oldest is dropped. `clock`: seconds since 1970."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._id = secrets.token_hex(8)
        self._events: dict[str, Logged] = {}
        self._count = 0
        self._dropped = self._told = self._telling = 0

    def __len__(self) -> int:
        return len(self._events)

    def append(self, event: MembershipEvent) -> None:
        """Append an event."""
        if len(self._events) >= self._limit:
            del self._events[next(iter(self._events))]
            self._dropped += 1
        self._count += 1
        offset = f"{self._count:016d}"
        self._events[offset] = Logged(offset, self._clock(), event)

    async def acquire(self) -> Lease:
        if self._telling <= self._told:
            self._telling = self._dropped
        return Lease(self._id, self._told, max(self._told, self._telling), len(self._events))

    async def release(self) -> None:
        pass

    async def read(self, after: str, count: int) -> Sequence[Logged]:
        return list(islice((one for one in self._events.values() if one.offset > after), count))

    async def settle(self, offsets: Sequence[str], *, given_up: int = 0, told: int | None = None) -> bool:
        missing = sum(self._events.pop(one, None) is None for one in offsets)
        reported = max(self._dropped - missing, self._told, self._telling)
        self._dropped = min(reported, self._dropped) + given_up
        if told is not None:
            self._told = told
        return True
