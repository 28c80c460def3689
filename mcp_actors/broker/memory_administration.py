"""Requests of operators for the rooms of a single process."""
# ruff: noqa: D102 - the protocol in mcp_actors.broker.administration documents the methods

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Any, Protocol

from mcp_actors.broker.administration import NodeState, Outcome, RoomPage, RoomState, RoomSummary
from mcp_actors.protocol.events import NO_NOTICE, Ban, Kind, Notice
from mcp_actors.protocol.identifiers import SERVER, Incarnation, PeerId, RoomId, UserId

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


SLICE = 2000
"""Names that are looked at in one turn of the event loop."""


class Rooms(Protocol):
    """The rooms of a `MemoryBroker`: each change is decided at once."""

    def names(self) -> Collection[RoomId]:
        """Those of all rooms with members."""

    def summary(self, room: RoomId) -> RoomSummary | None:
        """A room; None if it has no members."""

    def state(self, room: RoomId) -> RoomState:
        """See `Administration.room`."""

    def bans(self, room: RoomId) -> Sequence[Ban]:
        """See `Administration`; so for the next ones."""

    def kicked(
        self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId, notice: Notice = NO_NOTICE
    ) -> Outcome:
        """A kick."""

    def unbanned(self, room: RoomId, kind: Kind, whom: PeerId | UserId) -> Outcome:
        """A ban is lifted."""

    def locked(self, room: RoomId, by: Incarnation, *, locked: bool) -> Outcome:
        """A room is locked or unlocked."""

    def closed(self, room: RoomId, by: Incarnation, notice: Notice = NO_NOTICE) -> Outcome:
        """A room is closed."""

    def announced(self, room: RoomId, content: Any, to: tuple[Kind, PeerId | UserId] | None = None) -> Outcome:
        """Members are told something."""


class MemoryAdministration:
    """An `Administration` of a broker."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def list_rooms(self, prefix: str, after: str, limit: int) -> RoomPage:
        names, found = list(self._rooms.names()), list[RoomId]()
        for start in range(0, len(names), SLICE):
            batch = (name for name in names[start : start + SLICE] if name.startswith(prefix) and name > after)
            found = heapq.nsmallest(limit + 1, (*found, *batch))
            await asyncio.sleep(0)
        rooms = [room for name in found[:limit] if (room := self._rooms.summary(name)) is not None]
        return RoomPage(rooms, found[limit - 1] if len(found) > limit else None)

    async def room(self, room: RoomId) -> RoomState:
        return self._rooms.state(room)

    async def nodes(self) -> Sequence[NodeState]:
        return ()

    async def kick(self, room: RoomId, kind: Kind, whom: PeerId | UserId, notice: Notice = NO_NOTICE) -> Outcome:
        return self._rooms.kicked(room, SERVER, kind, whom, notice)

    async def bans(self, room: RoomId) -> Sequence[Ban]:
        return self._rooms.bans(room)

    async def unban(self, room: RoomId, kind: Kind, whom: PeerId | UserId) -> Outcome:
        return self._rooms.unbanned(room, kind, whom)

    async def lock(self, room: RoomId, *, locked: bool) -> Outcome:
        return self._rooms.locked(room, SERVER, locked=locked)

    async def close(self, room: RoomId, notice: Notice = NO_NOTICE) -> Outcome:
        return self._rooms.closed(room, SERVER, notice)

    async def announce(self, room: RoomId, content: Any, to: tuple[Kind, PeerId | UserId] | None = None) -> Outcome:
        return self._rooms.announced(room, content, to)
