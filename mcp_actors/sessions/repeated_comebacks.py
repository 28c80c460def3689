"""Sessions that come back again and again wait for each other, so that nobody else waits for them.

A session that moves here costs both nodes and Redis some 100 us for each room, most of it at once. One that was here
already costs this node an eighth of that. Sessions that come back now and then do not wait: their node may have
stopped, or their network changed.
"""

from __future__ import annotations

import asyncio
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.protocol.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

FREE_COMEBACKS = 2
"""Times that a session comes back to this node before it waits."""

FORGOTTEN_AFTER = 20.0
"""Seconds after which one comeback of a session is forgotten, and after as many more the next."""

PATIENCE = 2.0
"""Seconds that a session waits at most."""

COST_HERE = 1 / 8
"""The cost of a room of a session that was here, relative to that of one that moves here."""


class _Known(NamedTuple):
    """When the last comeback of a session is forgotten, and the number of its rooms."""

    forgotten: float
    rooms: int


class RepeatedComebacks:
    """Remembers at most `limit` sessions that came back lately, and spreads their further comebacks over time.

    `rate`: rooms per second of sessions that move here; 0 is no limit. `clock` tells seconds.
    """

    def __init__(self, rate: float, limit: int, clock: Callable[[], float]) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._limit = limit
        self._clock = clock
        self._known: dict[str, _Known] = {}  # the last comeback last
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._known)

    async def take_turn(self, session: str, cost: float = 1.0) -> None:
        """Wait for the sessions before this one, if it has come back several times lately.

        `cost`: of each of its rooms. Raises `RateLimited` if it would wait longer than `PATIENCE`.
        """
        now, known = self._clock(), self._known.get(session)
        if known is None or known.forgotten <= now + (FREE_COMEBACKS - 1) * FORGOTTEN_AFTER:
            return
        delay = max(0.0, self._due - now)
        if delay > PATIENCE:
            text = "Your session is resumed too often, as are others; keep a connection open, or try again later."
            raise RateLimited(text, retry_after_ms=ceil(delay * 1000))
        self._due = now + delay + cost * known.rooms * self._interval
        if delay:
            await asyncio.sleep(delay)

    def note(self, session: str, rooms: int) -> None:
        """Note that a session with this number of rooms has come back."""
        now, before = self._clock(), self._known.pop(session, None)
        forgotten = now if before is None else max(now, before.forgotten)
        self._known[session] = _Known(forgotten + FORGOTTEN_AFTER, rooms)
        oldest = next(iter(self._known))
        while len(self._known) > self._limit or self._known[oldest].forgotten <= now:
            del self._known[oldest]
            oldest = next(iter(self._known))
