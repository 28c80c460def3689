"""RoomActor: mail in, the rules of `Room` applied, effects performed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import structlog
from pykka import ActorDeadError

from mcp_actors.actors.loop import LoopActor, LoopFuture
from mcp_actors.actors.mail import (
    Adopt,
    Broadcast,
    Claim,
    Depart,
    Enter,
    Exit,
    Heard,
    Mail,
    Mark,
    Moderate,
    Outlet,
    Recover,
    Relayed,
    Return,
)
from mcp_actors.protocol import handover
from mcp_actors.protocol.codec import error_frame, located
from mcp_actors.protocol.errors import CloseCode, SignalingError
from mcp_actors.protocol.events import (
    BY_MODERATORS,
    Announced,
    ClaimRefused,
    FramesLost,
    HandedOver,
    JoinRefused,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMarked,
    MemberMoved,
    Missed,
    Moderated,
    Receipt,
    RoomClosed,
    RoomLocked,
    Signalled,
    Switched,
    Vacated,
)
from mcp_actors.protocol.messages import CloseRoom, Kick, Lock, Message
from mcp_actors.room.effects import Publish, Send
from mcp_actors.room.moderation import target_of
from mcp_actors.room.room import Departure, Entry, Room, ack, peer_not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from mcp_actors.broker import Broker
    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.handover import MemberState
    from mcp_actors.protocol.identifiers import Incarnation, RoomId
    from mcp_actors.room.effects import Relay

log = structlog.get_logger("mcp_actors.room")

Departing = tuple["MemberState", "Member"]


class RoomActor(LoopActor):
    """One room: the connections of its members on this node, and the broker that orders its membership.

    `gone` is called once, when the room retires or fails, with no mail left that it will handle.
    """

    def __init__(
        self, room_id: RoomId, broker: Broker, capacity: int, max_unanswered: int, gone: Callable[[RoomId], None]
    ) -> None:
        super().__init__()
        self._room = Room(room_id, capacity, max_unanswered)
        self._broker = broker
        self._capacity = capacity
        self._gone = gone
        self._outlets: dict[Incarnation, Outlet] = {}
        self._entering: dict[Incarnation, LoopFuture[None]] = {}
        self._leaving: dict[Incarnation, LoopFuture[None]] = {}
        self._claiming: dict[Incarnation, LoopFuture[MemberMoved | LeaveReason | None]] | None = None
        self._moderating: dict[Incarnation, LoopFuture[None]] | None = None
        self._at = b""  # the last place of what came from other nodes

    def __str__(self) -> str:
        return f"room {self._room.id!r}"

    def on_receive(
        self, message: Mail
    ) -> LoopFuture[None] | LoopFuture[MemberMoved | LeaveReason | None] | Departing | None:
        """Handle one mail; those that are asked have an answer."""
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
            case Moderate():
                return self._moderate(message)
            case Mark():
                self._broker.mark(self._room.id, message.incarnation, away=message.away)
            case Return():
                self._perform(self._room.returned(message.incarnation, message.greeting, self._at))
            case _:
                return self._move(message)
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
        self._broker.abandon(self._room.id)
        for outlet in list(self._outlets.values()):
            outlet.close(CloseCode.ROOM_LOST)
        asked: list[LoopFuture[Any]] = [*self._entering.values(), *self._leaving.values()]
        for answer in (*asked, *(self._claiming or {}).values(), *(self._moderating or {}).values()):
            answer.set_exception((ActorDeadError, ActorDeadError(f"{self} was lost"), None))

    # ------------------------------------------------------------------------------------------------------ membership

    def _enter(self, mail: Enter) -> LoopFuture[None]:
        incarnation = mail.member.incarnation
        self._outlets[incarnation] = mail.outlet
        self.idle_matters = False
        self._room.enter(Entry(mail.member, mail.greeting, mail.presence))
        answer = self._entering[incarnation] = LoopFuture()
        self._broker.join(self._room.id, mail.member, self._capacity, moderator=mail.moderator)
        return answer

    def _exit(self, mail: Exit) -> LoopFuture[None] | None:
        if self._room.is_departing(mail.incarnation):
            self._depart(mail.incarnation)
            return None
        if not self._room.leave(mail.incarnation, Departure(mail.request_id, mail.replied)):
            return None
        answer = self._leaving[mail.incarnation] = LoopFuture()
        self._broker.leave(self._room.id, mail.incarnation, mail.reason)
        return answer

    # ------------------------------------------------------------------------------------------------------ moderation

    def _moderate(self, mail: Moderate) -> LoopFuture[None]:
        is_new = self._room.moderate(mail.by, mail.request)
        self._moderating = self._moderating or {}
        if not is_new:
            return self._moderating[mail.by].over()  # what came of it is told once
        answer = self._moderating[mail.by] = LoopFuture()
        room, request = self._room.id, mail.request
        match request:
            case Kick():
                self._broker.kick(room, mail.by, *target_of(request))
            case CloseRoom():
                self._broker.close(room, mail.by)
            case _:
                self._broker.lock(room, mail.by, locked=isinstance(request, Lock))
        return answer

    def _moderated(self, event: RoomLocked | RoomClosed | Moderated) -> None:
        match event:
            case RoomLocked():
                self._perform(self._room.lock(event))
            case RoomClosed():
                self._close_room(event)
            case Moderated():
                self._settle(event)

    def _settle(self, event: Moderated) -> None:
        answer = (self._moderating or {}).pop(event.by, None)
        try:
            self._perform(self._room.moderated(event))
        except SignalingError as error:
            if answer is not None:
                answer.set_exception((type(error), error, None))
            return
        if answer is not None:
            answer.set(None)

    def _close_room(self, event: RoomClosed) -> None:
        log.info("room closed", room=self._room.id)
        out = {one: outlet for one, outlet in self._outlets.items() if one in self._room.roster}
        self._perform(self._room.close(event))
        for incarnation, outlet in out.items():
            self._put_out(incarnation, outlet, LeaveReason.ROOM_CLOSED)

    def _put_out(self, incarnation: Incarnation, outlet: Outlet, reason: LeaveReason) -> None:
        """Let go of a member that a moderator put out, and of whatever it waits for."""
        del self._outlets[incarnation]
        outlet.put_out(self._room.id, reason)
        for waiting in (self._leaving, self._moderating or {}):
            answer = waiting.pop(incarnation, None)
            if answer is not None:
                answer.set(None)

    # ----------------------------------------------------------------------------------------------------------- moves

    def _move(
        self, mail: Claim | Depart | Adopt | Recover
    ) -> LoopFuture[MemberMoved | LeaveReason | None] | Departing | None:
        match mail:
            case Recover():
                self._recover(mail)
            case Claim():
                return self._claim(mail)
            case Depart():
                return self._depart(mail.incarnation)
            case Adopt():
                self._perform(self._room.adopt(mail.incarnation, mail.state))
        return None

    def _claim(self, mail: Claim) -> LoopFuture[MemberMoved | LeaveReason | None]:
        incarnation = mail.member.incarnation
        self._outlets[incarnation] = mail.outlet
        self.idle_matters = False
        self._room.claim(incarnation, mail.member.moves)
        self._claiming = self._claiming or {}
        answer = self._claiming[incarnation] = LoopFuture()
        self._broker.claim(self._room.id, mail.member)
        return answer

    def _claimed(self, incarnation: Incarnation, move: MemberMoved | LeaveReason | None) -> None:
        answer = (self._claiming or {}).pop(incarnation, None)
        if answer is None:
            return
        if not isinstance(move, MemberMoved):
            self._outlets.pop(incarnation, None)
            self._room.give_up_claim(incarnation)
        answer.set(move)

    def _moved(self, event: MemberMoved) -> None:
        incarnation = event.incarnation
        was_here = self._room.is_here(incarnation)
        self._room.moved(event)
        self._broker.switch(self._room.id, event)
        if self._room.is_here(incarnation):
            self._claimed(incarnation, event)
        elif was_here:
            self._moved_away(event)

    def _moved_away(self, event: MemberMoved) -> None:
        incarnation = event.incarnation
        log.debug("member moved", room=self._room.id, member=incarnation, node=event.node)
        self._outlets[incarnation].moved(self._room.id)
        self._settle(Moderated(incarnation, done=True))  # what comes of what it asked for is told where it is now
        leaving = self._leaving.pop(incarnation, None)
        if leaving is None:
            self._tell_complete(incarnation)
        else:  # too late, and nobody here waits for what still comes for it
            leaving.set(None)
            self._depart(incarnation)

    def _switched(self, event: Switched) -> None:
        self._room.switched(event)
        self._tell_complete(event.incarnation)

    def _tell_complete(self, incarnation: Incarnation) -> None:
        if self._room.is_complete(incarnation):
            self._outlets[incarnation].complete(self._room.id)

    def _depart(self, incarnation: Incarnation) -> Departing | None:
        self._outlets.pop(incarnation, None)
        state = self._room.depart(incarnation)
        self.idle_matters = self._room.empty
        member = self._room.roster.member(incarnation)
        self._broker.release(self._room.id, incarnation)
        return None if member is None else (state, member)

    def _handed_over(self, event: HandedOver) -> None:
        outlet = self._outlets.get(event.incarnation)
        if outlet is None:
            return
        told = handover.unpack(event.body) if event.body else None
        outlet.handed_over(self._room.id, told)
        if told is not None:
            self._perform(self._room.adopt(event.incarnation, told.member))

    def _heard(self, mail: Heard) -> None:
        event = mail.event
        self._at = getattr(event, "at", b"") or self._at
        match event:
            case Signalled():
                self._signalled(event)
            case Announced():
                self._announced(event)
            case Receipt():
                self._perform(self._room.receipt(event))
            case FramesLost():
                self._close(event.target)
            case MemberMoved():
                self._moved(event)
            case Switched():
                self._switched(event)
            case HandedOver():
                self._handed_over(event)
            case _:
                self._heard_of_members(event)
        self.idle_matters = self._room.empty

    def _heard_of_members(
        self,
        event: MemberJoined
        | MemberLeft
        | MemberMarked
        | JoinRefused
        | ClaimRefused
        | Vacated
        | RoomLocked
        | RoomClosed
        | Moderated,
    ) -> None:
        match event:
            case MemberJoined() | MemberLeft():
                self._changed(event)
            case MemberMarked():
                self._perform(self._room.marked(event))
            case JoinRefused():
                self._refused(event)
            case ClaimRefused():
                self._claimed(event.incarnation, event.reason)
            case Vacated():
                self._room.vacated()
            case _:
                self._moderated(event)

    def _changed(self, event: MemberJoined | MemberLeft) -> None:
        self._perform(self._room.heard(event))
        if isinstance(event, MemberLeft):
            log.debug("member left", room=self._room.id, member=event.incarnation, reason=event.reason)
            if event.reason in BY_MODERATORS and event.incarnation in self._outlets:
                self._put_out(event.incarnation, self._outlets[event.incarnation], event.reason)
                return
            asked = (self._moderating or {}).pop(event.incarnation, None)
            if asked is not None:
                asked.set(None)
            answer = self._leaving.pop(event.incarnation, None)
            if answer is None:  # it did not ask to: another has its place, or the other nodes took this one for lost
                replaced = event.reason is LeaveReason.REPLACED
                self._close(event.incarnation, CloseCode.REPLACED if replaced else CloseCode.ROOM_LOST)
            self._outlets.pop(event.incarnation, None)
        else:
            member = event.member
            log.debug("member joined", room=self._room.id, member=member.incarnation, **{member.kind: member.id})
            answer = self._entering.pop(member.incarnation, None)
        if answer is not None:
            answer.set(None)

    def _refused(self, event: JoinRefused) -> None:
        error = self._room.refused(event)
        if error is None:
            return
        self._outlets.pop(event.incarnation, None)
        self._entering.pop(event.incarnation).set_exception((type(error), error, None))
        departed = self._leaving.pop(event.incarnation, None)
        if departed is not None:
            departed.set(None)

    def _close(self, incarnation: Incarnation, code: CloseCode = CloseCode.ROOM_LOST) -> None:
        outlet = self._outlets.get(incarnation)
        if outlet is not None:
            outlet.close(code)

    def _recover(self, mail: Recover) -> None:
        """Let a member that was claimed have what the node that it was at can give it no more."""
        outlet = self._outlets.get(mail.incarnation)
        if outlet is None or not self._room.is_here(mail.incarnation):
            return
        for before in mail.answered:
            if before.ticket:
                self._confirm(before, delivered=mail.arrived)
        for event in mail.events:
            if isinstance(event, Missed):
                news = self._room.missed(mail.incarnation, event)
                if news is not None:
                    outlet.recovered(news)
                continue
            overtaken = self._room.overtaken(event) if isinstance(event, Signalled) else 0
            if not overtaken:
                outlet.recovered(event.frame)
            if event.ticket:
                self._confirm(event, delivered=not overtaken, queued=not overtaken, overtaken=overtaken)

    # -------------------------------------------------------------------------------------------------------- messages

    def _relay(self, mail: Relayed) -> None:
        try:
            effect = self._room.relay(mail.sender, mail.message, mail.frame)
            if isinstance(effect, Publish):
                self._publish(effect)
            elif effect is not None:
                self._deliver(effect)
        except SignalingError as error:
            self._complain(mail.sender, error.about(mail.message.room, mail.message.id))

    def _deliver(self, relay: Relay) -> None:
        message = relay.message
        outlet = self._outlets[relay.to]
        if not outlet.put(relay.frame):
            self._complain(relay.sender, peer_not_found(message).about(message.room, message.id))
        elif message.id is not None:
            self._outlets[relay.sender].put(ack(message, "queued" if outlet.away else "delivered", relay.step))

    def _broadcast(self, mail: Broadcast) -> None:
        try:
            self._perform(self._room.broadcast(mail.sender, mail.message, mail.frame))
        except SignalingError as error:
            self._complain(mail.sender, error.about(mail.message.room, mail.message.id))

    def _perform(self, effects: Sequence[Send | Publish]) -> None:
        for effect in effects:
            if isinstance(effect, Publish):
                self._publish(effect)
            else:
                self._send(effect.to, effect.frame)

    def _publish(self, publish: Publish) -> None:
        room, ticket = self._room.id, publish.ticket
        sender = cast("Member", self._room.roster.member(publish.sender))
        try:
            if isinstance(publish.message, Message):
                self._broker.announce(room, sender, publish.to, publish.frame, ticket)
            else:
                self._broker.relay(room, sender, publish.to[0], publish.frame, ticket, publish.step)
        except SignalingError:
            self._room.forget_receipts(sender.incarnation, ticket)
            raise

    def _signalled(self, event: Signalled) -> None:
        outlet = self._outlets.get(event.target) if self._room.signalled(event.target) else None
        overtaken = self._room.overtaken(event) if event.step is not None and outlet is not None else 0
        delivered = outlet is not None and not overtaken and outlet.put(located(event.frame, event.at))
        if event.ticket or not delivered:
            queued = outlet is not None and delivered and outlet.away
            self._confirm(event, delivered=delivered, queued=queued, overtaken=overtaken)

    def _announced(self, event: Announced) -> None:
        self._perform([self._room.announced(event)])
        if event.ticket:
            self._confirm(event, delivered=True)

    def _confirm(
        self, event: Signalled | Announced, *, delivered: bool, queued: bool = False, overtaken: int = 0
    ) -> None:
        sender = self._room.roster.member(event.sender)
        if sender is not None:
            receipt = Receipt(event.sender, event.target, event.ticket, delivered, queued, overtaken)
            self._broker.confirm(self._room.id, sender, receipt)

    def _send(self, to: Sequence[Incarnation], frame: bytes) -> None:
        self.effort += len(to)
        outlets = self._outlets
        for incarnation in to:
            outlets[incarnation].put(frame)

    def _complain(self, sender: Incarnation, error: SignalingError) -> None:
        log.debug("error", code=error.code, room=self._room.id, member=sender)
        outlet = self._outlets.get(sender)
        if outlet is not None:
            outlet.put(error_frame(error))
