"""The broker contract: `Broker` is the sum of the small protocols here.

A broker puts the membership changes of each room into one order for all nodes, and carries frames between nodes.

Requests return nothing: their outcome arrives as events at the listener of the node. A listener may be called at any
time from the request on, also within the call, so it must only put the event into an inbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Union

from msgspec import Struct

from mcp_actors.protocol.events import NO_NOTICE, Removal
from mcp_actors.protocol.identifiers import RoomId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp_actors.broker.administration import Administration
    from mcp_actors.broker.event_log import EventLog
    from mcp_actors.broker.figures import LinkFigures
    from mcp_actors.broker.revocations import Revocations
    from mcp_actors.protocol import events
    from mcp_actors.protocol.events import (
        Event,
        Kind,
        LeaveReason,
        Member,
        MemberMoved,
        NegotiationStep,
        Notice,
        Receipt,
    )
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, UserId

Listener = Callable[[RoomId, "Event"], Awaitable[None] | None]
"""Receives the events of this node's rooms. It must not fail; what it returns is awaited before it gets more events."""


class BrokerError(Exception):
    """The broker cannot start; `str(error)` says why and what to do."""


Missable = Union["events.RemoteSignal", "events.RemoteBroadcast", "events.MissedChange"]


class SessionRecord(Struct, frozen=True):
    """The public record of a session, which all nodes may read.

    `generation` counts the connections of the session, and `oldest` is the first generation whose token the client may
    still have. `whose` is the identity that a client needs to resume it. `rooms` holds (room, member id, incarnation,
    presence wanted). `left` is what a stopping node leaves behind; `out` maps rooms to how a moderator removed it
    there. `epoch` counts the nodes that have taken it over: a late record of an earlier owner is ignored. `asked_at` is
    when the client asked to resume it, in seconds of the monotonic clock, or 0 if it has not: earlier attempts at
    other nodes come too late.
    """

    session: str
    generation: int
    oldest: int
    whose: str
    rooms: list[tuple[str, str, str, bool]]
    left: bytes = b""
    out: dict[RoomId, Removal] = {}
    epoch: int = 0
    asked_at: float = 0.0


class AcquiredSession(Struct, frozen=True):
    """A session that this node takes over: its new generation and epoch, and the rest as in `SessionRecord`."""

    generation: int
    oldest: int
    rooms: list[tuple[str, str, str, bool]]
    left: bytes = b""
    out: dict[RoomId, Removal] = {}
    epoch: int = 0


class Recovered(NamedTuple):
    """The entries that the inbox of a dead node held for a member that moved here.

    `events` came after the offset asked for, `answered` before it. `known`: the offset was found; otherwise `answered`
    holds everything, and some of it may not have reached the client. `whole`: `events` is complete, and so are the
    `receipts`, those for its own messages after the offset.
    """

    events: Sequence[Missable] = ()
    answered: Sequence[events.RemoteSignal | events.RemoteBroadcast] = ()
    known: bool = False
    whole: bool = False
    receipts: Sequence[events.Receipt] = ()


class Membership(Protocol):
    """The order of joins and leaves of each room.

    Every node with members in a room, the calling one included, receives the changes of the room in the same order,
    each exactly once. A node receives them while it has members in the room: with its first member it receives all
    members that are there, its own last; after its last member left it receives `Unsubscribed`, and starts again from
    nothing. Requests of one node for one room are carried out in order. `version` rises with each change and never
    repeats, not even when a room is emptied and starts again; members that leave together leave in one version.

    The members of a lost node are detached until their resume window ends and then leave, where sessions can resume at
    other nodes; otherwise they leave at once. A node that was taken for lost learns that its own members left.
    """

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        """Add a member of this node to a room: all nodes receive `MemberJoined`, or this node alone `JoinRefused`.

        A peer id is unique in its room, over all nodes; a peer to whom the present one yields (`Member.yields_to`)
        replaces it in the same version. A room holds at most `capacity` members of each kind. A moderator may enter a
        locked room, and although it is banned. `Member.order` counts the joins of each kind from the first member of
        the room to its last. A further connection of a user joins with the metadata of the others. Repeating the
        request for one incarnation changes nothing.
        """

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        """Remove this incarnation, and no other: all nodes receive `MemberLeft`. Unknown members are ignored.

        While other nodes are out of reach, this node alone receives `LeaveAccepted` before it.
        """

    def set_presence(self, room: RoomId, incarnation: Incarnation, *, detached: bool, address: str = "") -> None:
        """Mark a member of this node as detached or attached: all nodes receive `PresenceChanged`.

        `address`: where it connects from now, for bans; empty if that is not to be known or has not changed.
        """

    def update(self, room: RoomId, by: Incarnation, metadata: dict[str, Any]) -> None:
        """Replace the metadata of a member of this node, and of all connections of the same user, in one version.

        All nodes receive `MemberUpdated` if that is a change, then this node alone `Moderated`.
        """

    def claim(self, room: RoomId, member: Member) -> None:
        """Move a member of another node to this one, with the `epoch` of `member`.

        All nodes receive `MemberMoved`, in the order of all changes, or this node alone `ClaimRefused`. If the old
        node is dead, this node receives an empty `HandedOver`.
        """

    def fence_owner(self, room: RoomId, incarnation: Incarnation) -> None:
        """Go on without the handover of a member that moved here: all nodes receive `OwnerFenced`.

        No node receives frames from the member after it that an earlier owner sent. A member that is leaving or moving
        on needs no fence: this node alone receives `OwnerFenced`, at once.
        """

    def end_recovery(self, room: RoomId, incarnation: Incarnation, epoch: int) -> None:
        """Tell all nodes, with `RecoveryEnded`, that no more is recovered for a member that moved here with `epoch`."""

    async def is_gone(self, room: RoomId, node: NodeId) -> bool:
        """Whether a node has lost its connections to the broker, and what it sent before has arrived here.

        Such a node is dead, or cut off. False if that is unknown.
        """

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        """Stop receiving what other nodes sent to a member here before they knew that it moved away."""

    def abandon(self, room: RoomId) -> None:
        """Remove all members of this node from a room whose actor failed; a later join starts from nothing."""


class Moderation(Protocol):
    """Requests of a moderator `by`, a member of this node. They do nothing once the moderator left the room or moved.

    `SERVER` stands for the application, which may ask about any room with members of this node.

    All nodes of the room receive the outcome in the order of all changes. After it this node alone receives
    `Moderated`, once per request of a moderator that is still here; it has `failed` if other nodes are out of reach for
    long, and the request may then have been carried out all the same. Removed members cannot be claimed while sessions
    wait to resume: `ClaimRefused` then says how they were removed.

    A banned identity is refused with `JoinRefused` until its ban ends or is lifted; see `kick`. Bans outlive their
    room. A room has at most so many at a time: `Moderated` is `full` if another one is asked for, and nobody is kicked.
    """

    def kick(
        self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId, notice: Notice = NO_NOTICE
    ) -> None:
        """Remove a peer, or all connections of a user, in one version, with the reason `kicked`.

        If `notice` has `ban_seconds`, the identity is banned for so long, whether it is in the room or not. That is the
        id of this kind. If it was verified, or nobody was there, it is also whoever is verified with that id, of either
        kind; these are removed, too. And it is the addresses of those that are removed, if their nodes tell them.
        """

    def list_bans(self, room: RoomId, by: Incarnation) -> None:
        """Receive the bans of a room in `Moderated`, those that end first before others."""

    def unban(self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId) -> None:
        """Lift the ban that a `kick` of the same name has set."""

    def lock(self, room: RoomId, by: Incarnation, *, locked: bool) -> None:
        """Lock or unlock a room until its last member leaves: all nodes receive `RoomLocked` if that is a change."""

    def announce(self, room: RoomId, content: Any) -> None:
        """Tell all members something: all nodes receive `Announced` once, then this node alone `Moderated` of `SERVER`.

        `content`: what JSON can hold.
        """

    def close(self, room: RoomId, by: Incarnation, notice: Notice = NO_NOTICE) -> None:
        """Remove all members: `RoomClosed` stands for all their leaves, and a later join starts the room anew."""


class Relay(Protocol):
    """Frames between members of different nodes.

    A frame arrives once, in the order in which one member sent to another, after the join of the sender and never after
    its leave. Frames are lost only with a node, or when the inbox of a slow node overflows; that node then receives
    `FramesLost`. While other nodes are out of reach frames wait, up to a limit.
    """

    def relay(
        self,
        room: RoomId,
        sender: Member,
        target: Member,
        frame: bytes,
        delivery_id: int,
        step: NegotiationStep | None = None,
    ) -> None:
        """Send a frame to a member, whose node receives `RemoteSignal`. Raises `Unavailable`."""

    def broadcast(
        self, room: RoomId, sender: Member, targets: Sequence[Member], frame: bytes, delivery_id: int
    ) -> None:
        """Send a frame to the users of other nodes, with one target per node: each receives `RemoteBroadcast`.

        Raises `Unavailable`.
        """

    def send_receipt(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        """Send the receipt of a received frame to the node of its sender. Never fails."""

    def ack_cutover(self, room: RoomId, move: MemberMoved) -> None:
        """Tell the old and the new node of a moved member that this node sends to the new one from now on.

        They receive `CutoverAcked` after all that this node sent before. Never fails.
        """

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        """Send the state of a member that moved away to its new node, which receives `HandedOver`. Never fails."""

    async def recover(self, room: RoomId, kind: Kind, move: MemberMoved, offset: str, patience: float) -> Recovered:
        """Return what the inbox of the dead node `move.old` holds for a member that moved here, after an offset.

        An offset from before the member joined counts as that of its join. Waits up to `patience` seconds for frames of
        nodes that have not acknowledged the move.
        """

    def offset(self, room: RoomId) -> str:
        """The offset up to which this node has received everything for a room; see `recover`."""

    def is_settled(self, room: RoomId) -> bool:
        """Whether a node that is new to a room would be told of the members that this node knows.

        It would not while the broker has lost some of them, whose nodes may announce them again.
        """

    async def stop_reading(self) -> None:
        """Receive nothing more: this node stops, and what still arrives is left for the nodes that take over."""


class SessionStore(Protocol):
    """Which node has a session, so that another node can take it over."""

    def save_session(self, note: SessionRecord) -> None:
        """Tell all nodes about a session of this node, or what changed in it."""

    def delete_session(self, session: str) -> None:
        """Tell all nodes that a session of this node ended."""

    def disown_session(self, session: str) -> None:
        """Stop telling about a session, because another node has it now."""

    async def acquire_session(
        self, session: str, generation: int, whose: str, patience: float, asked_at: float = 0.0
    ) -> AcquiredSession | None:
        """Take over a session with a token of a generation; None if the token is for no session, or spent.

        One node at a time can do so, and has `patience` seconds for it; others wait for so long. Raises `Unavailable`,
        also if the client that asked at `asked_at` (see `SessionRecord`) has resumed the session later elsewhere.
        """


class Status(Protocol):
    """The state of the broker."""

    @property
    def shared(self) -> bool:
        """Whether other nodes may take over sessions of this one."""

    @property
    def ready(self) -> bool:
        """Whether joins can be carried out now."""

    def health(self) -> Mapping[str, Any]:
        """Figures for an operator, as JSON."""

    def links(self) -> Sequence[LinkFigures]:
        """Figures of each link to other nodes, for metrics; empty if there is none."""


class Broker(Membership, Moderation, Relay, SessionStore, Status, Protocol):
    """All of it, with a lifecycle."""

    @property
    def revocations(self) -> Revocations:
        """The revoked access tokens."""

    @property
    def administration(self) -> Administration:
        """The requests of operators."""

    def listen(self, listener: Listener) -> None:
        """Set the one listener of this node, before anything else."""

    async def start(self) -> None:
        """Connect to the other nodes. Raises `BrokerError`."""

    async def stop(self) -> None:
        """Finish pending requests, for a moment, and leave the other nodes."""

    @property
    def event_logs(self) -> Sequence[EventLog]:
        """The logs of membership events of all nodes, if they are kept; otherwise each node observes its own rooms."""
