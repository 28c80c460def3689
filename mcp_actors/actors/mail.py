"""What may be told to a room, and the port through which a room reaches a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.errors import CloseCode
    from mcp_actors.protocol.events import Event, LeaveReason, Member
    from mcp_actors.protocol.identifiers import Incarnation, RequestId
    from mcp_actors.protocol.messages import Message, Targeted


class Outlet(Protocol):
    """One connection, as rooms see it. Neither method waits or fails."""

    def put(self, frame: bytes) -> bool:
        """Write a frame; False if the connection is closed, or is being closed for not keeping up."""

    def close(self, code: CloseCode) -> None:
        """Close the connection."""


class Enter(Struct, frozen=True, gc=False):
    """Asked by a connection that joins: answered with None when it is in, else with a SignalingError."""

    member: Member
    outlet: Outlet
    request_id: RequestId | None = None
    ice_servers: Sequence[dict[str, Any]] = ()


class Exit(Struct, frozen=True, gc=False):
    """Asked by a connection that leaves, told by one that is gone: answered with None when it is out.

    With `replied` the room writes the reply to the leave, as the last frame it writes to that member.
    """

    incarnation: Incarnation
    reason: LeaveReason
    request_id: RequestId | None = None
    replied: bool = False


class Relayed(Struct, frozen=True, gc=False):
    """Told for a peer's message to one other peer; `frame` is the message's own text."""

    sender: Incarnation
    message: Targeted
    frame: bytes


class Broadcast(Struct, frozen=True, gc=False):
    """Told for a user's message to the users of the room; `frame` is the message's own text."""

    sender: Incarnation
    message: Message
    frame: bytes


class Heard(Struct, frozen=True, gc=False):
    """Told by the node: what the broker says of this room."""

    event: Event


Mail = Enter | Exit | Relayed | Broadcast | Heard
