"""What may be told to a room, and the port through which a room reaches a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from mcp_actors.room.room import Greeting as Greeting  # noqa: PLC0414 - for transports, which know no rooms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.errors import CloseCode
    from mcp_actors.protocol.events import Announced, Event, LeaveReason, Member, Missed, Signalled
    from mcp_actors.protocol.handover import Handover, MemberState
    from mcp_actors.protocol.identifiers import Incarnation, RequestId, RoomId
    from mcp_actors.protocol.messages import Message, Moderation, Targeted


class Outlet(Protocol):
    """One client, as rooms see it. Neither method waits or fails."""

    @property
    def away(self) -> bool:
        """Whether the client has no connection now, and frames wait for it to come back."""

    def put(self, frame: bytes) -> bool:
        """Write a frame, or keep it for when the client is back; False if it will never have it."""

    def close(self, code: CloseCode) -> None:
        """Close its connection, for good."""

    def put_out(self, room: RoomId, reason: LeaveReason) -> None:
        """A moderator has put the client out of a room, to which it may not come back."""

    def moved(self, room: RoomId) -> None:
        """The client is at another node by now: as a member of a room it is only to be handed over."""

    def complete(self, room: RoomId) -> None:
        """All that the other nodes sent to it here, as that member, is there."""

    def recovered(self, frame: bytes) -> None:
        """Let a frame be before all that came since the client is at this node."""

    def handed_over(self, room: RoomId, told: Handover | None) -> None:
        """The node that the client was at has said what it knows of it as that member; None: it is dead."""


class Enter(Struct, frozen=True, gc=False):
    """Asked by a client that joins: answered with None when it is in, else with a SignalingError."""

    member: Member
    outlet: Outlet
    greeting: Greeting = Greeting()
    presence: bool = False
    """Whether it wants to know who is away."""
    moderator: bool = False
    """Whether it gets in though the room is locked."""


class Moderate(Struct, frozen=True, gc=False):
    """Asked by a moderator: answered with None when all of it was heard, or with a SignalingError."""

    by: Incarnation
    request: Moderation


class Claim(Struct, frozen=True, gc=False):
    """Asked by a client that was at another node: answered with its member's move to here.

    None if that is gone; or how a moderator put it out.
    """

    member: Member
    outlet: Outlet


class Depart(Struct, frozen=True, gc=False):
    """Asked for a member that moved away: answered with what is known of it and how it is known, None if it is gone."""

    incarnation: Incarnation


class Adopt(Struct, frozen=True, gc=False):
    """Told for a member that was claimed, where the node that it was at cannot say itself what it knew of it."""

    incarnation: Incarnation
    state: MemberState


class Recover(Struct, frozen=True, gc=False):
    """Asked for a member that was claimed: to have what came for it to the node that it was at, and may not have got.

    `answered`: what did arrive, or else is lost, of which its senders may not have been told.
    """

    incarnation: Incarnation
    events: Sequence[Signalled | Announced | Missed]
    answered: Sequence[Signalled | Announced]
    arrived: bool


class Return(Struct, frozen=True, gc=False):
    """Told by a member that came back on a new connection: the room writes the reply to its join again."""

    incarnation: Incarnation
    greeting: Greeting


class Mark(Struct, frozen=True, gc=False):
    """Told of a member that lost its connection, or has one again."""

    incarnation: Incarnation
    away: bool


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


Mail = Enter | Exit | Moderate | Claim | Depart | Adopt | Recover | Return | Mark | Relayed | Broadcast | Heard
