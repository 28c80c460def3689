"""The messages of a room whose senders want to know the outcome."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal, cast

from msgspec import structs

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import PeerNotFound, SignalingError, StaleNegotiation, Unavailable
from mcp_actors.protocol.events import Receipt
from mcp_actors.protocol.handover import Pending
from mcp_actors.protocol.identifiers import shown
from mcp_actors.protocol.outgoing import Outgoing
from mcp_actors.room.announcements import ack
from mcp_actors.room.effects import Reject, Send, SendReceipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.events import Member, NegotiationStep
    from mcp_actors.protocol.identifiers import Incarnation, PeerId, RequestId, RoomId
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.migrations import Migrations
    from mcp_actors.room.negotiation import Negotiations
    from mcp_actors.room.roster import Roster

REMEMBERED = 64
"""Messages with an `id` of each member, the latest, which are not passed on when they are sent again."""

EPOCH = 2**32
"""Delivery ids in each epoch of a sender, so that no two of its nodes use the same: receipts for messages that it
sent from an earlier node may arrive late."""

REFUSED_BYTES = 2048
"""Bytes for which a sender is charged when another node has no room for its message, as large as an offer: its size is
not known any more."""


class Acknowledgements:
    """Messages that wait for receipts of other nodes, at most `max_waiting`, and the latest that were delivered."""

    __slots__ = (
        "_last_id",
        "_lost_before",
        "_max_waiting",
        "_migrations",
        "_negotiations",
        "_remembered",
        "_room",
        "_roster",
        "_waiting",
    )

    def __init__(
        self, room: RoomId, roster: Roster, negotiations: Negotiations, migrations: Migrations, max_waiting: int
    ) -> None:
        self._room = room
        self._roster = roster
        self._negotiations = negotiations
        self._migrations = migrations
        self._max_waiting = max_waiting
        self._waiting: dict[tuple[Incarnation, int], Pending] = {}  # by sender and delivery id
        self._remembered: dict[Incarnation, deque[tuple[RequestId, Incarnation | None]]] = {}
        self._lost_before: dict[Incarnation, int] = {}  # the epochs below which nothing is answered any more
        self._last_id = 0

    def receipt(self, receipt: Receipt) -> list[Effect]:
        """Answer the sender of a message to other nodes when its last receipt arrives.

        A receipt for a member that was handed over comes from a node that did not know so, and is sent on.
        """
        sender = receipt.sender
        is_here = sender in self._roster.local or sender in self._migrations.departing
        if not is_here and sender in self._migrations.late:
            member = self._roster.member(sender)
            return [] if member is None else [SendReceipt(member, receipt)]
        if not receipt.delivery_id:
            return [self._undelivered(sender, None, None, receipt)] if is_here else []
        key = (sender, receipt.delivery_id)
        waiting = self._waiting.get(key)
        if waiting is None:
            self._migrations.keep_receipt(receipt, self._max_waiting)
            return []
        if receipt.moved or (not receipt.delivered and waiting.target is not None):
            del self._waiting[key]
            return [self._undelivered(sender, waiting.id, waiting.target, receipt)]
        if receipt.target in waiting.awaited:
            del waiting.awaited[receipt.target]
        target = None if waiting.target is None else receipt.target
        return [] if waiting.awaited else [self._acked(key, target, queued=receipt.queued)]

    def recovery_ended(self, incarnation: Incarnation, epoch: int) -> list[Effect]:
        """Answer the messages to a member at its nodes before an epoch, which nobody can deliver any more."""
        self._lost_before[incarnation] = max(epoch, self._lost_before.get(incarnation, 0))
        effects: list[Effect] = []
        for (sender, delivery_id), waiting in list(self._waiting.items()):
            if waiting.awaited.get(incarnation, epoch) < epoch:
                effects += self.receipt(Receipt(sender, incarnation, delivery_id, delivered=False, moved=True))
        return effects

    def forget(self, sender: Incarnation, delivery_id: int) -> None:
        """Forget a message that could not be sent to other nodes."""
        self._waiting.pop((sender, delivery_id), None)

    def clear(self) -> None:
        """Forget all messages."""
        self._waiting.clear()
        self._remembered.clear()
        self._lost_before.clear()

    def passed_on(self, sender: Incarnation, request_id: RequestId, target: Incarnation | None) -> None:
        """Remember a message that its target has; None for a broadcast."""
        remembered = self._remembered.get(sender)
        if remembered is None:
            remembered = self._remembered[sender] = deque(maxlen=REMEMBERED)
        remembered.append((request_id, target))

    def was_passed_on(self, sender: Incarnation, request_id: RequestId | None, target: Incarnation | None) -> bool:
        """Whether the target of a message has it, as far as is remembered."""
        return request_id is not None and (request_id, target) in self._remembered.get(sender, ())

    def answer_again(self, sender: Incarnation, target: Member, request: wire.Targeted) -> Send:
        """Answer a message as before; an offer with the number of the latest one to its target."""
        number = 0
        if isinstance(request, wire.Offer):
            number, _ = self._negotiations.latest(sender, target.incarnation)
        status: Literal["delivered", "queued"] = "queued" if target.detached else "delivered"
        reply = ack(self._room, cast("RequestId", request.id), status, number)
        return Send((sender,), Outgoing(reply))

    def await_receipts(
        self,
        sender: Incarnation,
        request: wire.Targeted | wire.Message,
        to: Sequence[Member],
        step: NegotiationStep | None = None,
    ) -> int:
        """A delivery id for a message that has an `id`; 0 for others. Raises `Unavailable`."""
        if request.id is None:
            return 0
        if len(self._waiting) >= self._max_waiting:
            raise Unavailable(
                f"{self._max_waiting} messages of this room wait for other servers' answers; try again later."
            )
        self._last_id += 1
        delivery_id = self._epoch(sender) * EPOCH + self._last_id
        target = None if isinstance(request, wire.Message) else request.payload.target_peer_id
        awaited = {member.incarnation: member.epoch for member in to}
        self._waiting[sender, delivery_id] = Pending(delivery_id, request.id, target, awaited, step)
        return delivery_id

    def _epoch(self, sender: Incarnation) -> int:
        """The current epoch of a sender, or the one that it had here if it has moved away."""
        departing = self._migrations.departing.get(sender)
        member = self._roster.member(sender) if departing is None else departing.member
        return 0 if member is None else member.epoch

    def is_under_way(self, sender: Incarnation, request: wire.Targeted | wire.Message) -> bool:
        """Whether a message that is sent again is still waiting for its receipts."""
        return any(key[0] == sender and one.id == request.id for key, one in self._waiting.items())

    def member_left(self, incarnation: Incarnation) -> list[Effect]:
        """Answer the messages that waited for a member that left, and forget its own."""
        self._remembered.pop(incarnation, None)
        self._lost_before.pop(incarnation, None)
        effects: list[Effect] = []
        for key, waiting in list(self._waiting.items()):
            if key[0] == incarnation:
                del self._waiting[key]
            elif incarnation in waiting.awaited:
                del waiting.awaited[incarnation]
                if waiting.target is not None:
                    del self._waiting[key]
                    effects.append(self._undelivered(key[0], waiting.id, waiting.target))
                elif not waiting.awaited:
                    effects.append(self._acked(key, None))
        return effects

    def depart(self, incarnation: Incarnation) -> list[Pending]:
        """Remove the waiting messages of a member that moved to another node or was let go, and return them."""
        self._remembered.pop(incarnation, None)
        return [self._waiting.pop(key) for key in list(self._waiting) if key[0] == incarnation]

    def adopt(self, incarnation: Incarnation, pending: Sequence[Pending]) -> list[Effect]:
        """Take over the waiting messages of a member that moved here."""
        effects: list[Effect] = []
        for one in pending:
            self._waiting[incarnation, one.delivery_id] = structs.replace(one, awaited=dict(one.awaited))
            for gone in [other for other in one.awaited if other not in self._roster]:
                effects += self.member_left(gone)
        for receipt in self._migrations.take_receipts(incarnation):
            effects += self.receipt(receipt)
        for other, epoch in list(self._lost_before.items()) if pending else ():
            effects += self.recovery_ended(other, epoch)
        return effects

    def _acked(self, key: tuple[Incarnation, int], target: Incarnation | None, *, queued: bool = False) -> Send:
        waiting = self._waiting.pop(key)
        self.passed_on(key[0], waiting.id, target)
        step = waiting.step
        number = step.number if step is not None and step.kind == "offer" else 0
        reply = ack(self._room, waiting.id, "queued" if queued else "delivered", number)
        return Send((key[0],), Outgoing(reply))

    def _undelivered(
        self,
        sender: Incarnation,
        request_id: RequestId | None,
        target: PeerId | None,
        receipt: Receipt | None = None,
    ) -> Reject:
        error: SignalingError
        waiting = 0
        if receipt is not None and receipt.superseded:
            error = stale_negotiation(receipt.superseded)
        elif receipt is not None and receipt.moved:
            whom = "A user who should get this" if target is None else "The peer"
            error = Unavailable(f"{whom} is on its way to another server process; send the message again.")
        elif receipt is not None and receipt.full:
            error, waiting = no_room(target), REFUSED_BYTES
        elif target is None:
            error = PeerNotFound("The peer you sent a message to has just left this room.")
        else:
            error = no_peer(target)
        return Reject(sender, error.about(self._room, request_id), waiting)


def no_peer(target: PeerId) -> PeerNotFound:
    """The answer to a message whose target is not in the room."""
    return PeerNotFound(f"No peer {shown(target)} in this room.")


def no_room(target: PeerId | None) -> Unavailable:
    """The answer to a message to a peer for which as many messages wait as may, as it is away or reads too slowly."""
    name = "The peer you sent a message to" if target is None else f"Peer {shown(target)}"
    return Unavailable(f"{name} is away or reads slowly, and no more messages can wait for it; send this again later.")


def stale_negotiation(newest: int) -> StaleNegotiation:
    """The answer to a message about an offer that was superseded; `newest` is the highest number between the two."""
    text = f"This belongs to an offer that a newer one has overtaken; the newest is {newest}. You need do nothing."
    return StaleNegotiation(text, negotiation=newest)
