"""Rooms: /api/v1/rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from mcp_actors.adapters.admin.api_page import Operation
from mcp_actors.adapters.admin.bans import BanEntry, ban_entry
from mcp_actors.adapters.admin.members import MemberEntry, Message, Reason, member_entry, notice_of
from mcp_actors.broker.administration import Outcome
from mcp_actors.protocol.identifiers import RoomId

if TYPE_CHECKING:
    from mcp_actors.adapters.admin.api_page import Call
    from mcp_actors.broker.administration import Administration, RoomSummary

MAX_LIMIT = 1000
"""Rooms of one page."""


class RoomEntry(Struct, frozen=True):
    """A room with members: peers, and connections of users; `nodes` has the number of both by process."""

    room: str
    peers: int
    users: int
    locked: bool
    nodes: dict[str, int]


class RoomList(Struct, frozen=True):
    """Some rooms of all processes, in the order of their names.

    `next`: the `cursor` with which to ask for the rooms after them; null if there are no more.
    """

    rooms: list[RoomEntry]
    next: str | None


class RoomQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rooms to list: those whose names begin with `prefix`, after `cursor`."""

    prefix: str = ""
    cursor: str = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 100


class RoomDetails(Struct, frozen=True):
    """A room over all processes; a room that nobody is in has no members, and may have bans."""

    room: str
    locked: bool
    members: list[MemberEntry]
    bans: list[BanEntry]


class CloseRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The words to those that are removed."""

    reason: Reason = ""
    message: Message = ""


class RoomLock(Struct, frozen=True):
    """`changed` is false if the room was locked, or unlocked, already, or if nobody is in it: it is unlocked then."""

    room: str
    locked: bool
    changed: bool


class RoomClosed(Struct, frozen=True):
    """`closed` is false if nobody was in the room."""

    room: str
    closed: bool


class Rooms:
    """The rooms of all processes."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    @property
    def listing(self) -> dict[str, Operation]:
        """The operations of /rooms."""
        return {"GET": Operation("List rooms", self._list, RoomList, query=RoomQuery)}

    @property
    def details(self) -> dict[str, Operation]:
        """The operations of /rooms/{room}."""
        return {"GET": Operation("Show who is in a room, and who is banned from it", self._describe, RoomDetails)}

    @property
    def locking(self) -> dict[str, Operation]:
        """The operations of /rooms/{room}/lock."""
        summary = "Let moderators in only, until the room is unlocked or empty"
        return {"POST": Operation(summary, self._lock, RoomLock, logged="room locked by operator")}

    @property
    def unlocking(self) -> dict[str, Operation]:
        """The operations of /rooms/{room}/unlock."""
        return {"POST": Operation("Let everybody in again", self._unlock, RoomLock, logged="room unlocked by operator")}

    @property
    def closing(self) -> dict[str, Operation]:
        """The operations of /rooms/{room}/close."""
        operation = Operation(
            "Remove all members", self._close, RoomClosed, body=CloseRequest, logged="room closed by operator"
        )
        return {"POST": operation}

    async def _list(self, call: Call) -> RoomList:
        asked: RoomQuery = call.query
        page = await self._administration.list_rooms(asked.prefix, asked.cursor, asked.limit)
        return RoomList([_entry(one) for one in page.rooms], page.next)

    async def _describe(self, call: Call) -> RoomDetails:
        room = RoomId(call.parameters["room"])
        found, bans = await self._administration.room(room), await self._administration.bans(room)
        members = [member_entry(one) for one in found.members]
        return RoomDetails(room, found.locked, members, [ban_entry(one) for one in bans])

    async def _lock(self, call: Call) -> RoomLock:
        return await self._set_lock(RoomId(call.parameters["room"]), locked=True)

    async def _unlock(self, call: Call) -> RoomLock:
        return await self._set_lock(RoomId(call.parameters["room"]), locked=False)

    async def _set_lock(self, room: RoomId, *, locked: bool) -> RoomLock:
        changed = await self._administration.lock(room, locked=locked) is Outcome.DONE
        is_locked = locked if changed else (await self._administration.room(room)).locked
        return RoomLock(room, is_locked, changed)

    async def _close(self, call: Call) -> RoomClosed:
        room = RoomId(call.parameters["room"])
        outcome = await self._administration.close(room, notice_of(call.body.reason, call.body.message))
        return RoomClosed(room, closed=outcome is Outcome.DONE)


def _entry(room: RoomSummary) -> RoomEntry:
    return RoomEntry(
        room.name, room.peers, room.users, room.locked, {str(node): count for node, count in room.nodes.items()}
    )
