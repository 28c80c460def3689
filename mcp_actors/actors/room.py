"""RoomActor: takes the mail of one room, applies the rules of `Room`, and has the effects performed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import structlog
from pykka import ActorDeadError

from mcp_actors.actors.loop import LoopActor, LoopFuture
from mcp_actors.actors.mail import Broadcast, Call, Publication, Signal
from mcp_actors.actors.performer import Performer
from mcp_actors.protocol.errors import SignalingError
from mcp_actors.room.effects import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from mcp_actors.actors.mail import ClientPort, Mail
    from mcp_actors.actors.observers import Observers
    from mcp_actors.broker import Broker, Recovered
    from mcp_actors.counters.relay_latency import RelayLatency
    from mcp_actors.protocol.events import Event, LeaveReason, Member
    from mcp_actors.protocol.handover import MemberState
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RequestId, RoomId
    from mcp_actors.protocol.messages import ServerRequest
    from mcp_actors.protocol.outgoing import Relayed
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.room import Room

HANDOVER_PATIENCE = 3.0
"""Seconds that messages of members of a node wait for what it hands over: it has heard of the move before them."""

log = structlog.get_logger("mcp_actors.room")


class RoomActor(LoopActor):
    """One room: its rules, the clients of its local members, and the broker that orders its membership.

    `gone` is called once, when the room retires or fails.
    """

    _measured: object = None
    """The request to many that is measured, until it has reached all of them."""

    def __init__(
        self,
        room: Room,
        broker: Broker,
        observers: Observers,
        gone: Callable[[RoomId], None],
        latency: RelayLatency,
    ) -> None:
        super().__init__()
        self._room = room
        self._broker = broker
        self._gone = gone
        self._observers = observers
        self._performer = Performer(
            room,
            broker,
            observers,
            self._await_handover,
            lambda one: self.tell_later(one.seconds, Call(_expire, (one.sender, one.target, one.batch))),
        )
        self._latency = latency

    def __str__(self) -> str:
        return f"room {self._room.id!r}"

    def on_receive(self, message: Mail) -> Any:
        """Handle one mail. The result is the answer to a request; if it is a future, its value is."""
        handler = _HANDLERS.get(type(message))
        return self._heard(cast("Event", message)) if handler is None else handler(self, message)

    def on_idle(self) -> None:
        """Retire an empty room, which leaves the directory in the same turn."""
        self._gone(self._room.id)
        self.retire()

    def survives(self, error: Exception) -> bool:
        """Whether the room can go on: after a bug its state is not to be trusted."""
        return isinstance(error, SignalingError)

    def on_failure(self, *_failure: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the connections of this room's members, which may come back into a fresh room."""
        log.error("room lost", room=self._room.id, members=len(self._performer.ports))
        self._performer.lose_members()
        self._gone(self._room.id)
        self._broker.abandon(self._room.id)
        self._performer.close(ActorDeadError(f"{self} was lost"))

    def _perform(self, effects: Iterable[Effect], sender: Incarnation | None = None) -> None:
        self._performer.perform(effects, sender)
        self._count_effort()

    def go_on(self) -> None:
        """Send what has many receivers on."""
        self._performer.go_on()
        self._count_effort()
        if self._measured is not None:
            self._end_measurement()

    def _count_effort(self) -> None:
        performer = self._performer
        self.effort, performer.sent = performer.sent, 0
        self.unfinished = performer.unfinished

    def _heard(self, event: Event) -> None:
        self._perform(self._room.heard(event))
        self.idle_matters = self._room.empty

    def _signal(self, mail: Signal) -> None:
        request = mail.request
        try:
            effect = self._room.delivery.relay(mail.sender, request, mail.frame)
        except SignalingError as error:
            self._perform(self._room.undelivered(mail.sender, request, mail.frame, error))
            return
        if type(effect) is Relay:
            self._performer.relay(effect)
            latency = self._latency
            if request is latency.request:
                latency.end(request, latency.signals, len(self.actor_inbox))
        elif effect is not None:
            self._perform((effect,))

    def _broadcast(self, mail: Broadcast) -> None:
        request = mail.request
        try:
            self._perform(self._room.delivery.broadcast(mail.sender, request, mail.frame), mail.sender)
        except SignalingError as error:
            self._performer.reject(mail.sender, error.about(request.room, request.id))
            return
        if request is self._latency.request:
            self._measured = request
            self._end_measurement()
        for observer in self._observers.of_messages:
            member = self._room.roster.member(mail.sender)
            if member is not None:
                observer.message_sent(self._room.id, member, bytes(request.payload.content))

    def _end_measurement(self) -> None:
        """Note that a measured request to many has reached all of them, if it has."""
        if not self.unfinished:
            measured, self._measured = self._measured, None
            self._latency.end(measured, self._latency.broadcasts, len(self.actor_inbox))

    def enter(self, member: Member, port: ClientPort, presence: bool, moderator: bool) -> LoopFuture[None]:
        """Ask the broker to let a member join; answered when it is in the room."""
        reply: LoopFuture[None] = LoopFuture()
        self._performer.ports[member.incarnation] = port
        self.idle_matters = False
        self._room.enter(member, presence=presence, reply=reply)
        self._broker.join(self._room.id, member, self._room.capacity, moderator=moderator)
        return reply

    def leave(
        self, incarnation: Incarnation, reason: LeaveReason, request_id: RequestId | None = None, replied: bool = False
    ) -> LoopFuture[None] | None:
        """Ask the broker to let a member leave; answered when it is out of the room.

        If `replied`, the room sends the reply to the leave, as the last message to that member.
        """
        if incarnation in self._room.migrations.departing:
            if not replied:  # the session has ended; a client asks again at its new node
                self._performer.depart(incarnation, ended=True)
                self.idle_matters = self._room.empty
            return None
        reply: LoopFuture[None] = LoopFuture()
        if not self._room.leave(incarnation, request_id, replied=replied, reply=reply):
            return None
        self._broker.leave(self._room.id, incarnation, reason)
        return reply

    def moderate(self, by: Incarnation, request: ServerRequest) -> LoopFuture[None] | None:
        """Make an update, or a request of a moderator or of the application; answered when it is done."""
        if by in self._room.migrations.departing:  # the client asks again at its new node
            return None
        reply: LoopFuture[None] = LoopFuture()
        self._perform(self._room.moderation.request(by, request, reply))
        return reply

    def welcome_back(self, incarnation: Incarnation) -> None:
        """Welcome a member again, whose client has reconnected."""
        self._perform(self._room.returned(incarnation))

    def set_presence(self, incarnation: Incarnation, detached: bool, address: str = "") -> None:
        """Tell the broker that a member is detached or attached, and its address if it is to be known."""
        self._broker.set_presence(self._room.id, incarnation, detached=detached, address=address)

    def claim(self, member: Member, port: ClientPort, presence: bool = False) -> LoopFuture[Any]:
        """Ask the broker for a member of another node; answered with its move to this node.

        Or with None if the member is gone, with its removal if a moderator removed it.
        """
        reply: LoopFuture[Any] = LoopFuture()
        self._performer.ports[member.incarnation] = port
        self.idle_matters = False
        self._room.claim(member.incarnation, member.epoch, presence=presence, reply=reply)
        self._broker.claim(self._room.id, member)
        return reply

    def fence_owner(self, incarnation: Incarnation) -> LoopFuture[None] | None:
        """Ask the broker to fence the earlier owners of a claimed member; answered when that is done."""
        reply: LoopFuture[None] = LoopFuture()
        if not self._room.handovers.fence_owner(incarnation, reply):
            return None
        self._broker.fence_owner(self._room.id, incarnation)
        return reply

    def _await_handover(self, incarnation: Incarnation) -> None:
        self.tell_later(HANDOVER_PATIENCE, Call(RoomActor.deliver_late, (incarnation, ())))

    def deliver_late(self, incarnation: Incarnation, messages: Sequence[tuple[str, Relayed]]) -> None:
        """Give a claimed member what its old node had for it, and then what members of that node sent since."""
        self._perform(self._room.delivery.deliver_late(incarnation, messages))

    def depart(self, incarnation: Incarnation) -> tuple[MemberState, Member, Sequence[NodeId]] | None:
        """Let go of a member that moved away.

        Return its state, the member, and the nodes that may still send to it here; None if it is gone.
        """
        state = self._performer.depart(incarnation)
        self.idle_matters = self._room.empty
        member, late = self._room.roster.member(incarnation), self._room.migrations.late.get(incarnation)
        return None if member is None else (state, member, () if late is None else tuple(late.awaited))

    def adopt(self, incarnation: Incarnation, state: MemberState) -> None:
        """Take over the state of a claimed member, which its old node cannot hand over itself."""
        self._perform(self._room.handovers.adopt(incarnation, state))

    def recover(self, incarnation: Incarnation, found: Recovered) -> None:
        """Give a claimed member what its old node may not have delivered."""
        self._perform(self._room.handovers.recover(incarnation, found.events, found.answered, arrived=found.known))
        self._perform(self._room.handovers.recover_receipts(incarnation, found.receipts, whole=found.whole))


def forget(actor: RoomActor, incarnation: Incarnation) -> None:
    """Let go of a member whose join was refused; until now, what it had sent behind the join was answered."""
    actor._performer.ports.pop(incarnation, None)


def _expire(actor: RoomActor, sender: PeerId, target: PeerId, batch: int) -> None:
    """Drop messages that have waited long enough for an absent peer."""
    if actor._room.forwarding is not None:
        actor._perform(actor._room.forwarding.expired(sender, target, batch))


def _publish(actor: RoomActor, mail: Publication) -> None:
    """Send a message of a member in a room whose members have names."""
    room = actor._room
    assert room.publications is not None  # noqa: S101 - its gateway lets its own clients in alone
    try:
        actor._perform(room.publications.send(mail.sender, mail.name, mail.to, mail.frame), mail.sender)
    except SignalingError as error:
        actor._performer.reject(mail.sender, error.about(room.id, None))


_HANDLERS: dict[type, Callable[[RoomActor, Any], Any]] = {
    Signal: RoomActor._signal,
    Broadcast: RoomActor._broadcast,
    Publication: _publish,
    Call: lambda self, mail: mail.method(self, *mail.args),
}
