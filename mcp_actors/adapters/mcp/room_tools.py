"""The tool that shows rooms from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from mcp_actors.adapters.mcp.tool import Tool

if TYPE_CHECKING:
    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.adapters.mcp.room_access import RoomAccess

MAX_LIMIT = 1000
"""Rooms of one page."""


class ListRooms(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rooms to list."""

    prefix: Annotated[str, Meta(description="List only rooms whose names begin with this.")] = ""
    cursor: Annotated[str, Meta(description="The `next` of the previous result, to continue after it.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="List at most this many rooms.")] = 100


class OpenRoom(Struct, frozen=True):
    """A room with members: peers, which negotiate WebRTC connections, and connections of users, which send messages."""

    room: str
    users: int
    peers: int
    locked: bool


class RoomList(Struct, frozen=True):
    """Rooms in the order of their names. `next`: the `cursor` of the rooms after them; null if there are no more."""

    rooms: list[OpenRoom]
    next: str | None


class RoomTools:
    """The rooms that a caller may see."""

    def __init__(self, rooms: RoomAccess) -> None:
        self._rooms = rooms

    def tools(self) -> list[Tool]:
        """Return the tools."""
        description = (
            "List the open rooms that you may enter, and how many people, agents and WebRTC peers are in each. "
            "Any other name that you may enter opens a room when you join it."
        )
        return [Tool("list_rooms", description, ListRooms, RoomList, self._list, changes=False)]

    async def _list(self, caller: Caller, asked: ListRooms) -> RoomList:
        page = await self._rooms.list(caller, asked.prefix, asked.cursor, asked.limit)
        return RoomList([OpenRoom(one.name, one.users, one.peers, one.locked) for one in page.rooms], page.next)
