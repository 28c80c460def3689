"""The end of memberships that the client's new access token does not allow: nothing more comes from these rooms."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from msgspec import UNSET

from mcp_actors.protocol.errors import Forbidden
from mcp_actors.protocol.messages import Error, Joined, RoomJoined
from mcp_actors.protocol.outgoing import Outgoing, Relayed
from mcp_actors.protocol.subject import room_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.errors import SignalingError
    from mcp_actors.protocol.identifiers import RequestId, RoomId
    from mcp_actors.sessions.memberships import Memberships
    from mcp_actors.sessions.replay_buffer import ReplayBuffer


def confine(
    memberships: Memberships, replay: ReplayBuffer, lets_into: Callable[[RoomId], bool], received: int
) -> list[RoomId]:
    """Leave the rooms that a client may not be in, and return them.

    Their messages above the number that the client has received are withheld.
    """
    lets_into = cache(lets_into)
    rooms = dict.fromkeys(room for room in memberships.present() if not lets_into(room))

    def is_refused(text: bytes) -> bool:
        room = room_of(text)
        if room is None or lets_into(room):
            return False
        rooms[room] = None
        return True

    replay.withhold(received, is_refused)
    memberships.forbid(rooms)
    return list(rooms)


def forbidden(room: RoomId, request_id: RequestId | None = None) -> SignalingError:
    """Return the error for a client whose token does not let it into a room any more."""
    error = Forbidden("Your token does not let you into this room any more; you have left it.")
    return error.about(room, request_id)


def origin(message: Outgoing | Relayed) -> RoomId | None:
    """Return the room that tells this to a member; None if it answers a request of the member, or is about no room."""
    if isinstance(message, Relayed):
        return room_of(message.frame)
    told = message.message
    has_roster = isinstance(told, Joined | RoomJoined)
    is_answer = isinstance(told, Error) or (getattr(told, "id", UNSET) is not UNSET and not has_roster)
    return None if is_answer else getattr(told, "room", None)
