"""The handover of members whose session moves: given to their new nodes, and taken or recovered from their old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol import events, handover
from mcp_actors.protocol.codec import received
from mcp_actors.protocol.handover import MemberState, Offers
from mcp_actors.protocol.outgoing import Outgoing
from mcp_actors.room import announcements
from mcp_actors.room.effects import CutoverComplete, Done, HandOver, Recovered, Release
from mcp_actors.room.pending import Fence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.events import MissedChange, Receipt, RemoteBroadcast, RemoteSignal
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId
    from mcp_actors.room.delivery import Delivery
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.migrations import Migrations
    from mcp_actors.room.negotiation import Negotiations
    from mcp_actors.room.pending import PendingRequests
    from mcp_actors.room.roster import Roster


class Handovers:
    """The handovers of one room."""

    __slots__ = ("_delivery", "_migrations", "_negotiations", "_pending", "_room", "_roster")

    def __init__(
        self,
        room: RoomId,
        roster: Roster,
        pending: PendingRequests,
        negotiations: Negotiations,
        migrations: Migrations,
        delivery: Delivery,
    ) -> None:
        self._room = room
        self._roster = roster
        self._pending = pending
        self._negotiations = negotiations
        self._migrations = migrations
        self._delivery = delivery

    def fence_owner(self, incarnation: Incarnation, reply: object) -> bool:
        """Note that the broker is asked to fence the earlier owners of a member; False if it is not here any more."""
        if incarnation in self._roster.local:
            self._pending.add(incarnation, Fence(reply))
            return True
        return False

    def owner_fenced(self, event: events.OwnerFenced) -> list[Effect]:
        """Note that a member goes on at its new node without a handover."""
        self._migrations.fence(event.incarnation, event.epoch)
        fenced = [Done(reply) for reply in self._pending.take_replies(event.incarnation, Fence)]
        return [*fenced, *self.completion(event.incarnation)]

    def cutover_acked(self, event: events.CutoverAcked) -> list[Effect]:
        """Note that a node knows of a move."""
        self._migrations.cutover_acked(event)
        return self.completion(event.incarnation)

    def completion(self, incarnation: Incarnation) -> list[Effect]:
        """Tell a member that moved away if nothing more arrives here for it, so that it is handed over."""
        complete = [CutoverComplete(incarnation)] if self._migrations.is_complete(incarnation) else []
        return [*complete, *self.settle()]

    def settle(self) -> list[Effect]:
        """Let go of the members that were handed over before all nodes knew of their move, if these now do."""
        if not self._migrations:
            return []
        return [Release(one) for one in self._migrations.settle(self._nodes())]

    def _nodes(self) -> set[NodeId]:
        return {member.node for member in self._roster.members()}

    def depart(self, incarnation: Incarnation, *, ended: bool = False) -> MemberState:
        """Let go of a member, and return what is known of it. `ended`: so is its session.

        It moved to another node, or this node stops and leaves it to whichever claims it.
        """
        departing = self._migrations.depart(incarnation, () if ended else self._nodes())
        watching = incarnation in self._roster.watching or (departing is not None and departing.watching)
        offers = [Offers(*offer) for offer in self._negotiations.of(incarnation)]
        self._roster.release(incarnation)
        return MemberState(watching, offers, self._delivery.acks.depart(incarnation))

    def adopt(self, incarnation: Incarnation, state: MemberState) -> list[Effect]:
        """Take over what another node knew of a member that is local now."""
        if incarnation not in self._roster.local:
            return []
        if state.watching:
            self._roster.watching[incarnation] = None
        for offers in state.offers:
            if offers.other in self._roster:
                own, others = self._negotiations.latest(incarnation, offers.other)
                self._negotiations.learned(incarnation, offers.other, max(own, offers.own))
                self._negotiations.learned(offers.other, incarnation, max(others, offers.others))
        pending = state.pending if self._migrations.awaits_state(incarnation) else ()
        return self._delivery.acks.adopt(incarnation, pending)

    def handed_over(self, event: events.HandedOver) -> list[Effect]:
        """Take what the old node of a member knows of it."""
        if not self._migrations.comes_from(event.incarnation, event.node):  # an earlier owner that was slow
            return []
        state = handover.unpack(event.body) if event.body else None
        effect = HandOver(event.incarnation, state)
        return [effect] if state is None else [effect, *self.adopt(event.incarnation, state.member)]

    def recover(
        self,
        incarnation: Incarnation,
        missed: Sequence[RemoteSignal | RemoteBroadcast | MissedChange],
        answered: Sequence[RemoteSignal | RemoteBroadcast],
        *,
        arrived: bool,
    ) -> list[Effect]:
        """Give a local member what its old node may not have delivered.

        `answered` are earlier messages, whose senders may not know whether they `arrived`.
        """
        if incarnation not in self._roster.local:
            return []
        effects: list[Effect] = []
        for before in answered:
            if before.delivery_id:
                effects += self._delivery.receipt_for(before, delivered=arrived)
        for one in missed:
            if isinstance(one, events.MissedChange):
                news = announcements.missed(self._room, one, watching=incarnation in self._roster.watching)
                effects += [] if news is None else [Recovered(incarnation, Outgoing(news))]
                continue
            superseded = self._delivery.superseded(one) if isinstance(one, events.RemoteSignal) else 0
            if not superseded:
                effects.append(Recovered(incarnation, received(one.frame, b"", self._room)))
            if one.delivery_id:
                delivered = not superseded
                effects += self._delivery.receipt_for(one, delivered=delivered, queued=delivered, superseded=superseded)
        return effects

    def recover_receipts(self, incarnation: Incarnation, receipts: Sequence[Receipt], *, whole: bool) -> list[Effect]:
        """Take the receipts for messages of a local member that its old node did not read.

        If they are not all there (`whole`), nobody knows the fate of the messages that still wait for one: they are
        forgotten, so that the client may send them again.
        """
        effects = [effect for receipt in receipts for effect in self._delivery.acks.receipt(receipt)]
        if not whole and incarnation in self._roster.local:
            self._delivery.acks.depart(incarnation)
        return effects
