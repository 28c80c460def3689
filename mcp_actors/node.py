"""The node: this server process, with its id, its broker and its rooms; and one connection's membership in a room."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from mcp_actors.actors.directory import Directory
from mcp_actors.actors.loop import ActorDeadError
from mcp_actors.actors.mail import (
    Adopt,
    Broadcast,
    Claim,
    Depart,
    Enter,
    Exit,
    Greeting,
    Mail,
    Mark,
    Moderate,
    Outlet,
    Recover,
    Relayed,
    Return,
)
from mcp_actors.protocol import handover
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import Kind, LeaveReason, Member
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RequestId, RoomId, UserId

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable

    from mcp_actors.actors.loop import ActorRef, Inbox
    from mcp_actors.actors.room import RoomActor
    from mcp_actors.broker import Broker
    from mcp_actors.protocol.events import MemberMoved
    from mcp_actors.protocol.handover import MemberState, SessionState
    from mcp_actors.protocol.messages import Message, Moderation, Targeted


class Node:
    """What a transport needs of this process: memberships in its rooms.

    `room_capacity`: members of each kind in one room. `max_rooms`: rooms of this process. `max_inbox`: mails that may
    wait for a room before those who send to it are slowed. `max_unanswered`: messages with an `id` of one room that may
    wait for the receipts of other nodes.
    """

    def __init__(
        self,
        node_id: NodeId,
        broker: Broker,
        *,
        room_capacity: int,
        max_rooms: int,
        max_inbox: int,
        max_unanswered: int,
    ) -> None:
        self.id = node_id
        self.broker = broker
        self.rooms = Directory(
            broker,
            capacity=room_capacity,
            max_rooms=max_rooms,
            max_unanswered=max_unanswered,
            max_inbox=max_inbox,
        )
        self.max_inbox = max_inbox
        self._memberships = count(1)
        self._nonce = f"{node_id[-4:]}-"

    def membership(
        self,
        room_id: RoomId,
        kind: Kind,
        member_id: PeerId | UserId,
        metadata: dict[str, Any] | None = None,
        *,
        session: str,
        verified: bool = False,
    ) -> Membership:
        """A place in a room for one session, to be entered in this same turn of the loop.

        Raises `Unavailable` when there are too many rooms.
        """
        incarnation = Incarnation(f"{session}.{self._nonce}{next(self._memberships)}")
        member = Member(kind, member_id, incarnation, self.id, metadata or {}, verified=verified)
        return Membership(self.rooms.room(room_id), member, self)

    def claimed(
        self,
        room_id: RoomId,
        kind: Kind,
        member_id: PeerId | UserId,
        incarnation: Incarnation,
        moves: int,
        *,
        verified: bool,
    ) -> Membership:
        """A place in a room that a session has at another node, to be claimed in this same turn of the loop.

        Raises `Unavailable` when there are too many rooms.
        """
        member = Member(kind, member_id, incarnation, self.id, {}, moves=moves, verified=verified)
        return Membership(self.rooms.room(room_id), member, self)


class Departed(NamedTuple):
    """A place that is at another node by now: what is known of it, and the member as all know it."""

    state: MemberState
    member: Member


class Membership:
    """One session in one room. Each method raises `Unavailable` if the room was lost."""

    __slots__ = ("_inbox", "_member", "_node", "_room", "presence")

    def __init__(self, room: ActorRef[RoomActor], member: Member, node: Node) -> None:
        self._room = room
        self._inbox = cast("Inbox", room.actor_inbox)
        self._member = member
        self._node = node
        self.presence = False
        """Whether it is told who is away."""

    @property
    def member_id(self) -> PeerId | UserId:
        """Under which id."""
        return self._member.id

    @property
    def incarnation(self) -> Incarnation:
        """As which one."""
        return self._member.incarnation

    def enter(
        self, outlet: Outlet, greeting: Greeting, *, presence: bool = False, moderator: bool = False
    ) -> Awaitable[None]:
        """Ask at once to enter, though the room is locked if as a `moderator`, and await the outcome.

        The room writes the reply. Raises `PeerIdTaken`, `RoomFull` or `RoomLocked` too.
        """
        self.presence = presence
        return self._ask(Enter(self._member, outlet, greeting, presence, moderator))

    def moderate(self, request: Moderation) -> Awaitable[None]:
        """Ask at once for what a moderator wants, and await that it is done; the room writes the reply.

        Raises `NotInRoom` and `PeerNotFound` too.
        """
        return self._ask(Moderate(self._member.incarnation, request))

    def claim(self, outlet: Outlet) -> Awaitable[MemberMoved | LeaveReason | None]:
        """Ask at once to have the place here, and await its move; None if it is gone, or how a moderator put it out."""
        return self._ask(Claim(self._member, outlet))

    def adopt(self, state: MemberState) -> None:
        """Go on with what the node at which the place was has left behind of it; never fails."""
        if self._room.is_alive():
            self._room.tell(Adopt(self._member.incarnation, state))

    async def recover(self, room: RoomId, move: MemberMoved, at: str, patience: float) -> bool:
        """Let the outlet have what came for the place where it was, after what `at` names; whether that is all."""
        found = await self._node.broker.recover(room, self._member.kind, move, at, patience)
        if self._room.is_alive():
            await self._ask(Recover(self._member.incarnation, found.events, found.answered, found.known))
        return found.whole

    async def depart(self) -> Departed | None:
        """Let go of the place, which is at another node by now; await what is known of it. None if it is gone."""
        try:
            answer = await self._ask(Depart(self._member.incarnation))
        except Unavailable:
            return None
        return None if answer is None else Departed(*answer)

    def hand_over(self, room: RoomId, departed: Departed, session: SessionState | None, at: str) -> None:
        """Send what is known of the place, and of its session, to the node at which it is; `at` as in `Handover`."""
        body = handover.pack(handover.Handover(departed.state, session, at))
        self._node.broker.hand_over(room, departed.member, body)

    def come_back(self, greeting: Greeting) -> Awaitable[None]:
        """Have the room write the reply to the join again, for a client that came back; await that it has."""
        return self._ask(Return(self._member.incarnation, greeting))

    def mark(self, *, away: bool) -> None:
        """Say that the client has no connection now, or has one again; never fails."""
        if self._room.is_alive():
            self._room.tell(Mark(self._member.incarnation, away))

    def leave(self, request_id: RequestId | None) -> Awaitable[None]:
        """Ask at once to leave, and await that it is done; the room writes the reply."""
        return self._ask(Exit(self._member.incarnation, LeaveReason.LEFT, request_id, replied=True))

    def end(self, reason: LeaveReason) -> None:
        """Leave because the connection is gone; never fails."""
        if self._room.is_alive():
            self._room.tell(Exit(self._member.incarnation, reason))

    def relay(self, message: Targeted, frame: bytes) -> Future[None] | None:
        """Send a peer's message on; a future is returned where the sender must wait before it reads on."""
        return self._tell(Relayed(self._member.incarnation, message, frame))

    def broadcast(self, message: Message, frame: bytes) -> Future[None] | None:
        """Send a user's message on; a future is returned where the sender must wait before it reads on."""
        return self._tell(Broadcast(self._member.incarnation, message, frame))

    def _tell(self, mail: Mail) -> Future[None] | None:
        try:
            self._room.tell(mail)
        except ActorDeadError:
            raise _lost() from None
        inbox = self._inbox
        return inbox.drained() if len(inbox.envelopes) > self._node.max_inbox else None

    def _ask(self, mail: Mail) -> Awaitable[Any]:
        return _answered(self._room.ask(mail, block=False))


async def _answered(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except ActorDeadError:
        raise _lost() from None
    finally:
        del answer  # else an error, its traceback and the future that holds it would keep each other


def _lost() -> Unavailable:
    return Unavailable("The room was lost to a failure of the server; join it again.")
