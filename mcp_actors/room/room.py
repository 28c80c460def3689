"""The rules of one room as one node sees it: a request of a member or an event of the broker in, effects out.

Membership changes only when the broker says so. Until then a request is pending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from mcp_actors.protocol import events
from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import (
    CloseCode,
    NotInRoom,
    PeerNotFound,
    SignalingError,
    Unavailable,
)
from mcp_actors.protocol.events import BY_MODERATORS, Kind, LeaveReason, Removal
from mcp_actors.protocol.identifiers import SERVER, PeerId
from mcp_actors.protocol.outgoing import Outgoing
from mcp_actors.room import announcements
from mcp_actors.room.delivery import Delivery
from mcp_actors.room.effects import (
    AckCutover,
    Close,
    Done,
    Drop,
    Entered,
    Left,
    Moved,
    Reject,
    Send,
    Welcome,
)
from mcp_actors.room.forwarding import Forwarding
from mcp_actors.room.handovers import Handovers
from mcp_actors.room.migrations import Migrations
from mcp_actors.room.moderation import Moderation
from mcp_actors.room.negotiation import Negotiations
from mcp_actors.room.pending import Claim, Fence, Held, Join, Leave, ModerationRequest, PendingRequests
from mcp_actors.room.publications import Publications
from mcp_actors.room.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mcp_actors.protocol.events import Event, Member
    from mcp_actors.protocol.identifiers import Incarnation, RequestId, RoomId
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.rules import RoomRules


OF_MEMBERS = (Leave, Fence, ModerationRequest)
"""The requests that end when their member is not here any more."""


class Room:
    """The members of one room, and the requests of the local ones.

    `capacity` is the number of peers, and of connections of users, that the room holds. At most `max_pending_acks`
    messages wait for receipts of other nodes; at most `max_pending_messages` of one member wait for its join. `rules`:
    those of a room that is not like others, whose capacity counts instead.
    """

    __slots__ = (
        *("capacity", "delivery", "forwarding", "handovers", "id", "locked", "migrations", "moderation", "pending"),
        *("publications", "roster"),
        *("_last_offset", "_negotiations", "version"),
    )
    id: RoomId

    def __init__(
        self,
        room_id: RoomId,
        *,
        capacity: int,
        max_pending_acks: int,
        max_pending_messages: int = 64,
        rules: RoomRules | None = None,
    ) -> None:
        self.id = room_id
        self.capacity = capacity if rules is None else rules.capacity
        self.version = 0
        self.locked = False
        self.roster = Roster() if rules is None else Roster(silent=rules.silent, named=rules.named)
        self.pending = PendingRequests(max_pending_messages)
        self.migrations = Migrations()
        self.moderation = Moderation(room_id, self.roster, self.pending)
        self._negotiations = Negotiations()
        self.delivery = Delivery(
            room_id, self.roster, self.pending, self._negotiations, self.migrations, max_pending_acks
        )
        self.handovers = Handovers(
            room_id, self.roster, self.pending, self._negotiations, self.migrations, self.delivery
        )
        self.forwarding = None
        if rules is not None and rules.patience:
            self.forwarding = Forwarding(self.roster, self.delivery, rules)
        self.publications = None
        if rules is not None and rules.named:
            self.publications = Publications(room_id, self.roster, self.delivery, self.pending)
        self._last_offset = b""

    @property
    def empty(self) -> bool:
        """Whether no member is local, joins, leaves, or moves between this node and another."""
        roster = self.roster
        moving = self.migrations.departing or self.migrations.late
        awaited = self.pending.waits_for(Join, Claim) or self.pending.find(SERVER, ModerationRequest)
        return not (roster.local or roster.let_go or moving or awaited)

    def heard(self, event: Event) -> Sequence[Effect]:
        """Apply an event of the broker."""
        offset = getattr(event, "offset", b"")
        if offset:
            self._last_offset = offset
        self.version = getattr(event, "version", self.version)
        return _HANDLERS[type(event)](self, event)

    def enter(self, member: Member, *, presence: bool = False, reply: object = None) -> None:
        """Note that the broker is asked to let a member join; `presence`: it wants to know of detached peers."""
        self.pending.add(member.incarnation, Join(member, presence, reply))

    def leave(
        self, incarnation: Incarnation, request_id: RequestId | None = None, *, replied: bool, reply: object = None
    ) -> bool:
        """Note that the broker is asked to let a member leave; False if there is nothing to ask.

        From now on no message reaches the member or comes from it, but those that wait for its join.
        """
        if self.roster.local.get(incarnation):
            self.roster.local[incarnation] = b""
        elif not self.pending.find(incarnation, Join) or self.pending.find(incarnation, Leave):
            return False
        self.pending.add(incarnation, Leave(request_id, replied, reply))
        return True

    def undelivered(
        self, sender: Incarnation, request: wire.Targeted, frame: bytes, error: SignalingError
    ) -> list[Effect]:
        """Let a peer's message wait that has not reached its target, if messages wait here; else answer the error."""
        waits = isinstance(error, PeerNotFound | Unavailable)
        if waits and self.forwarding is not None and sender in self.roster:
            return self.forwarding.undelivered(sender, request, frame)
        return [Reject(sender, error.about(request.room, request.id))]

    def returned(self, incarnation: Incarnation) -> list[Effect]:
        """Welcome a member again, whose client has reconnected."""
        member = self.roster.member(incarnation)
        if member is None or incarnation not in self.roster.local:
            return []
        return [self._welcome(member, self._last_offset)]

    def _joined(self, event: events.MemberJoined) -> list[Effect]:
        member, offset = event.member, event.offset
        incarnation = member.incarnation
        if incarnation in self.roster:
            return []
        self.roster.add(member)
        news = announcements.joined(self.id, member, self.roster)
        announced = _tell(self.roster.audience(member), news, offset)
        join = self.pending.take(incarnation, Join)
        if join is None:
            return announced if self.forwarding is None else [*announced, *self.forwarding.joined(member)]
        self.roster.settle(member)
        if join.presence:
            self.roster.watching[incarnation] = None
        effects = [self._welcome(member, offset), Entered(member), Done(join.reply), *announced]
        if self.forwarding is not None:
            effects += self.forwarding.joined(member)
        for held in join.held:
            effects += self._resume(incarnation, held)
        if self.pending.find(incarnation, Leave):
            self.roster.local[incarnation] = b""
        return effects

    def _resume(self, incarnation: Incarnation, held: Held) -> Iterable[Effect]:
        """Handle a message that has waited for its sender's join."""
        request = held.request
        try:
            if isinstance(request, wire.ServerRequest):
                return self.moderation.request(incarnation, request, held.reply)
            if self.publications is not None:
                return self.publications.resume(incarnation, held)
            if isinstance(request, wire.Message):
                return self.delivery.broadcast(incarnation, request, held.frame)
            effect = self.delivery.relay(incarnation, request, held.frame)
        except SignalingError as error:
            return [self._refuse(incarnation, held, error)]
        return [] if effect is None else [effect]

    def _refuse(self, incarnation: Incarnation, held: Held, error: SignalingError) -> Effect:
        if held.reply is not None:
            return Done(held.reply, error)
        return Reject(incarnation, error.about(self.id, held.request.id))

    def _refused(self, event: events.JoinRefused) -> list[Effect]:
        incarnation = event.incarnation
        join = self.pending.take(incarnation, Join)
        if join is None:
            return []
        effects: list[Effect] = [Done(join.reply, announcements.join_refusal(event, join.member, self.capacity))]
        for held in join.held:
            error = NotInRoom("You are not in this room: your join was refused.")
            effects.append(self._refuse(incarnation, held, error))
        leave = self.pending.take(incarnation, Leave)
        if leave is not None:
            error = NotInRoom("You are not in this room: your join was refused.")
            effects.append(Done(leave.reply, error if leave.replied else None))
        return effects

    def _left(self, event: events.MemberLeft) -> list[Effect]:
        incarnation, reason = event.incarnation, event.reason
        was_local = incarnation in self.roster.local
        member = self.roster.remove(incarnation)
        if member is None:
            return []
        self.migrations.forget(incarnation)
        leave = self.pending.find(incarnation, Leave)
        effects: list[Effect] = []
        if leave is not None and leave.replied:
            reply = announcements.leave_reply(self.id, member, leave.request_id)
            effects.append(Send((incarnation,), Outgoing(reply)))
        news = announcements.left(self.id, member, reason, self.roster)
        effects += _tell(self.roster.audience(member), news, event.offset)
        if reason is LeaveReason.KICKED:
            self.moderation.note_kick(member)
            if was_local and not (leave is not None and leave.replied):
                effects += self.moderation.kicked(member, event)
        effects += [*self.delivery.acks.member_left(incarnation), *self.handovers.settle()]
        if self.forwarding is not None:
            self.forwarding.mailbox.forget(incarnation)
            effects += self.forwarding.absent(incarnation)
        if member.kind is Kind.PEER:
            self._negotiations.forget(incarnation, (peer.incarnation for peer in self.roster.peers()))
        effects += _let_go(event, asked=leave is not None)
        asked_to_leave = leave is not None and leave.replied
        for unanswered in self.pending.take_replies(incarnation, ModerationRequest):
            text = "You left this room before that was carried out."
            effects.append(Done(unanswered, NotInRoom(text) if asked_to_leave else None))
        effects += [Done(reply) for reply in self.pending.take_replies(incarnation, *OF_MEMBERS)]
        return [*effects, Left(member, reason)] if was_local else effects

    def _presence_changed(self, event: events.PresenceChanged) -> list[Effect]:
        member = self.roster.set_presence(event.incarnation, detached=event.detached)
        if member is None or member.kind is Kind.USER:
            return []
        if self.forwarding is not None and event.detached:
            return self.forwarding.absent(event.incarnation)
        news = announcements.presence(self.id, PeerId(member.id), detached=event.detached)
        return _tell([one for one in self.roster.watching if one != event.incarnation], news, event.offset)

    def _locked(self, event: events.RoomLocked) -> list[Effect]:
        if self.locked is event.locked:
            return []
        self.locked = event.locked
        return self.moderation.locked(event)

    def _closed(self, event: events.RoomClosed) -> list[Effect]:
        effects = self.moderation.closed(event)
        for member in self.roster.members():
            incarnation = member.incarnation
            effects.append(Drop(incarnation, Removal(LeaveReason.ROOM_CLOSED, event.notice)))
            effects += [Done(reply) for reply in self.pending.take_replies(incarnation, *OF_MEMBERS)]
            if incarnation in self.roster.local:
                effects.append(Left(member, LeaveReason.ROOM_CLOSED))
        self.delivery.acks.clear()
        self._unsubscribed(None)
        return effects + self.moderation.give_up()

    def _unsubscribed(self, _event: events.Unsubscribed | None) -> list[Effect]:
        self.locked = False
        self.roster.clear()
        if self.forwarding is not None:
            self.forwarding.mailbox.clear()
        self._negotiations.clear()
        self.migrations.clear()
        return []

    def claim(self, incarnation: Incarnation, epoch: int, *, presence: bool = False, reply: object = None) -> None:
        """Note that the broker is asked for a member of another node, which moves here with its session."""
        self.pending.add(incarnation, Claim(epoch, presence, reply))

    def _claim_refused(self, event: events.ClaimRefused) -> list[Effect]:
        claim = self.pending.take(event.incarnation, Claim)
        return [] if claim is None else [Drop(event.incarnation), Done(claim.reply, event.removal)]

    def _moved(self, event: events.MemberMoved) -> list[Effect]:
        """Nobody is told: the member is in the room as before."""
        incarnation = event.incarnation
        acked = AckCutover(event)
        was = self.roster.member(incarnation)
        member = self.roster.move(incarnation, event.node, event.epoch)
        if was is None or member is None:
            return [acked]
        claim = self.pending.find(incarnation, Claim)
        if claim is not None and claim.epoch == event.epoch:
            self.pending.take(incarnation, Claim)
            self.roster.settle(member)
            if claim.presence:
                self.roster.watching[incarnation] = None
            self.migrations.arrive(event, [one.incarnation for one in self.roster.members() if one.node == event.old])
            return [acked, Entered(member), Done(claim.reply, event)]
        stamp = self.roster.local.get(incarnation)
        if stamp is None:
            return [acked, *self.handovers.settle()]
        self.migrations.leave(event, was, stamp, watching=incarnation in self.roster.watching)
        self.roster.release(incarnation)
        answered = [Done(reply) for reply in self.pending.take_replies(incarnation, *OF_MEMBERS)]
        moved = [Left(member, None), Moved(incarnation), *self.delivery.release(incarnation)]
        return [acked, *answered, *moved, *self.handovers.completion(incarnation)]

    def _welcome(self, member: Member, offset: bytes) -> Effect:
        present = structs.replace(member, detached=False)  # even if the broker has not said so yet
        everyone = (member,) if self.roster.silent else self.roster.peers()
        peers = [present if peer is member else peer for peer in everyone]
        entries = [announcements.peer_entry(peer) for peer in sorted(peers, key=lambda peer: peer.order)]
        users, unlisted = [], 0
        if self.roster.silent:
            unlisted = self.roster.audience_size(member.kind)
        elif member.kind is Kind.USER:
            users = [announcements.user_entry(one, data, verified=known) for one, data, known in self.roster.users()]
        state = (member.order, self.version, self.locked, offset, unlisted)
        return Welcome(member.incarnation, member.id, entries, users, *state)


def _receipt(room: Room, event: events.Receipt) -> list[Effect]:
    return room.delivery.acks.receipt(event) if room.forwarding is None else room.forwarding.receipt(event)


def _leave_accepted(room: Room, event: events.LeaveAccepted) -> list[Effect]:
    """Let go of a member that leaves, or whose join was refused; the others are told by its `MemberLeft`."""
    incarnation, roster = event.incarnation, room.roster
    member, leave = roster.member(incarnation), room.pending.take(incarnation, Leave)
    if member is None or (leave is None and incarnation in roster.local):
        return []
    roster.release(incarnation)
    roster.let_go.add(incarnation)
    if leave is None:
        return []
    room.delivery.acks.depart(incarnation)
    reply = Outgoing(announcements.leave_reply(room.id, member, leave.request_id))
    told: list[Effect] = [Send((incarnation,), reply)] if leave.replied else []
    return [*told, Drop(incarnation), Done(leave.reply), Left(member, event.reason)]


def _tell(to: list[Incarnation], news: wire.ServerMessage | None, offset: bytes) -> list[Effect]:
    return [Send(to, Outgoing(news, offset))] if to and news is not None else []


def _let_go(event: events.MemberLeft, *, asked: bool) -> list[Effect]:
    """Let go of a member that left. If it has not asked to, its place was taken, or this node was taken for dead."""
    incarnation, reason = event.incarnation, event.reason
    if reason in BY_MODERATORS:
        return [Drop(incarnation, Removal(reason, event.notice))]
    if asked:
        return [Drop(incarnation)]
    code = CloseCode.REPLACED if reason is LeaveReason.REPLACED else CloseCode.ROOM_LOST
    return [Close(incarnation, code), Drop(incarnation)]


_HANDLERS: dict[type, Callable[[Room, Any], Sequence[Effect]]] = {
    events.RemoteSignal: lambda room, event: (room.publications or room.delivery).remote_signal(event),
    events.RemoteBroadcast: lambda room, event: (room.publications or room.delivery).remote_broadcast(event),
    events.Receipt: _receipt,
    events.Moderated: lambda room, event: room.moderation.finished(event),
    events.MemberUpdated: lambda room, event: room.moderation.updated(event),
    events.MemberJoined: Room._joined,
    events.MemberLeft: Room._left,
    events.PresenceChanged: Room._presence_changed,
    events.JoinRefused: Room._refused,
    events.LeaveAccepted: _leave_accepted,
    events.RoomLocked: Room._locked,
    events.RoomClosed: Room._closed,
    events.Announced: lambda room, event: room.moderation.announced(event),
    events.Unsubscribed: Room._unsubscribed,
    events.ClaimRefused: Room._claim_refused,
    events.MemberMoved: Room._moved,
    events.OwnerFenced: lambda room, event: room.handovers.owner_fenced(event),
    events.RecoveryEnded: lambda room, event: room.delivery.acks.recovery_ended(event.incarnation, event.epoch),
    events.CutoverAcked: lambda room, event: room.handovers.cutover_acked(event),
    events.HandedOver: lambda room, event: room.handovers.handed_over(event),
    events.FramesLost: lambda _room, event: [Close(event.target, CloseCode.ROOM_LOST)],
}
