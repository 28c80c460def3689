"""The events that a room hears from the broker: changes of its membership, in one order on all nodes, and messages."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct, structs

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, UserId, replaces


class Kind(StrEnum):
    """Whether a member is a peer or a user, by the endpoint that it came from."""

    PEER = "peer"
    USER = "user"


class LeaveReason(StrEnum):
    """The `reason` of `peer-left` and `user-left`."""

    LEFT = "left"
    DISCONNECTED = "disconnected"
    TIMEOUT = "timeout"
    NODE_LOST = "node-lost"
    REPLACED = "replaced"
    KICKED = "kicked"
    ROOM_CLOSED = "room-closed"


BY_MODERATORS = frozenset({LeaveReason.KICKED, LeaveReason.ROOM_CLOSED})
"""The reasons for which a member may not come back."""


class Notice(Struct, frozen=True, omit_defaults=True):
    """The words of a moderator to members that it removes: for programs, and for people.

    `ban_seconds`: how long the member may not join again, 0 if it may at once.
    """

    reason: str = ""
    message: str = ""
    ban_seconds: int = 0


NO_NOTICE = Notice()


class Removal(Struct, frozen=True):
    """How a moderator removed a member, one of `BY_MODERATORS`."""

    how: LeaveReason
    notice: Notice = NO_NOTICE


class Ban(Struct, frozen=True):
    """An identity that may not join a room for `expires_in` seconds; `by` is the id of the moderator.

    `address`: the ban is for the addresses of the banned connections, too.
    """

    kind: Kind
    id: PeerId | UserId
    expires_in: float
    notice: Notice
    by: PeerId | UserId
    address: bool = False


class Member(Struct, frozen=True):
    """One connection in one room, as every node knows it.

    `order` counts the joins of its kind in the room's life, 0 until the broker has counted it. `detached`: it has no
    connection and may come back. `epoch` rises when its session moves to another node. `verified`: its id is that of
    its access token, so it owns the id. `updated`: the version in which its metadata was set, 0 if it is that of its
    join; all connections of a user have the same metadata. `address`: where it connects from, empty unless bans are for
    addresses, too.
    """

    kind: Kind
    id: PeerId | UserId
    incarnation: Incarnation
    node: NodeId
    metadata: dict[str, Any]
    order: int = 0
    detached: bool = False
    epoch: int = 0
    verified: bool = False
    updated: int = 0
    address: str = ""

    def yields_to(self, newcomer: Member) -> bool:
        """Whether a newcomer takes the id of this rival: only its owner does, or a session that may replace itself.

        Another rival without a token keeps the id that it claimed, also while it is detached: its resume token proves
        more.
        """
        return newcomer.verified or replaces(newcomer.incarnation, self.incarnation)


class Event(Struct, frozen=True):
    """Anything that a room hears from the broker."""


class RoomChange(Event, frozen=True, kw_only=True):
    """An event that all nodes hear in one order; its `version` numbers it.

    `offset` is its place in everything that came to this node, for clients that may continue at another node; empty if
    they cannot.
    """

    offset: bytes = b""


class MemberJoined(RoomChange, frozen=True):
    """A member is in the room."""

    version: int
    member: Member


class MemberLeft(RoomChange, frozen=True):
    """A member is out of the room."""

    version: int
    incarnation: Incarnation
    reason: LeaveReason
    notice: Notice = NO_NOTICE


class MemberUpdated(RoomChange, frozen=True):
    """A peer, or a user with all its connections, has other metadata.

    `by` is the connection that asked for it, None if the event only corrects what this node knows.
    """

    version: int
    kind: Kind
    id: PeerId | UserId
    metadata: dict[str, Any]
    by: Incarnation | None = None


class PresenceChanged(RoomChange, frozen=True):
    """A member is detached or attached."""

    version: int
    incarnation: Incarnation
    detached: bool


class RoomLocked(RoomChange, frozen=True):
    """The room is locked or unlocked. `by` is the moderator, None if the event is only repeated."""

    version: int
    locked: bool
    by: Incarnation | None = None


class RoomClosed(RoomChange, frozen=True):
    """All members are out of the room; `by` is the moderator."""

    version: int
    by: Incarnation
    notice: Notice = NO_NOTICE


class Announced(RoomChange, frozen=True):
    """The application tells all members something: `content` is JSON as Python has it.

    `to`: the peer, or the user with all its connections, that alone is told; None for all members.
    """

    version: int
    content: Any
    to: tuple[Kind, PeerId | UserId] | None = None


class MemberMoved(RoomChange, frozen=True):
    """The session of a member has moved from the node `old` to `node`; the member stays in the room.

    `others` are all nodes with members in the room, these two among them, which may not know of the move yet.
    """

    version: int
    incarnation: Incarnation
    old: NodeId
    node: NodeId
    epoch: int
    others: tuple[NodeId, ...]


class OwnerFenced(RoomChange, frozen=True):
    """The node that a member moved to with `epoch` goes on without a handover: earlier owners have it no more."""

    version: int
    incarnation: Incarnation
    epoch: int


class RecoveryEnded(RoomChange, frozen=True):
    """A member's node has recovered what it could of the messages for it at its nodes before `epoch`.

    Those that were sent there and are not answered by now are lost.
    """

    version: int
    incarnation: Incarnation
    epoch: int


class Moderated(Event, frozen=True):
    """A request of a member is finished, and its changes were heard before; heard by its own node only.

    `done`: it changed something. `failed`: it cannot be done. `full`: the room has as many bans as it may. `absent`:
    somebody was banned that is not in the room. `bans` answers a request for the list.
    """

    by: Incarnation
    done: bool
    failed: bool = False
    full: bool = False
    absent: bool = False
    bans: tuple[Ban, ...] = ()


class MissedChange(Struct, frozen=True):
    """A change that a member was not told because its node was gone.

    A peer joined (`member`), left (`reason`), has other `metadata`, or is detached or attached; or the room was locked
    or unlocked; or the application `announced` something, alone in a tuple.
    """

    peer: PeerId
    member: Member | None = None
    reason: LeaveReason | None = None
    detached: bool = False
    locked: bool | None = None
    metadata: dict[str, Any] | None = None
    announced: tuple[Any] | None = None


class CutoverAcked(Event, frozen=True, gc=False):
    """A node knows of a move; everything that it sent to the member's old node was heard. `epoch` is the move's."""

    incarnation: Incarnation
    node: NodeId
    epoch: int


class HandedOver(Event, frozen=True, gc=False):
    """A member's old node has handed it over: a packed `Handover`, b"" if that node is dead. `node` is the old node."""

    incarnation: Incarnation
    body: bytes
    node: NodeId = NodeId("")


class JoinRefused(Event, frozen=True):
    """The broker has refused a join; heard by its own node only.

    A banned member may try again after `retry_after_ms`; `notice` is that of its ban.
    """

    incarnation: Incarnation
    code: ErrorCode
    notice: Notice = NO_NOTICE
    retry_after_ms: int = 0


class LeaveAccepted(Event, frozen=True):
    """A member of this node may be let go: its `MemberLeft` follows when the other nodes can be reached again."""

    incarnation: Incarnation
    reason: LeaveReason


class ClaimRefused(Event, frozen=True):
    """A claimed member is gone, or another node has claimed it later; `removal`: how a moderator removed it."""

    incarnation: Incarnation
    removal: Removal | None = None


class Unsubscribed(Event, frozen=True):
    """This node has no members in the room and hears no more of it."""


class NegotiationStep(Struct, frozen=True, array_like=True, gc=False):
    """An offer with its number, or an answer or a candidate with that of its offer."""

    kind: Literal["offer", "answer", "ice-candidate"]
    number: int


class RemoteSignal(Event, frozen=True, gc=False):
    """A message of a member on another node for a member on this one.

    Its receipt names `delivery_id`; it is 0 if the sender wants to know of failures only. `offset` as in `RoomChange`.
    """

    sender: Incarnation
    target: Incarnation
    frame: bytes
    delivery_id: int
    step: NegotiationStep | None = None
    offset: bytes = b""


class RemoteBroadcast(Event, frozen=True, gc=False):
    """A message of a user on another node for all users on this one; `target` is one of them, for the receipt.

    `epoch`: that of the sender when it sent the message.
    """

    sender: Incarnation
    target: Incarnation
    frame: bytes
    delivery_id: int
    offset: bytes = b""
    epoch: int = 0


class Receipt(Event, frozen=True, gc=False):
    """The outcome of a message to another node. `queued`: it waits until the target reconnects.

    `superseded`: it belongs to a superseded offer and was not delivered; the highest number between the two, else 0.
    `moved`: it was not delivered, as the target is not at that node any more. `full`: it was not delivered, as too many
    messages wait for the target.
    """

    sender: Incarnation
    target: Incarnation
    delivery_id: int
    delivered: bool
    queued: bool = False
    superseded: int = 0
    moved: bool = False
    full: bool = False


class FramesLost(Event, frozen=True, gc=False):
    """Messages for a member on this node were lost and cannot be recovered."""

    target: Incarnation


def at_offset(event: Event, offset: bytes) -> Event:
    """The event with its offset, if it is a `RoomChange`."""
    return structs.replace(event, offset=offset) if offset and isinstance(event, RoomChange) else event
