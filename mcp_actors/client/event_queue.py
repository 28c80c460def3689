"""The events of a room that the application has not read yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from mcp_actors.client.events import EventsDropped

if TYPE_CHECKING:
    from mcp_actors.client.events import Event


class EventQueue:
    """At most `limit` events wait. When another one comes, they are dropped, and the application is told so."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._changed = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether no more events come."""
        return self._ended

    def put(self, event: Event) -> None:
        """Add an event, unless the room has ended."""
        if self._ended:
            return
        if len(self._events) >= self._limit:
            self._dropped += len(self._events)
            self._events.clear()
        self._events.append(event)
        self._changed.set()

    def end(self, error: Exception | None = None) -> None:
        """No more events come, because of `error` if there is one."""
        if not self._ended:
            self._ended, self._error = True, error
            self._changed.set()

    async def get(self) -> Event:
        """Wait for the next event. At the end raises StopAsyncIteration, or the error that has ended the room."""
        while not (self._dropped or self._events or self._ended):
            self._changed.clear()
            await self._changed.wait()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return EventsDropped(count=dropped)
        if self._events:
            return self._events.popleft()
        raise self._error or StopAsyncIteration
