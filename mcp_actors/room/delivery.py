"""The messages that members send each other: to whom they go, and what their senders are told of the outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from msgspec import structs

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.codec import received, relayed, sender_stamp
from mcp_actors.protocol.errors import BadMessage
from mcp_actors.protocol.events import Kind, Member, NegotiationStep, Receipt, RemoteSignal
from mcp_actors.protocol.outgoing import Outgoing
from mcp_actors.room.acknowledgements import Acknowledgements, no_peer, stale_negotiation
from mcp_actors.room.announcements import ack
from mcp_actors.room.effects import AwaitHandover, Deliver, Publish, Relay, Send, SendReceipt
from mcp_actors.room.mailbox import Letter
from mcp_actors.room.pending import Held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.events import RemoteBroadcast
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RequestId, RoomId
    from mcp_actors.protocol.outgoing import Relayed
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.mailbox import Mailbox
    from mcp_actors.room.migrations import Migrations
    from mcp_actors.room.negotiation import Negotiations
    from mcp_actors.room.pending import PendingRequests
    from mcp_actors.room.roster import Roster


class Delivery:
    """The messages of one room. At most `max_pending_acks` of them wait for receipts of other nodes.

    As many are held for each member that is about to be handed over.
    """

    __slots__ = ("_max_held", "_migrations", "_negotiations", "_pending", "_room", "_roster", "acks", "mailbox")

    def __init__(
        self,
        room: RoomId,
        roster: Roster,
        pending: PendingRequests,
        negotiations: Negotiations,
        migrations: Migrations,
        max_pending_acks: int,
    ) -> None:
        self._room = room
        self._roster = roster
        self._pending = pending
        self._negotiations = negotiations
        self._migrations = migrations
        self._max_held = max_pending_acks
        self.acks = Acknowledgements(room, roster, negotiations, migrations, max_pending_acks)
        self.mailbox: Mailbox | None = None
        """Keeps messages to other nodes until their receipts arrive, in rooms with store and forward."""

    def relay(self, sender: Incarnation, request: wire.Targeted, frame: bytes) -> Relay | Publish | Send | None:
        """Send a peer's message to another peer. None if it waits for the sender's join, or is under way already.

        One that is sent again after it was passed on is only answered.

        Raises `NotInRoom`, `PeerNotFound`, `StaleNegotiation`, `Unavailable`, and `BadMessage` for one to itself.
        """
        local = self._roster.local
        stamp = local.get(sender) or self._stamp_of_departing(sender, request, frame)
        if not stamp or (request.again and self.acks.is_under_way(sender, request)):
            return None
        target = self._roster.peer(request.payload.target_peer_id)
        target_stamp = None if target is None else local.get(target.incarnation)
        if target is None or target_stamp == b"":  # which leaves
            raise no_peer(request.payload.target_peer_id)
        if target_stamp is None and target.incarnation in self._roster.let_go:
            raise no_peer(request.payload.target_peer_id)
        if target.incarnation == sender:
            field = "payload.target_peer_id"
            raise BadMessage(f"`{field}` is your own peer id; name another peer.", field=field)
        if request.again and self.acks.was_passed_on(sender, request.id, target.incarnation):
            return self.acks.answer_again(sender, target, request)
        number, step = 0, None
        if request.negotiation is not None:
            step = self._step(sender, target.incarnation, request, remote=target_stamp is None)
            number = step.number if step.kind == "offer" else 0
        message = relayed(stamp, frame, request, number)
        if target_stamp is not None:
            return Relay(sender, target.incarnation, message, number)
        to = (target,)
        if self.mailbox is not None:
            return Publish(self._member(sender), to, message, self._track(sender, target, request, frame))
        delivery_id = self.acks.await_receipts(sender, request, to, step)
        return Publish(self._member(sender), to, message, delivery_id, step)

    def _track(self, sender: Incarnation, target: Member, request: wire.Targeted, frame: bytes) -> int:
        """Keep a message to another node until its receipt arrives. Raises `PeerNotFound` if that node is lost."""
        assert self.mailbox is not None  # noqa: S101 - as its caller knows
        peer = request.payload.target_peer_id
        if target.detached:
            raise no_peer(peer)
        return self.mailbox.track(
            sender, target.incarnation, Letter(cast("PeerId", self._member(sender).id), peer, request, frame)
        )

    def relay_for(self, sender: PeerId, request: wire.Targeted, frame: bytes) -> list[Effect]:
        """Send the message of a peer that is gone to its target, if that is at this node."""
        target = self._roster.peer(request.payload.target_peer_id)
        if target is None or not self._roster.local.get(target.incarnation):
            return []
        return [Send((target.incarnation,), relayed(sender_stamp(sender), frame, request))]

    def _stamp_of_departing(self, sender: Incarnation, request: wire.Targeted | wire.Message, frame: bytes) -> bytes:
        """The stamp of a member that moved to another node and was not handed over, for what it sent before.

        Empty if its new node did not wait for that, or if the message waits for the sender's join. Raises as `hold`.
        """
        departing = self._migrations.departing.get(sender)
        if departing is None or not departing.stamp:
            self._pending.hold(sender, Held(request, frame))
            return b""
        return b"" if departing.fenced else departing.stamp

    def _member(self, sender: Incarnation) -> Member:
        """A local member, or one that moved to another node as it was here."""
        departing = self._migrations.departing.get(sender)
        return cast("Member", self._roster.member(sender)) if departing is None else departing.member

    def _step(
        self, sender: Incarnation, target: Incarnation, request: wire.Targeted, *, remote: bool
    ) -> NegotiationStep:
        """Number an offer, or let an answer or a candidate pass that is not superseded.

        A number counts even if its offer is lost: a peer that has made a newer offer cannot use an answer to an older.
        """
        if isinstance(request, wire.Offer):
            return NegotiationStep("offer", self._negotiations.offered(sender, target, remote=remote))
        kind = "answer" if isinstance(request, wire.Answer) else "ice-candidate"
        step = NegotiationStep(kind, cast("int", request.negotiation))  # type: ignore[arg-type]
        newest = self._negotiations.superseded(sender, target, step)
        if newest:
            raise stale_negotiation(newest)
        return step

    def broadcast(self, sender: Incarnation, request: wire.Message, frame: bytes) -> Sequence[Effect]:
        """Send a user's message to all other connections of users. Raises `NotInRoom` and `Unavailable`."""
        stamp = self._roster.local.get(sender) or self._stamp_of_departing(sender, request, frame)
        if not stamp or (request.again and self.acks.is_under_way(sender, request)):
            return ()
        if request.again and self.acks.was_passed_on(sender, request.id, None):
            return (Send((sender,), Outgoing(ack(self._room, cast("RequestId", request.id)))),)
        message = relayed(stamp, frame, request)
        effects: list[Effect] = [Send(self._roster.local_users(except_for=sender), message)]
        remote = self._remote_users(sender)
        if remote:
            delivery_id = self.acks.await_receipts(sender, request, remote)
            effects.insert(0, Publish(self._member(sender), remote, message, delivery_id))
        elif request.id is not None:
            self.acks.passed_on(sender, request.id, None)
            effects.append(Send((sender,), Outgoing(ack(self._room, request.id))))
        return effects

    def _remote_users(self, sender: Incarnation) -> list[Member]:
        """One user, but not the sender, of each other node that has users in the room."""
        roster = self._roster
        if len(roster) == len(roster.local):
            return []
        here = {sender, *roster.local, *roster.let_go}
        found: dict[NodeId, Member] = {}
        for member in roster.members():
            if member.kind is Kind.USER and member.incarnation not in here:
                found.setdefault(member.node, member)
        return list(found.values())

    def remote_signal(self, event: RemoteSignal) -> list[Effect]:
        """Deliver a message of another node, unless its target has left or it is superseded."""
        sender, target, migrations = self._roster.member(event.sender), event.target, self._migrations
        if migrations:
            if migrations.is_held(target, event.sender):
                return self._hold(target, event)
            if migrations.is_fenced(target):  # its new node finds the message in the inbox of this one
                return []
        stamp = self._roster.local.get(target)
        is_here = stamp != b"" if stamp is not None else target in migrations.departing
        superseded = self.superseded(event) if is_here else 0
        if not is_here or superseded:
            moved = stamp is None and target in self._roster
            return self.receipt_for(event, delivered=False, superseded=superseded, moved=moved)
        return [Deliver(target, received(event.frame, event.offset, self._room), sender, event.delivery_id)]

    def deliver_late(self, target: Incarnation, messages: Sequence[tuple[str, Relayed]]) -> list[Effect]:
        """Give a member what its old node had for it, each with the id of its sender, and then what was held.

        Messages of members that have gone on elsewhere without that node are void: their clients send them again.
        """
        if target not in self._roster.local:
            return []
        senders = {member.id for member in map(self._roster.member, self._migrations.senders(target)) if member}
        late: list[Effect] = [Send((target,), message) for sender, message in messages if sender in senders]
        return [*late, *self.release(target)]

    def superseded(self, event: RemoteSignal) -> int:
        """Learn the number of an offer of another node, or return the newest number if an answer is superseded."""
        step = event.step
        if step is None or event.sender not in self._roster:
            return 0
        if step.kind != "offer":
            return self._negotiations.superseded(event.sender, event.target, step)
        self._negotiations.learned(event.sender, event.target, step.number)
        return 0

    def remote_broadcast(self, event: RemoteBroadcast) -> list[Effect]:
        """Deliver a message of another node to the users that were here when that node sent it."""
        to = self._roster.local_users(except_for=event.sender)
        effects: list[Effect] = []
        late = False
        if self._migrations:
            migrations, node = self._migrations, self._roster.node_at(event.sender, event.epoch)
            late = migrations.is_late(node)
            here = [one for one in to if migrations.is_addressed_here(one, node)]
            to = [one for one in here if not migrations.is_held(one, event.sender)]
            for one in set(here) - set(to):
                effects += self._hold(one, event)
            to += [one for one in migrations.still_addressed_here(node) if self._is_user(one)]
        effects.append(Send(to, received(event.frame, event.offset, self._room)))
        if not event.delivery_id:
            return effects
        return [*effects, *self.receipt_for(event, delivered=not late, moved=late)]

    def _hold(self, target: Incarnation, event: RemoteSignal | RemoteBroadcast) -> list[Effect]:
        """Hold a message until its target is handed over, unless too many are."""
        held = self._migrations.hold(target, event)
        if held > self._max_held:
            return self.release(target)
        return [AwaitHandover(target)] if held == 1 else []

    def release(self, target: Incarnation) -> list[Effect]:
        """Deliver the messages that were held for a member, and hold no more.

        They have no offset: messages of other nodes that came later were delivered before.
        """
        effects: list[Effect] = []
        for held in self._migrations.take_held(target):
            event = structs.replace(held, offset=b"")
            if isinstance(event, RemoteSignal):
                effects += self.remote_signal(event)
            elif target in self._roster.local:
                effects.append(Send((target,), received(event.frame, b"", self._room)))
        return effects

    def _is_user(self, incarnation: Incarnation) -> bool:
        member = self._roster.member(incarnation)
        return member is not None and member.kind is Kind.USER

    def receipt_for(
        self,
        event: RemoteSignal | RemoteBroadcast,
        *,
        delivered: bool,
        queued: bool = False,
        superseded: int = 0,
        moved: bool = False,
    ) -> list[Effect]:
        """The receipt for a message of another node, if its sender is still known."""
        sender = self._roster.member(event.sender)
        if sender is None:
            return []
        receipt = Receipt(event.sender, event.target, event.delivery_id, delivered, queued, superseded, moved)
        return [SendReceipt(sender, receipt)]
