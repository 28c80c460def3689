"""Looks at rooms while somebody wants to know of changes: at the rosters of some, and at which rooms are open.

A change is told once however much has changed, with the next look. Rooms may be at other processes, which tell nothing
of them by themselves.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from mcp_actors.protocol.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from mcp_actors.adapters.mcp.room_access import RoomAccess
    from mcp_actors.protocol.identifiers import RoomId

INTERVAL = 1.0
"""Seconds between two looks."""

MAX_LISTED = 1000
"""Rooms, the first by name, that are looked at for those that have opened or closed."""


class RoomListener(Protocol):
    """Is told of changes: of the rosters of `rooms`, and of open rooms if it `wants_list`. Its methods never fail."""

    rooms: Collection[RoomId]
    wants_list: bool

    def roster_changed(self, room: RoomId) -> None:
        """The members of a room, or whether it is locked, have changed."""

    def list_changed(self, rooms: Collection[RoomId]) -> None:
        """Some rooms have opened or closed."""


class TooManyRooms(Exception):
    """As many rooms are watched as may be."""


class RoomWatch:
    """Watches for all listeners of a process, at most `most` rosters."""

    def __init__(self, rooms: RoomAccess, most: int) -> None:
        self._access = rooms
        self._most = most
        self._listeners: set[RoomListener] = set()
        self._counts: Counter[RoomId] = Counter()
        self._rosters: dict[RoomId, Any] = {}
        self._open: frozenset[RoomId] | None = None
        self._wanted = asyncio.Event()

    def __len__(self) -> int:
        return len(self._listeners)

    @asynccontextmanager
    async def listening(self, listener: RoomListener) -> AsyncIterator[None]:
        """Tell a listener of changes from now on. Raises `TooManyRooms` and `Unavailable`."""
        if len(self._counts.keys() | listener.rooms) > self._most:
            raise TooManyRooms
        self._counts.update(listener.rooms)
        try:
            for room in set(listener.rooms) - self._rosters.keys():
                self._rosters[room] = await self._roster(room)
            if listener.wants_list and self._open is None:
                self._open = await self._names()
            self._listeners.add(listener)
            self._wanted.set()
            yield
        finally:
            self._forget(listener)

    def _forget(self, listener: RoomListener) -> None:
        self._listeners.discard(listener)
        self._counts.subtract(listener.rooms)
        for room in listener.rooms:
            if self._counts[room] <= 0:
                del self._counts[room]
                self._rosters.pop(room, None)
        if not any(one.wants_list for one in self._listeners):
            self._open = None
        if not self._listeners:
            self._wanted.clear()

    async def run(self) -> None:
        """Look, for ever; the rooms of an unavailable broker are looked at when it is back."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(INTERVAL)
            try:
                for room in list(self._counts):
                    await self._look_at(room)
                await self._look_at_list()
            except Unavailable:
                continue

    async def _look_at(self, room: RoomId) -> None:
        found = await self._roster(room)
        if room in self._counts and self._rosters.get(room) != found:
            self._rosters[room] = found
            for listener in [one for one in self._listeners if room in one.rooms]:
                listener.roster_changed(room)

    async def _look_at_list(self) -> None:
        listeners = [one for one in self._listeners if one.wants_list]
        if not listeners:
            return
        found, before = await self._names(), self._open
        self._open = found
        if before is not None and found != before:
            for listener in listeners:
                listener.list_changed(found ^ before)

    async def _roster(self, room: RoomId) -> Any:
        members, locked = await self._access.roster(room)
        return locked, sorted((one.kind, one.id, one.verified, repr(one.metadata)) for one in members)

    async def _names(self) -> frozenset[RoomId]:
        return frozenset(await self._access.names(MAX_LISTED))
