"""Performs the effects of a room: on the clients of its local members, on the broker, and on observers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import structlog

from mcp_actors.protocol.codec import JSON, error_message
from mcp_actors.protocol.errors import CloseCode, SignalingError
from mcp_actors.protocol.events import LeaveReason, Member, Receipt
from mcp_actors.protocol.messages import Announce, CloseRoom, Kick, ListBans, Lock, Message, Unban, Update
from mcp_actors.protocol.outgoing import Outgoing, weight
from mcp_actors.room import effects
from mcp_actors.room.acknowledgements import no_peer, no_room
from mcp_actors.room.announcements import ack
from mcp_actors.room.effects import Done, Entered, Left
from mcp_actors.room.moderation import notice_of, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mcp_actors.actors.loop import LoopFuture
    from mcp_actors.actors.mail import ClientPort
    from mcp_actors.actors.observers import Observers
    from mcp_actors.broker import Broker
    from mcp_actors.protocol.handover import MemberState
    from mcp_actors.protocol.identifiers import Incarnation, RoomId
    from mcp_actors.protocol.messages import Targeted
    from mcp_actors.protocol.outgoing import Relayed
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.room import Room

log = structlog.get_logger("mcp_actors.room")


def request(broker: Broker, room: RoomId, effect: effects.Moderate) -> None:
    """Ask the broker for what a member requests, or the application."""
    by = effect.by
    match effect.request:
        case Update(payload=payload):
            broker.update(room, by, payload.metadata)
        case Kick() as kick:
            broker.kick(room, by, *target_of(kick), notice_of(kick))
        case CloseRoom() as close:
            broker.close(room, by, notice_of(close))
        case Announce() as announce:
            broker.announce(room, announce.content)
        case ListBans():
            broker.list_bans(room, by)
        case Unban() as unban:
            broker.unban(room, by, *target_of(unban))
        case other:
            broker.lock(room, by, locked=isinstance(other, Lock))


DELIVERIES = 24
"""Deliveries that are made before other callbacks of the loop run. Each takes some 2 us, and is written later."""


class Performer:
    """The clients of one room, by member, and the broker. `sent` counts deliveries, see `weight`.

    While it is `unfinished`, as a message has many receivers, call `go_on` before anything else, in a later turn.

    `await_handover` is called with a member whose old node is about to hand it over, `expire_later` with messages that
    wait for an absent peer.
    """

    __slots__ = (
        *(
            "_await_handover",
            "_broker",
            "_expire_later",
            "_lost",
            "_observers",
            "_rest",
            "_room",
            "_sender",
            "_unperformed",
        ),
        *("ports", "sent"),
    )

    def __init__(
        self,
        room: Room,
        broker: Broker,
        observers: Observers,
        await_handover: Callable[[Incarnation], None],
        expire_later: Callable[[effects.ExpireLater], None],
    ) -> None:
        self._room = room
        self._await_handover = await_handover
        self._expire_later = expire_later
        self._broker = broker
        self._observers = observers
        self._unperformed: Iterator[Effect] = iter(())
        self._sender: Incarnation | None = None
        self._lost: Sequence[Effect] = ()
        self._rest: effects.Send | None = None  # of a message, for the next turn
        self.ports: dict[Incarnation, ClientPort] = {}
        self.sent = 0

    def perform(self, effects: Iterable[Effect], sender: Incarnation | None = None) -> None:
        """Perform effects in order. After one that raises, `lose_members` must follow.

        A `sender` pays for a message of its own that waits for a client that does not keep up, once.
        """
        self._unperformed = iter(effects)
        self._sender = sender
        self._perform()

    @property
    def unfinished(self) -> bool:
        """Whether effects are left for a later turn."""
        return self._rest is not None

    def go_on(self) -> None:
        """Perform what is left, as far as one turn goes."""
        rest, self._rest = self._rest, None
        if rest is not None:
            self._send(rest, bulk=True)
        self._perform()

    def _perform(self) -> None:
        while self._rest is None and (effect := next(self._unperformed, None)) is not None:
            _HANDLERS[type(effect)](self, effect)

    def relay(self, effect: effects.Relay) -> None:
        """See `Relay`."""
        message = effect.message
        request = cast("Targeted", message.request)
        port = self.ports[effect.to]
        queued = port.detached
        if (queued or port.congested) and not self._may_wait(port, effect.sender, message):
            self._undelivered(effect, no_room(request.payload.target_peer_id))
        elif not port.send(message):
            self._undelivered(effect, no_peer(request.payload.target_peer_id))
        elif request.id is not None:
            self._room.delivery.acks.passed_on(effect.sender, request.id, effect.to)
            reply = ack(request.room, request.id, "queued" if queued else "delivered", effect.negotiation)
            self.ports[effect.sender].send(Outgoing(reply))

    def _undelivered(self, effect: effects.Relay, error: SignalingError) -> None:
        message = effect.message
        request = cast("Targeted", message.request)
        for one in self._room.undelivered(effect.sender, request, b"{" + message.body, error):
            _HANDLERS[type(one)](self, one)

    def _may_wait(self, port: ClientPort, sender: Incarnation, message: Relayed) -> bool:
        """Whether a message can wait for a client. It costs its sender more if that is there and does not keep up."""
        if port.congested:
            self._charge_waiting(sender, message)
        return port.has_room(message)

    def _charge_waiting(self, sender: Incarnation, message: Outgoing | Relayed) -> None:
        port = self.ports.get(sender)
        if port is not None:
            head, body = message.encoded(JSON)
            port.charge_waiting(len(head) + len(body))

    def reject(self, sender: Incarnation, error: SignalingError) -> None:
        """Answer with an error; not a member that moved away, whose client sends again at its new node."""
        port = self.ports.get(sender)
        if port is not None and sender not in self._room.migrations.departing:
            log.debug("error", code=error.code, room=self._room.id, member=sender)
            port.send(Outgoing(error_message(error)))

    def _reject(self, effect: effects.Reject) -> None:
        port = self.ports.get(effect.to)
        if port is not None and effect.waiting:
            port.charge_waiting(effect.waiting)
        self.reject(effect.to, effect.error)

    def depart(self, incarnation: Incarnation, *, ended: bool = False) -> MemberState:
        """Let go of a member that moved to another node, and return what is known of it. `ended`: so is its session."""
        self.ports.pop(incarnation, None)
        state = self._room.handovers.depart(incarnation, ended=ended)
        if incarnation not in self._room.migrations.late:
            self._broker.release(self._room.id, incarnation)
        return state

    def lose_members(self) -> None:
        """Tell observers that all members have left, after a bug."""
        self._lost = list(self._unperformed)
        for effect in self._lost:
            if isinstance(effect, Entered | Left):
                _HANDLERS[type(effect)](self, effect)
        for incarnation in self._room.roster.local:
            self._left(Left(cast("Member", self._room.roster.member(incarnation)), LeaveReason.DISCONNECTED))

    def close(self, error: Exception) -> None:
        """Close the connections of all members, and raise an error where requests are pending."""
        for port in list(self.ports.values()):
            port.close(CloseCode.ROOM_LOST)
        replies = [effect.reply for effect in self._lost if isinstance(effect, Done)]
        for reply in replies + self._room.pending.replies():
            self._done(Done(reply, error))

    def _send(self, effect: effects.Send, *, bulk: bool = False) -> None:
        receivers, message, ports = effect.to, effect.message, self.ports
        each = 1
        if len(receivers) > 1:
            head, body = message.encoded(JSON)
            each = weight(len(head) + len(body))
            most = max(1, DELIVERIES // each)
            if len(receivers) > most:
                self._rest = effects.Send(receivers[most:], message)
                receivers, bulk = receivers[:most], True
        self.sent += len(receivers) * each
        for incarnation in receivers:
            port = ports[incarnation]
            if port.congested and self._sender is not None:
                self._charge_waiting(self._sender, message)
                self._sender = None
            port.send(message, bulk)

    def _publish(self, effect: effects.Publish) -> None:
        room, sender, request = self._room.id, effect.sender, cast("Targeted | Message", effect.message.request)
        frame, delivery_id = effect.message.frame, effect.delivery_id
        try:
            if isinstance(request, Message):
                self._broker.broadcast(room, sender, effect.to, frame, delivery_id)
            else:
                self._broker.relay(room, sender, effect.to[0], frame, delivery_id, effect.step)
        except SignalingError as error:
            self._room.delivery.acks.forget(sender.incarnation, delivery_id)
            self.reject(sender.incarnation, error.about(request.room, request.id))

    def _deliver(self, effect: effects.Deliver) -> None:
        port, message, sender = self.ports[effect.to], effect.message, effect.sender
        queued = port.detached
        full = (queued or port.congested) and not port.has_room(message)
        delivered = not full and port.send(message)
        if sender is not None and (effect.delivery_id or not delivered):
            receipt = Receipt(
                sender.incarnation, effect.to, effect.delivery_id, delivered, queued=delivered and queued, full=full
            )
            self._broker.send_receipt(self._room.id, sender, receipt)

    def _done(self, effect: Done) -> None:
        reply, outcome = cast("LoopFuture[Any] | None", effect.reply), effect.outcome
        if isinstance(outcome, Exception) and reply is not None:
            reply.set_exception((type(outcome), outcome, None))
        elif reply is not None:
            reply.set(outcome)

    def _entered(self, effect: Entered) -> None:
        room, member = self._room.id, effect.member
        log.debug("member joined", room=room, member=member.incarnation, **{member.kind: member.id})
        self._observers.notify(lambda observer: observer.member_joined(room, member))

    def _left(self, effect: Left) -> None:
        room, member, reason = self._room.id, effect.member, effect.reason
        log.debug("member left", room=room, member=member.incarnation, reason=reason)
        self._observers.notify(lambda observer: observer.member_left(room, member, reason))

    def _drop(self, effect: effects.Drop) -> None:
        port = self.ports.pop(effect.to, None)
        if port is not None and effect.removed is not None:
            port.removed(self._room.id, effect.removed)

    def _moved(self, effect: effects.Moved) -> None:
        if not self.ports[effect.to].moved(self._room.id):
            self.depart(effect.to, ended=True)

    def _close(self, effect: effects.Close) -> None:
        port = self.ports.get(effect.to)
        if port is not None:
            port.close(effect.code)

    def _cutover_complete(self, effect: effects.CutoverComplete) -> None:
        port = self.ports.get(effect.to)
        if port is not None:
            port.cutover_complete(self._room.id)

    def _hand_over(self, effect: effects.HandOver) -> None:
        port = self.ports.get(effect.to)
        if port is not None:
            port.handed_over(self._room.id, effect.state)


_HANDLERS: dict[type, Callable[[Performer, Any], None]] = {
    effects.Send: Performer._send,
    effects.Relay: Performer.relay,
    effects.Publish: Performer._publish,
    effects.Deliver: Performer._deliver,
    effects.SendReceipt: lambda self, one: self._broker.send_receipt(self._room.id, one.sender, one.receipt),
    effects.Reject: Performer._reject,
    effects.Welcome: lambda self, one: self.ports[one.to].welcome(self._room.id, one),
    effects.Done: Performer._done,
    effects.Moderate: lambda self, one: request(self._broker, self._room.id, one),
    effects.Entered: Performer._entered,
    effects.Left: Performer._left,
    effects.Close: Performer._close,
    effects.Drop: Performer._drop,
    effects.AckCutover: lambda self, one: self._broker.ack_cutover(self._room.id, one.move),
    effects.Moved: Performer._moved,
    effects.CutoverComplete: Performer._cutover_complete,
    effects.Release: lambda self, one: self._broker.release(self._room.id, one.to),
    effects.ExpireLater: lambda self, one: self._expire_later(one),
    effects.AwaitHandover: lambda self, one: self._await_handover(one.to),
    effects.HandOver: Performer._hand_over,
    effects.Recovered: lambda self, one: self.ports[one.to].recovered(one.message),
}
