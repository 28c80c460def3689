"""The node: this server process with its broker and its rooms; and the membership of one session in one room."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from mcp_actors.actors.counters import RoomCounters
from mcp_actors.actors.directory import Directory
from mcp_actors.actors.loop import ActorDeadError
from mcp_actors.actors.mail import Broadcast, Call, ClientPort, Mail, Publication, Signal
from mcp_actors.actors.room import RoomActor, forget
from mcp_actors.counters.pairs import PairCounters
from mcp_actors.counters.traffic import Traffic
from mcp_actors.protocol import handover
from mcp_actors.protocol.errors import NotInRoom, SignalingError, Unavailable
from mcp_actors.protocol.events import Kind, LeaveReason, Member
from mcp_actors.protocol.identifiers import SERVER, Incarnation, NodeId, PeerId, RequestId, RoomId, UserId, shown

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Sequence

    from mcp_actors.actors.loop import ActorRef, Inbox
    from mcp_actors.actors.observers import MembershipObserver, MessageObserver
    from mcp_actors.broker import Broker
    from mcp_actors.protocol.events import MemberMoved, Removal
    from mcp_actors.protocol.handover import Handover, MemberState
    from mcp_actors.protocol.messages import Message, OrderedRequest, ServerRequest, Targeted
    from mcp_actors.protocol.messages import Signal as SignalRequest
    from mcp_actors.protocol.outgoing import Relayed
    from mcp_actors.room.rules import RuleBook


class Node:
    """The rooms of this process.

    `room_capacity`: peers, and connections of users, in one room. `max_rooms`: open rooms. `max_inbox`: mails that may
    wait for a room before its senders are slowed down. `max_pending_acks`: messages of one room that may wait for
    receipts of other nodes. `max_pending_messages`: messages of one member that may wait for its join. `rules`: of the
    rooms that are not like others; all nodes have the same.
    """

    def __init__(
        self,
        node_id: NodeId,
        broker: Broker,
        *,
        room_capacity: int,
        max_rooms: int,
        max_inbox: int,
        max_pending_acks: int,
        max_pending_messages: int = 64,
        rules: RuleBook | None = None,
    ) -> None:
        self.id = node_id
        self.broker = broker
        self.max_inbox = max_inbox
        self.traffic = Traffic()
        """The messages of this process."""
        self.counters = RoomCounters()
        self.pairs = PairCounters()
        """What peers of this process report about their connections to others."""
        self._directory = Directory(
            broker,
            capacity=room_capacity,
            max_rooms=max_rooms,
            max_pending_acks=max_pending_acks,
            max_pending_messages=max_pending_messages,
            max_inbox=max_inbox,
            traffic=self.traffic,
            rules=rules,
        )
        self.observe(self.counters)
        self._memberships = count(1)
        self._nonce = f"{node_id[-4:]}-"

    def observe(self, observer: MembershipObserver) -> None:
        """Tell an observer of the rooms and members of this process from now on."""
        self._directory.observers.add(observer)

    def observe_messages(self, observer: MessageObserver) -> None:
        """Tell an observer of the messages of users of this process from now on."""
        self._directory.observers.of_messages.append(observer)

    def rooms(self) -> list[RoomId]:
        """The rooms that are open in this process."""
        return self._directory.ids()

    def roster(self, room: RoomId) -> list[Member]:
        """The members of a room on all nodes; empty if the room is not open in this process."""
        return self._directory.roster(room)

    def gateway(self, room: RoomId) -> str:
        """The name of the gateway whose clients a room is for; empty if it is for native clients."""
        rules = self._directory.rules.find(room)
        return "" if rules is None else rules.gateway

    def peer(self, room: RoomId, peer: PeerId) -> Member | None:
        """The peer with an id in a room, at any node; None if there is none, or the room is not open here."""
        return self._directory.peer(room, peer)

    def audience_size(self, room: RoomId, kind: Kind) -> int:
        """The number of other members of a room, on all nodes, that hear what a peer, or a user, tells all."""
        return self._directory.audience_size(room, kind)

    def holders(self, room: RoomId, name: str) -> int:
        """The number of members of a room, on all nodes, that are known to have a name."""
        return self._directory.holders(room, name)

    def watchers(self, room: RoomId) -> int:
        """The number of members of a room at this node that are told when a peer is detached and attached."""
        return self._directory.watchers(room)

    async def moderate(self, room_id: RoomId, request: ServerRequest) -> None:
        """Carry out a request of the application, and return when it is done.

        Raises `NotInRoom` if the room is not open in this process, `PeerNotFound` and `Unavailable`.
        """
        room = self._directory.find(room_id)
        if room is None:
            raise NotInRoom(f"Room {shown(room_id)} has no members at this process.")
        await _answered(room.ask(Call(RoomActor.moderate, (SERVER, request)), block=False))

    def membership(
        self,
        room_id: RoomId,
        kind: Kind,
        member_id: PeerId | UserId,
        metadata: dict[str, Any] | None = None,
        *,
        session: str,
        verified: bool = False,
        address: str = "",
    ) -> Membership:
        """A new membership, to be entered in the same turn of the loop.

        Raises `Unavailable` if there are too many rooms.
        """
        incarnation = Incarnation(f"{session}.{self._nonce}{next(self._memberships)}")
        member = Member(kind, member_id, incarnation, self.id, metadata or {}, verified=verified, address=address)
        return Membership(self._directory.room(room_id), member, self)

    def claimed(
        self,
        room_id: RoomId,
        kind: Kind,
        member_id: PeerId | UserId,
        incarnation: Incarnation,
        epoch: int,
        *,
        verified: bool,
    ) -> Membership:
        """A membership that a session has at another node, to be claimed in the same turn of the loop.

        Raises `Unavailable` if there are too many rooms.
        """
        member = Member(kind, member_id, incarnation, self.id, {}, epoch=epoch, verified=verified)
        return Membership(self._directory.room(room_id), member, self)


class Departed(NamedTuple):
    """A member that moved to another node: its state, and the member as all nodes know it.

    `late`: the nodes that may still send to it here.
    """

    state: MemberState
    member: Member
    late: Sequence[NodeId] = ()


class Membership:
    """One session in one room. Methods raise `Unavailable` if the room was lost, unless they never fail."""

    __slots__ = ("_inbox", "_member", "_node", "_room", "presence")

    def __init__(self, room: ActorRef[RoomActor], member: Member, node: Node) -> None:
        self._room = room
        self._inbox = cast("Inbox", room.actor_inbox)
        self._member = member
        self._node = node
        self.presence = False
        """Whether the member wants to know of detached peers."""

    @property
    def member_id(self) -> PeerId | UserId:
        """The peer id or user id."""
        return self._member.id

    @property
    def incarnation(self) -> Incarnation:
        """The incarnation of the member."""
        return self._member.incarnation

    def enter(self, port: ClientPort, *, presence: bool = False, moderator: bool = False) -> Awaitable[None]:
        """Ask at once to join, though the room is locked if as a `moderator`, and await that the port was welcomed.

        Messages may be sent right behind. Raises `PeerIdTaken`, `RoomFull` and `RoomLocked`, too.
        """
        self.presence = presence
        return self._entered(self._ask(RoomActor.enter, self._member, port, presence, moderator))

    async def _entered(self, answer: Awaitable[None]) -> None:
        try:
            await answer
        except SignalingError:
            self._call(forget, self._member.incarnation)  # behind what the client has sent until now
            raise
        finally:
            del answer

    def come_back(self) -> Awaitable[None]:
        """Send the port another welcome, for a client that has reconnected."""
        return self._ask(RoomActor.welcome_back, self._member.incarnation)

    def moderate(self, request: OrderedRequest) -> Awaitable[None]:
        """Ask at once for an update or a moderator's request, and await that it is done; the room sends the reply.

        Raises `NotInRoom` and `PeerNotFound`, too.
        """
        return self._ask(RoomActor.moderate, self._member.incarnation, request)

    def claim(self, port: ClientPort) -> Awaitable[MemberMoved | Removal | None]:
        """Ask at once for the member to move here, and await its move.

        None if the member is gone, or its removal if a moderator removed it.
        """
        return self._ask(RoomActor.claim, self._member, port, self.presence)

    def fence_owner(self) -> Awaitable[None]:
        """Ask at once to go on without the handover of the claimed member, and await that all nodes know."""
        return self._ask(RoomActor.fence_owner, self._member.incarnation)

    def deliver_late(self, messages: Sequence[tuple[str, Relayed]]) -> None:
        """Send what the member's old node had for it, each message with its sender's id; never fails.

        Messages that members of that node have sent since are held until then.
        """
        self._call(RoomActor.deliver_late, self._member.incarnation, messages)

    def adopt(self, state: MemberState) -> None:
        """Go on with what a stopped node has left of the member; never fails."""
        self._call(RoomActor.adopt, self._member.incarnation, state)

    async def recover(self, room: RoomId, move: MemberMoved, offset: str, patience: float) -> bool:
        """Give the port what came to the member's old node after an offset; whether that is everything."""
        found = await self._node.broker.recover(room, self._member.kind, move, offset, patience)
        if self._room.is_alive():
            await self._ask(RoomActor.recover, self._member.incarnation, found)
        return found.whole

    def end_recovery(self, room: RoomId, move: MemberMoved) -> None:
        """Tell the other nodes that nothing more is recovered: senders to the old node need not wait for an answer."""
        self._node.broker.end_recovery(room, move.incarnation, move.epoch)

    async def depart(self) -> Departed | None:
        """Let go of the member, which moved to another node, and return what is known of it; None if it is gone."""
        try:
            answer = await self._ask(RoomActor.depart, self._member.incarnation)
        except Unavailable:
            return None
        return None if answer is None else Departed(*answer)

    def hand_over(self, room: RoomId, departed: Departed, told: Handover) -> None:
        """Send what is known of the member, and of its session, to its new node."""
        self._node.broker.hand_over(room, departed.member, handover.pack(told))

    def mark(self, *, detached: bool, address: str = "") -> None:
        """Note that the client has no connection, or has one again, from an address; never fails."""
        self._call(RoomActor.set_presence, self._member.incarnation, detached, address)

    def leave(self, request_id: RequestId | None) -> Awaitable[None]:
        """Ask at once to leave, and await that it is done; the room sends the reply."""
        return self._ask(RoomActor.leave, self._member.incarnation, LeaveReason.LEFT, request_id, True)

    def end(self, reason: LeaveReason) -> None:
        """Leave because the connection is gone; never fails."""
        self._call(RoomActor.leave, self._member.incarnation, reason)

    def relay(self, request: Targeted, frame: bytes) -> Future[None] | None:
        """Send a peer's message; a future is returned if the sender must wait for it before it reads on."""
        return self._tell(Signal(self._member.incarnation, request, frame))

    def broadcast(self, request: Message, frame: bytes) -> Future[None] | None:
        """Send a user's message; a future is returned if the sender must wait for it before it reads on."""
        return self._tell(Broadcast(self._member.incarnation, request, frame))

    def publish(self, name: str, to: SignalRequest | None, frame: bytes) -> Future[None] | None:
        """Send a member's message under a name, see `Publication`; the result is that of `broadcast`."""
        return self._tell(Publication(self._member.incarnation, name, to, frame))

    def _tell(self, mail: Mail) -> Future[None] | None:
        try:
            self._room.tell(mail)
        except ActorDeadError:
            raise _lost() from None
        inbox = self._inbox
        return inbox.drained() if len(inbox.envelopes) > self._node.max_inbox else None

    def _call(self, method: Callable[..., Any], *args: Any) -> None:
        if self._room.is_alive():
            self._room.tell(Call(method, args))

    def _ask(self, method: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        return _answered(self._room.ask(Call(method, args), block=False))


async def _answered(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except ActorDeadError:
        raise _lost() from None
    finally:
        del answer  # an error, its traceback and the future that holds it would keep each other alive


def _lost() -> Unavailable:
    return Unavailable("The room was lost to a failure of the server; join it again.")
