"""The effects of a room: what is to be done after a request or an event. Messages in them are not encoded yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from mcp_actors.protocol.errors import CloseCode, SignalingError
from mcp_actors.protocol.events import LeaveReason, Member, MemberMoved, NegotiationStep, Receipt, Removal
from mcp_actors.protocol.handover import Handover
from mcp_actors.protocol.identifiers import Incarnation, PeerId, UserId
from mcp_actors.protocol.messages import PeerEntry, ServerRequest, UserEntry
from mcp_actors.protocol.outgoing import Outgoing, Relayed


class Effect(Struct, frozen=True, gc=False):
    """One effect. Where it has a field `to`, it is for these local members, or this one."""


class Send(Effect, frozen=True):
    """Send a message."""

    to: Sequence[Incarnation]
    message: Outgoing | Relayed


class Relay(Effect, frozen=True):
    """Send a local member's message, and tell the sender the outcome; `negotiation` is the number of an offer."""

    sender: Incarnation
    to: Incarnation
    message: Relayed
    negotiation: int = 0


class Publish(Effect, frozen=True):
    """Send a message to other nodes: to one peer, or to the users of each node, of which `to` names one.

    Receipts name `delivery_id`; it is 0 if the sender wants to know of failures only.
    """

    sender: Member
    to: Sequence[Member]
    message: Relayed
    delivery_id: int
    step: NegotiationStep | None = None


class Deliver(Effect, frozen=True):
    """Send a message of another node, and the receipt to its sender, if that is still known."""

    to: Incarnation
    message: Relayed
    sender: Member | None
    delivery_id: int


class SendReceipt(Effect, frozen=True):
    """Send a receipt to the node of a sender."""

    sender: Member
    receipt: Receipt


class Reject(Effect, frozen=True):
    """Answer a message with an error.

    `waiting`: bytes for which its sender is charged like for a message that waits for a client that does not keep up.
    """

    to: Incarnation
    error: SignalingError
    waiting: int = 0


class ExpireLater(Effect, frozen=True):
    """Call `Forwarding.expired` with a batch of waiting messages after so many seconds."""

    sender: PeerId
    target: PeerId
    batch: int
    seconds: float


class Welcome(Effect, frozen=True):
    """Tell a member that it is in the room, and the state of the room, from which the reply to its join is composed.

    Peers are in join order. `users` is empty for a peer. `unlisted`: further users, whom the reply does not name.
    """

    to: Incarnation
    member_id: PeerId | UserId
    peers: list[PeerEntry]
    users: list[UserEntry]
    order: int
    version: int
    locked: bool
    offset: bytes = b""
    unlisted: int = 0


class Done(Effect, frozen=True):
    """Resolve a pending request. `reply` is what its asker gave for that; an error as `outcome` is raised there."""

    reply: Any
    outcome: Any = None


class Moderate(Effect, frozen=True):
    """Ask the broker to carry out a request of a member, or of the application."""

    by: Incarnation
    request: ServerRequest


class Entered(Effect, frozen=True):
    """A member is local from now on."""

    member: Member


class Left(Effect, frozen=True):
    """A member is not local any more. `reason` is None if its session moved to another node."""

    member: Member
    reason: LeaveReason | None


class Close(Effect, frozen=True):
    """Close the connection of a client."""

    to: Incarnation
    code: CloseCode


class Drop(Effect, frozen=True):
    """Let go of a client as this member; tell it if a moderator `removed` it."""

    to: Incarnation
    removed: Removal | None = None


class AckCutover(Effect, frozen=True):
    """Tell the other nodes that this one knows of a move."""

    move: MemberMoved


class Moved(Effect, frozen=True):
    """Tell a client that its session moved to another node."""

    to: Incarnation


class CutoverComplete(Effect, frozen=True):
    """Tell a client that moved that other nodes send it nothing here any more."""

    to: Incarnation


class Release(Effect, frozen=True):
    """Tell the broker that nothing more arrives here for a member that was handed over."""

    to: Incarnation


class AwaitHandover(Effect, frozen=True):
    """Release the messages that are held for a member, should its old node not hand it over in time."""

    to: Incarnation


class HandOver(Effect, frozen=True):
    """Give a client that moved here what its old node knew of it; None if that node is dead."""

    to: Incarnation
    state: Handover | None


class Recovered(Effect, frozen=True):
    """Give a client that moved here a message that its old node may not have delivered."""

    to: Incarnation
    message: Outgoing | Relayed
