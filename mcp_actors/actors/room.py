"""RoomActor: mail in, the rules of `Room` applied, effects performed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from pykka import ActorDeadError

from mcp_actors.actors.loop import LoopActor, LoopFuture
from mcp_actors.actors.mail import Broadcast, Enter, Exit, Heard, Mail, Outlet, Relayed
from mcp_actors.protocol.codec import error_frame
from mcp_actors.protocol.errors import CloseCode, SignalingError
from mcp_actors.protocol.events import JoinRefused, LeaveReason, MemberLeft
from mcp_actors.room.room import Departure, Entry, Room, ack, peer_not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from mcp_actors.broker import Broker
    from mcp_actors.protocol.events import MemberJoined
    from mcp_actors.protocol.identifiers import Incarnation, RoomId
    from mcp_actors.room.effects import Relay

log = structlog.get_logger("mcp_actors.room")


class RoomActor(LoopActor):
    """One room: the connections of its members on this node, and the broker that orders its membership.

    `gone` is called once, when the room retires or fails, with no mail left that it will handle.
    """

    def __init__(self, room_id: RoomId, broker: Broker, capacity: int, gone: Callable[[RoomId], None]) -> None:
        super().__init__()
        self._room = Room(room_id, capacity)
        self._broker = broker
        self._capacity = capacity
        self._gone = gone
        self._outlets: dict[Incarnation, Outlet] = {}
        self._entering: dict[Incarnation, LoopFuture[None]] = {}
        self._leaving: dict[Incarnation, LoopFuture[None]] = {}

    def __str__(self) -> str:
        return f"room {self._room.id!r}"

    def on_receive(self, message: Mail) -> LoopFuture[None] | None:
        """Handle one mail; only `Enter` and `Exit` have an answer."""
        match message:
            case Relayed():
                self._relay(message)
            case Broadcast():
                self._broadcast(message)
            case Heard():
                self._heard(message)
            case Enter():
                return self._enter(message)
            case Exit():
                return self._exit(message)
        return None

    def on_idle(self) -> None:
        """Retire an empty room: its inbox is empty too, and it leaves the directory in this same turn."""
        self._gone(self._room.id)
        self.retire()

    def survives(self, error: Exception) -> bool:
        """A request that cannot be done is no bug; anything else is, and the room's state is not to be trusted."""
        return isinstance(error, SignalingError)

    def on_failure(self, *_failure: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the connections of this room's members, who may come back into a fresh room; of nobody else."""
        log.error("room lost", room=self._room.id, members=len(self._outlets))
        self._gone(self._room.id)
        for incarnation in list(self._outlets):
            self._broker.leave(self._room.id, incarnation, LeaveReason.DISCONNECTED)
        for outlet in list(self._outlets.values()):
            outlet.close(CloseCode.ROOM_LOST)
        for answer in (*self._entering.values(), *self._leaving.values()):
            answer.set_exception((ActorDeadError, ActorDeadError(f"{self} was lost"), None))

    # ------------------------------------------------------------------------------------------------------ membership

    def _enter(self, mail: Enter) -> LoopFuture[None]:
        incarnation = mail.member.incarnation
        self._outlets[incarnation] = mail.outlet
        self.idle_matters = False
        self._room.enter(Entry(mail.member, mail.request_id, mail.ice_servers))
        answer = self._entering[incarnation] = LoopFuture()
        self._broker.join(self._room.id, mail.member, self._capacity)
        return answer

    def _exit(self, mail: Exit) -> LoopFuture[None] | None:
        if not self._room.leave(mail.incarnation, Departure(mail.request_id, mail.replied)):
            return None
        answer = self._leaving[mail.incarnation] = LoopFuture()
        self._broker.leave(self._room.id, mail.incarnation, mail.reason)
        return answer

    def _heard(self, mail: Heard) -> None:
        if isinstance(mail.event, JoinRefused):
            self._refused(mail.event)
        else:
            self._changed(mail.event)
        self.idle_matters = self._room.empty

    def _changed(self, event: MemberJoined | MemberLeft) -> None:
        for send in self._room.heard(event):
            self._send(send.to, send.frame)
        if isinstance(event, MemberLeft):
            log.debug("member left", room=self._room.id, member=event.incarnation, reason=event.reason)
            self._outlets.pop(event.incarnation, None)
            answer = self._leaving.pop(event.incarnation, None)
        else:
            member = event.member
            log.debug("member joined", room=self._room.id, member=member.incarnation, **{member.kind: member.id})
            answer = self._entering.pop(member.incarnation, None)
        if answer is not None:
            answer.set(None)

    def _refused(self, event: JoinRefused) -> None:
        error = self._room.refused(event)
        self._outlets.pop(event.incarnation, None)
        self._entering.pop(event.incarnation).set_exception((type(error), error, None))
        departed = self._leaving.pop(event.incarnation, None)
        if departed is not None:
            departed.set(None)

    # -------------------------------------------------------------------------------------------------------- messages

    def _relay(self, mail: Relayed) -> None:
        try:
            relay = self._room.relay(mail.sender, mail.message, mail.frame)
        except SignalingError as error:
            self._complain(mail.sender, error.about(mail.message.room, mail.message.id))
            return
        self._deliver(relay)

    def _deliver(self, relay: Relay) -> None:
        message = relay.message
        if not self._outlets[relay.to].put(relay.frame):
            self._complain(relay.sender, peer_not_found(message).about(message.room, message.id))
        elif message.id is not None:
            self._outlets[relay.sender].put(ack(message))

    def _broadcast(self, mail: Broadcast) -> None:
        try:
            sends = self._room.broadcast(mail.sender, mail.message, mail.frame)
        except SignalingError as error:
            self._complain(mail.sender, error.about(mail.message.room, mail.message.id))
            return
        for send in sends:
            self._send(send.to, send.frame)

    def _send(self, to: Sequence[Incarnation], frame: bytes) -> None:
        self.effort += len(to)
        for incarnation in to:
            self._outlets[incarnation].put(frame)

    def _complain(self, sender: Incarnation, error: SignalingError) -> None:
        log.debug("error", code=error.code, room=self._room.id, member=sender)
        outlet = self._outlets.get(sender)
        if outlet is not None:
            outlet.put(error_frame(error))
