"""What a room is told by the broker: who came and went, in one order for all nodes; what members of others say."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct, structs

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, UserId


class Kind(StrEnum):
    """Which roster a member is in, by the endpoint it came from."""

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
"""How moderators put members out, who may not come back to where they were."""


class Member(Struct, frozen=True):
    """One connection in one room, as every node knows it.

    `order` is the room's join counter, given by the broker: 0 until then, unique and rising in a room's life. `away`:
    it has no connection now, and may come back. `moves` rises with each node that its session goes on at.
    """

    kind: Kind
    id: PeerId | UserId
    incarnation: Incarnation
    node: NodeId
    metadata: dict[str, Any]
    order: int = 0
    away: bool = False
    moves: int = 0
    verified: bool = False
    """Its id is that of its access token, so it is its own."""

    def yields_to(self, newcomer: Member) -> bool:
        """Whether a peer's place is for one who joins under its id: the owner of the id, or anybody while it is away.

        A claimed id never takes the place of an owner.
        """
        return newcomer.verified or (self.away and not self.verified)


class MemberJoined(Struct, frozen=True):
    """`member` is in the room from `version` on. `at` as in `Signalled`."""

    version: int
    member: Member
    at: bytes = b""


class MemberLeft(Struct, frozen=True):
    """The member with this incarnation is out of the room from `version` on. `at` as in `Signalled`."""

    version: int
    incarnation: Incarnation
    reason: LeaveReason
    at: bytes = b""


class MemberMarked(Struct, frozen=True):
    """The member with this incarnation is away, or back, from `version` on. `at` as in `Signalled`."""

    version: int
    incarnation: Incarnation
    away: bool
    at: bytes = b""


class RoomLocked(Struct, frozen=True):
    """The room is locked, or unlocked, from `version` on: locked, it lets in only those who may moderate it.

    `by`: the moderator that asked for it; None where it is only told again. `at` as in `Signalled`.
    """

    version: int
    locked: bool
    by: Incarnation | None = None
    at: bytes = b""


class RoomClosed(Struct, frozen=True):
    """All members are out of the room from `version` on, and it begins anew. `by`, `at` as in `RoomLocked`."""

    version: int
    by: Incarnation
    at: bytes = b""


class Moderated(Struct, frozen=True):
    """What a moderator asked for is done, and all of it was heard; told to its own node alone.

    `done`: it changed something. `failed`: it cannot be done.
    """

    by: Incarnation
    done: bool
    failed: bool = False


class Missed(Struct, frozen=True):
    """News that a member was not told, as its node was gone: of a peer, or that the room was locked or unlocked.

    The peer is a newcomer, or has left, or is away or back.
    """

    peer: PeerId
    member: Member | None = None
    reason: LeaveReason | None = None
    away: bool = False
    locked: bool | None = None


class MemberMoved(Struct, frozen=True):
    """The session of a member goes on at `node` from `version` on, in the same place, and no more at the node `old`.

    `others`: the nodes with members in the room, `old` and `node` among them, that may not have heard of it yet. `at`
    as in `Signalled`.
    """

    version: int
    incarnation: Incarnation
    old: NodeId
    node: NodeId
    moves: int
    others: tuple[NodeId, ...]
    at: bytes = b""


class Switched(Struct, frozen=True, gc=False):
    """All that `node` sent to the node a member was at has been heard: it has heard of the member's move.

    `moves`: of which one, as in `MemberMoved`.
    """

    incarnation: Incarnation
    node: NodeId
    moves: int


class HandedOver(Struct, frozen=True, gc=False):
    """What the node that a member was at knows of it and its session, for the one it is at now; b"" if that is dead."""

    incarnation: Incarnation
    body: bytes


class JoinRefused(Struct, frozen=True):
    """The broker did not let this incarnation in; told to its own node alone."""

    incarnation: Incarnation
    code: ErrorCode


class ClaimRefused(Struct, frozen=True):
    """The member that this node claimed is gone, or somebody claimed it later; told to that node alone.

    `reason`: how a moderator put it out, if one did.
    """

    incarnation: Incarnation
    reason: LeaveReason | None = None


class Vacated(Struct, frozen=True):
    """This node has no member in the room any more and hears no more of it; what it knew of others is void."""


class Step(Struct, frozen=True, array_like=True, gc=False):
    """A step of a negotiation: which offer a signal is or belongs to, for nodes that do not read its frame."""

    kind: Literal["offer", "answer", "ice-candidate"]
    number: int


class Signalled(Struct, frozen=True, gc=False):
    """A frame from a member on another node for a member on this one.

    `ticket` names it in the receipt; 0 where its sender wants to know of a failure alone. `at` is its place in all that
    came to this node, for a client that may have to go on at another; empty where that cannot be.
    """

    sender: Incarnation
    target: Incarnation
    frame: bytes
    ticket: int
    step: Step | None = None
    at: bytes = b""


class Announced(Struct, frozen=True, gc=False):
    """A frame from a user on another node for all users on this one; `target` is one of them, for the receipt.

    `at` as in `Signalled`.
    """

    sender: Incarnation
    target: Incarnation
    frame: bytes
    ticket: int
    at: bytes = b""


class Receipt(Struct, frozen=True, gc=False):
    """What became of a frame that a member here sent to another node: whether it was written to the target."""

    sender: Incarnation
    target: Incarnation
    ticket: int
    delivered: bool
    queued: bool = False
    """It waits for the target to come back."""
    overtaken: int = 0
    """It is not delivered, as it belongs to an offer that a newer one has overtaken: the highest number; else 0."""


class FramesLost(Struct, frozen=True, gc=False):
    """Frames for a member on this node were lost on the way, and cannot be had again."""

    target: Incarnation


Event = (
    MemberJoined
    | MemberLeft
    | MemberMarked
    | RoomLocked
    | RoomClosed
    | Moderated
    | MemberMoved
    | Switched
    | HandedOver
    | JoinRefused
    | ClaimRefused
    | Vacated
    | Signalled
    | Announced
    | Receipt
    | FramesLost
)


LOCATED = (MemberJoined, MemberLeft, MemberMarked, MemberMoved, RoomLocked, RoomClosed)
"""What clients are told of a room, with the place where it was read."""


def placed(event: Event, at: bytes) -> Event:
    """The event, as heard at a place; of those that have one."""
    if at and isinstance(event, LOCATED):
        return structs.replace(event, at=at)
    return event
