"""The broker: it puts the joins and leaves of each room into one order for all nodes, and carries frames between them.

The contract, which every implementation keeps and refers to:

Membership

* A room asks with `join` and `leave`; neither answers. What comes of it is *heard*, by every node that has members in
  the room, the asking one included: `MemberJoined` and `MemberLeft` in one order, each exactly once. `JoinRefused` is
  heard by the asking node alone.
* A node hears of a room while it has members in it. With its first, it hears of all that are there, the first last;
  after its last has left, it hears `Vacated`, and begins anew.
* `version` rises with each change of a room; members that leave together do so in one version. Versions never repeat: a
  room that was emptied begins anew above where it ended.
* A peer id is unique in its room, over all nodes. A room holds at most `capacity` members of each kind.
* Of one node's requests for one room, the earlier comes first. Asking twice for one incarnation is asking once.
* `leave` removes that incarnation and no other, however late it comes.
* `mark` says that a member is away, or back: `MemberMarked`, in the same order as all else. A peer that joins under the
  id of one that yields to it (`Member.yields_to`) replaces it, in one version.
* `order` counts the joins of each kind in a room's life, which begins with its first member and ends with its last.
* The members of a node that is lost are heard to be away, where sessions may be gone on with at another node, and to
  leave when the time for that is over; else to leave at once. A node that was taken for lost hears its own members
  leave, without having asked for it.

Moderation

* `kick`, `lock` and `close` are asked for a member of the asking node, and change nothing once that is out of the room
  or has moved to another node.
  Their outcome is heard by every node of the room, in the same order as all else: `MemberLeft` with the reason `kicked`
  (of all connections of a user, in one version), `RoomLocked` where that is news, and `RoomClosed`, which stands for
  the leaves of all members. `Moderated` is heard behind it by the asking node alone, once for each request of a
  member that is still at it.
* A locked room lets in those who may moderate it: a `join` that says so. It stays locked until its life ends.
* A member that was put out so cannot be claimed: `ClaimRefused` tells the reason, for the time that sessions wait.

Moves

* A node asks with `claim` for a member of another node, whose session goes on at it: `MemberMoved` is heard by all
  nodes of the room, in the same order as all else; `ClaimRefused` by the asking node alone.
* Each node that hears it says so with `switch`, when all that it sends to the old node is sent. The old node and the
  new one hear `Switched` after all of that.
* The old node goes on hearing what others sent it for the member before they switched, until it asks for `release`.
  What it gives to `hand_over` is `HandedOver` at the new one; nothing, if the old node is dead.
* `note` tells all nodes which node has a session; `take` lets one node at a time have it from another.

Frames

* What `relay` and `announce` take is heard as `Signalled` and `Announced` by the node they are for, once, in the order
  in which one member sent to another; after the sender's join was heard there, and never after its leave. The `step`
  of a signal comes with it.
* It may be lost only with a node, or when a node is so slow that its inbox overflows: it then hears `FramesLost`.
* While the other nodes are out of reach, frames wait; when too much waits, `relay` and `announce` raise `Unavailable`.

A listener may be called at any time from the request on, within the call too: it only puts mail into an inbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Union

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp_actors.protocol.events import (
        Announced,
        Event,
        Kind,
        LeaveReason,
        Member,
        MemberMoved,
        Missed,
        Receipt,
        Signalled,
        Step,
    )
    from mcp_actors.protocol.identifiers import Incarnation, PeerId, RoomId, UserId

Listener = Callable[["RoomId", "Event"], Awaitable[None] | None]
"""How a node hears of its rooms; it must not fail; what it returns is to be awaited before it is told more."""


class BrokerError(Exception):
    """The broker cannot start; `str(error)` says why and what to do."""


Missable = Union["Signalled", "Announced", "Missed"]


class Note(Struct, frozen=True):
    """What all nodes may know of a session: `rooms` as (room, member id, incarnation, whether to tell who is away).

    `whose`: what a client must claim to be to go on with it. `generation` counts its connections; `oldest`: the first
    of those whose token the client may still have. `left`: what a node that stops leaves behind of it. `out`: the rooms
    that a moderator put it out of, and how.
    """

    session: str
    generation: int
    oldest: int
    whose: str
    rooms: list[tuple[str, str, str, bool]]
    left: bytes = b""
    out: dict[str, str] = {}


class Taken(Struct, frozen=True):
    """A session that this node takes over: its generation from now on, and the rest as in a `Note`."""

    generation: int
    oldest: int
    rooms: list[tuple[str, str, str, bool]]
    left: bytes = b""
    out: dict[str, str] = {}


class Recovered(NamedTuple):
    """What came for a member to the node that it was at after the place asked for, and what came to it alone before.

    `known`: the place was found; else `answered` holds all of it, which may have been lost. `whole`: `events` are all
    that came after the place.
    """

    events: Sequence[Missable] = ()
    answered: Sequence[Signalled | Announced] = ()
    known: bool = False
    whole: bool = False


class Broker(Protocol):
    """See the module's docstring for what is promised."""

    def listen(self, listener: Listener) -> None:
        """Name the one listener of this node, before anything else."""

    async def start(self) -> None:
        """Reach the other nodes. Raises `BrokerError`."""

    async def stop(self) -> None:
        """Let what was asked be done, for a moment, and leave the other nodes."""

    @property
    def shared(self) -> bool:
        """Whether other nodes may take over sessions of this one."""

    @property
    def ready(self) -> bool:
        """Whether joins can be done now."""

    def health(self) -> Mapping[str, Any]:
        """What an operator may want to know, as JSON."""

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        """Ask for a member to be let into a room; a `moderator` though it is locked."""

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        """Ask for a member to be removed from a room; no member, no effect."""

    def mark(self, room: RoomId, incarnation: Incarnation, *, away: bool) -> None:
        """Say that a member of this node is away, or back; no member, no effect."""

    def kick(self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId) -> None:
        """Ask for a peer, or all connections of a user, to be put out of a room."""

    def lock(self, room: RoomId, by: Incarnation, *, locked: bool) -> None:
        """Ask for a room to be locked or unlocked."""

    def close(self, room: RoomId, by: Incarnation) -> None:
        """Ask for all members to be put out of a room, which ends its life."""

    def claim(self, room: RoomId, member: Member) -> None:
        """Ask for a member of another node to be this node's; `member` says who, and its `moves` from now on."""

    def switch(self, room: RoomId, move: MemberMoved) -> None:
        """Say that this node has heard of a move. Never fails."""

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        """Send the node that a member moved to what is known of it here. Never fails."""

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        """Hear no more of what is sent here to a member that moved away."""

    async def recover(self, room: RoomId, kind: Kind, move: MemberMoved, at: str, patience: float) -> Recovered:
        """What came to a node that is gone for a member that moved here, after the place that `at` names.

        What others sent before they heard of the move is waited for, for so many seconds.
        """

    async def stop_reading(self) -> None:
        """Hear no more: this node stops, and what comes from now on is left for those who take over its members."""

    def place(self, room: RoomId) -> str:
        """The place up to which all was heard that came for a room; see `recover`."""

    def note(self, note: Note) -> None:
        """Tell all nodes of a session of this node, or what is new of it."""

    def forget(self, session: str) -> None:
        """Tell all nodes that a session of this node has ended."""

    def drop(self, session: str) -> None:
        """Say no more of a session: another node has it now."""

    async def take(self, session: str, generation: int, whose: str, patience: float) -> Taken | None:
        """Take a session over by a token of a generation; None if that is for none, or used up.

        Another node that takes it at the same time has so many seconds for it, and so long it is waited for. Raises
        `Unavailable`.
        """

    def abandon(self, room: RoomId) -> None:
        """Remove all members of this node from a room that failed; should it be joined again, it is told all anew."""

    def relay(
        self, room: RoomId, sender: Member, target: Member, frame: bytes, ticket: int, step: Step | None = None
    ) -> None:
        """Send a frame to a member on another node. Raises `Unavailable`."""

    def announce(self, room: RoomId, sender: Member, targets: Sequence[Member], frame: bytes, ticket: int) -> None:
        """Send a frame to the users of other nodes, of each of which `targets` names one. Raises `Unavailable`."""

    def confirm(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        """Send the node of `sender` the receipt for what was `Signalled` or `Announced`. Never fails."""
