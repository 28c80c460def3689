"""The tools of operators: what the admin API does, for agents that help to run the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from mcp_actors.adapters.admin.api_error import ApiError
from mcp_actors.adapters.admin.api_page import TIMEOUT, Call, Nothing, log_change
from mcp_actors.adapters.admin.members import Kicked, KickRequest, Members, Message, Reason
from mcp_actors.adapters.admin.rooms import RoomLock, Rooms
from mcp_actors.adapters.admin.server_info import ServerInfo, ServerInfoResource
from mcp_actors.adapters.http.admin_policy import LOCAL_OPERATOR, Operator
from mcp_actors.adapters.mcp.tool import Tool, ToolError
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import id_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.admin.api import ApiParts
    from mcp_actors.adapters.admin.api_page import Operation
    from mcp_actors.adapters.mcp.caller import Caller

Room = Annotated[str, Meta(description="The name of the room.")]


class Kick(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to remove from a room, and what to tell it."""

    room: Room
    id: Annotated[str, Meta(description="The id of the user or peer, as in the roster.")]
    kind: Kind = Kind.USER
    ban_seconds: Annotated[int, Meta(ge=0, description="How many seconds it may not come back; 0 for no ban.")] = 0
    reason: Reason = ""
    message: Message = ""


class LockRoom(Struct, frozen=True, forbid_unknown_fields=True):
    """The room, and whether only moderators may enter it from now on."""

    room: Room
    locked: bool = True


class OperatorTools:
    """The operations of the admin API that an agent is given."""

    def __init__(self, parts: ApiParts) -> None:
        self._id_length = parts.id_length
        self._kick = Members(parts.administration, parts.max_ban_seconds).kicking["POST"]
        rooms = Rooms(parts.administration)
        self._lock, self._unlock = rooms.locking["POST"], rooms.unlocking["POST"]
        self._info = ServerInfoResource(parts.version, parts.node, parts.settings, parts.figures).operations["GET"]

    def tools(self) -> list[Tool]:
        """Return the tools."""
        kick = "Remove a user, with all its connections, or a peer from a room; and ban it for a time if you like."
        lock = "Lock a room, so that only moderators may enter it, or unlock it."
        info = "Describe the server process that answers: version, uptime, figures and settings."
        return [
            Tool("kick", kick, Kick, Kicked, self._do_kick, for_operators=True),
            Tool("lock_room", lock, LockRoom, RoomLock, self._do_lock, for_operators=True),
            Tool("server_info", info, Nothing, ServerInfo, self._show_info, changes=False, for_operators=True),
        ]

    async def _do_kick(self, caller: Caller, asked: Kick) -> Any:
        self._expect_ids(room=asked.room, id=asked.id)
        body = KickRequest(asked.ban_seconds, asked.reason, asked.message)
        return await _run(self._kick, caller, {"room": asked.room, "kind": asked.kind, "id": asked.id}, body)

    async def _do_lock(self, caller: Caller, asked: LockRoom) -> Any:
        self._expect_ids(room=asked.room)
        return await _run(self._lock if asked.locked else self._unlock, caller, {"room": asked.room})

    async def _show_info(self, caller: Caller, _asked: Nothing) -> Any:
        return await _run(self._info, caller, {})

    def _expect_ids(self, **ids: str) -> None:
        for name, value in ids.items():
            problem = id_problem(value, self._id_length)
            if problem is not None:
                raise ToolError(f"`{name}` {problem}.")


async def _run(operation: Operation, caller: Caller, parameters: Mapping[str, str], body: Any = None) -> Struct:
    """Carry an operation out, and log it as the admin API does. Raises `ToolError` and `Unavailable`."""
    call = Call(Operator(caller.user or LOCAL_OPERATOR, caller.address), parameters, Nothing(), body)
    try:
        async with asyncio.timeout(TIMEOUT):
            answer = await operation.run(call)
    except ApiError as error:
        raise ToolError(str(error)) from None
    except TimeoutError:
        raise ToolError("The server is too slow now; try again.") from None
    if operation.logged:
        log_change(operation.logged, call, answer)
    return answer
