"""Resources: the roster of each open room that the caller may see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import msgspec
from mcp import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from mcp_actors.adapters.mcp.call_limits import TOO_OFTEN
from mcp_actors.adapters.mcp.caller import current
from mcp_actors.adapters.mcp.member_tools import Participant
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.identifiers import RoomId

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from mcp_actors.adapters.mcp.call_limits import CallLimits
    from mcp_actors.adapters.mcp.room_access import RoomAccess

SCHEME, END = "room://", "/roster"
JSON = "application/json"
TEMPLATE = ResourceTemplate(
    uri_template="room://{room}/roster",
    name="roster",
    title="Roster of a room",
    description="Who is in an open room that you may enter: users, agents among them, and WebRTC peers.",
    mime_type=JSON,
)


def uri_of(room: RoomId) -> str:
    """Return the URI of the roster of a room."""
    return f"{SCHEME}{quote(room, safe='')}{END}"


def room_of(uri: str) -> RoomId | None:
    """Return the room of a URI; None if it is of no roster."""
    if not uri.startswith(SCHEME) or not uri.endswith(END):
        return None
    room = RoomId(unquote(uri[len(SCHEME) : -len(END)]))
    return room if room and uri_of(room) == uri else None


class RosterResources:
    """Lists and reads rosters, as often as tools may be called."""

    def __init__(self, rooms: RoomAccess, limits: CallLimits) -> None:
        self._rooms = rooms
        self._limits = limits

    async def list(
        self, _context: ServerRequestContext[Any], params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        """Return a page of the rosters of open rooms."""
        self._count_call()
        after = (params.cursor if params is not None else None) or ""
        try:
            page = await self._rooms.list(current.get(), after=after)
        except Unavailable as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
        found = [Resource(uri=uri_of(room.name), name=room.name, mime_type=JSON) for room in page.rooms]
        return ListResourcesResult(resources=found, next_cursor=page.next)

    async def list_templates(
        self, _context: ServerRequestContext[Any], _params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """Return the template of all rosters."""
        return ListResourceTemplatesResult(resource_templates=[TEMPLATE])

    async def read(self, _context: ServerRequestContext[Any], params: ReadResourceRequestParams) -> ReadResourceResult:
        """Return a roster. Raises `MCPError` if the room is not open, or the caller may not see it."""
        self._count_call()
        room = room_of(params.uri)
        if room is None or not self._rooms.may_see(current.get(), room):
            raise _not_found(params.uri)
        try:
            members, locked = await self._rooms.roster(room)
        except Unavailable as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
        if not members:
            raise _not_found(params.uri)
        each = {(one.kind, one.id): one for one in members}.values()  # a user may have several connections
        shown = [Participant(str(one.kind), one.id, one.verified, one.metadata) for one in each]
        text = msgspec.json.encode({"room": room, "locked": locked, "roster": shown}).decode()
        return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, mime_type=JSON, text=text)])

    def _count_call(self) -> None:
        wait = self._limits.wait(current.get(), asyncio.get_running_loop().time())
        if wait:
            raise MCPError(INTERNAL_ERROR, TOO_OFTEN.format(seconds=wait))


def _not_found(uri: str) -> MCPError:
    return MCPError(INVALID_PARAMS, "There is no such resource; resources/list shows those you may read.", {"uri": uri})
