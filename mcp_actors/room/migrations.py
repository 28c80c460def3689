"""The members whose session moves between this node and another, until all nodes know of the move.

Other nodes send to a member's old node until they know of the move, and to its new node from then on. Each of them
acknowledges the cutover between the two. Members at the old node send to the new one, too, once it knows of the move,
but what they sent before comes with the handover: until then their messages are held.

A node that is slow to learn of a move does not keep the handover for long. Messages that it still sends to
the old node are returned to their senders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from mcp_actors.protocol.events import Member, Receipt, RemoteBroadcast, RemoteSignal
from mcp_actors.protocol.identifiers import Incarnation, NodeId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mcp_actors.protocol.events import CutoverAcked, MemberMoved


class Departing(Struct):
    """A member that was here, as it was. `awaited`: the nodes that may still send to it here.

    `stamp` is that of its messages, empty if it was leaving; `watching`: it wants presence. `fenced`: its new node goes
    on without the handover.
    """

    epoch: int
    awaited: set[NodeId]
    member: Member
    stamp: bytes
    watching: bool
    fenced: bool = False


class Arriving(Struct):
    """A member that moved here from the node `old`. `awaited`: the nodes that may still send to it there.

    `receipts`: those for messages that it sent from there, until the old node has handed these over; then None.
    `senders`: the members of the old node whose messages to it are `held` until the handover.
    """

    epoch: int
    old: NodeId
    awaited: set[NodeId]
    senders: set[Incarnation]
    receipts: list[Receipt] | None
    held: list[RemoteSignal | RemoteBroadcast]


class Migrations:
    """The moves of one room as one node sees them."""

    __slots__ = ("_arriving", "departing", "late")

    def __init__(self) -> None:
        self.departing: dict[Incarnation, Departing] = {}
        self.late: dict[Incarnation, Departing] = {}
        """The members that were handed over although other nodes may still send to them here."""
        self._arriving: dict[Incarnation, Arriving] = {}

    def __bool__(self) -> bool:
        return bool(self.departing or self._arriving or self.late)

    def leave(self, move: MemberMoved, member: Member, stamp: bytes, *, watching: bool) -> None:
        """Note that a member of this node moved to another; `member` is what it was."""
        awaited = set(move.others) - {move.old}
        self.departing[move.incarnation] = Departing(move.epoch, awaited, member, stamp, watching)

    def arrive(self, move: MemberMoved, others: Iterable[Incarnation]) -> None:
        """Note that a member of another node moved to this one; `others` are the other members of that node."""
        awaited = set(move.others) - {move.node}
        self._arriving[move.incarnation] = Arriving(move.epoch, move.old, awaited, set(others), [], [])

    def cutover_acked(self, event: CutoverAcked) -> None:
        """Note that a node knows of a move. An acknowledgement of an earlier move is ignored."""
        for moving in (self.departing, self.late, self._arriving):
            found = moving.get(event.incarnation)
            if found is not None and event.epoch >= found.epoch:
                found.awaited.discard(event.node)
        self._forget_arrived(event.incarnation)

    def depart(self, incarnation: Incarnation, nodes: Collection[NodeId]) -> Departing | None:
        """Let go of a member that moved away, and return what it was; None if it is gone.

        `nodes`: those that may still send to it.
        """
        departing = self.departing.pop(incarnation, None)
        if departing is not None and not departing.fenced and not departing.awaited.isdisjoint(nodes):
            self.late[incarnation] = departing
        return departing

    def settle(self, nodes: Collection[NodeId]) -> list[Incarnation]:
        """Forget the handed over members to which none of these nodes sends here any more, and return them.

        Other nodes have no members in the room. Their messages have arrived, and if they have members again, they know
        of all moves. But a node that has not handed over a member may have more to write than Redis takes.
        """
        for incarnation, arriving in list(self._arriving.items()):
            arriving.awaited.intersection_update(nodes if arriving.receipts is None else {*nodes, arriving.old})
            self._forget_arrived(incarnation)
        settled = [one for one, late in self.late.items() if late.fenced or late.awaited.isdisjoint(nodes)]
        for incarnation in settled:
            del self.late[incarnation]
        return settled

    def is_late(self, node: NodeId | None) -> bool:
        """Whether a node may still send to a member here that was handed over."""
        return any(node in late.awaited for late in self.late.values())

    def is_complete(self, incarnation: Incarnation) -> bool:
        """Whether nothing more arrives here for a member that was here, or is to be handed over."""
        departing = self.departing.get(incarnation)
        return departing is not None and (departing.fenced or not departing.awaited)

    def fence(self, incarnation: Incarnation, epoch: int) -> None:
        """Note that a member goes on at its new node without a handover; its client sends again what it sent here."""
        for departing in (self.departing.get(incarnation), self.late.get(incarnation)):
            if departing is not None and departing.epoch <= epoch:
                departing.fenced = True
        self.take_receipts(incarnation)
        self._forget_sender(incarnation)

    def is_addressed_here(self, incarnation: Incarnation, node: NodeId | None) -> bool:
        """Whether a node's broadcast is for a local member: not before that node knew of its move."""
        arriving = self._arriving.get(incarnation)
        return arriving is None or node not in arriving.awaited

    def still_addressed_here(self, node: NodeId | None) -> list[Incarnation]:
        """The members that were here and for which a node's broadcast still is."""
        return [one for one, departing in self.departing.items() if node in departing.awaited and not departing.fenced]

    def is_fenced(self, incarnation: Incarnation) -> bool:
        """Whether a member that was here goes on at its new node without a handover."""
        departing = self.departing.get(incarnation)
        return departing is not None and departing.fenced

    def is_held(self, target: Incarnation, sender: Incarnation) -> bool:
        """Whether a message waits for the handover of its target."""
        arriving = self._arriving.get(target)
        return arriving is not None and sender in arriving.senders

    def hold(self, target: Incarnation, event: RemoteSignal | RemoteBroadcast) -> int:
        """Hold a message until the handover of its target; return how many are held now."""
        held = self._arriving[target].held
        held.append(event)
        return len(held)

    def senders(self, target: Incarnation) -> set[Incarnation]:
        """The members of the old node whose messages are held."""
        arriving = self._arriving.get(target)
        return set() if arriving is None else arriving.senders

    def take_held(self, target: Incarnation) -> list[RemoteSignal | RemoteBroadcast]:
        """Return the messages that are held for a member, and hold no more."""
        arriving = self._arriving.get(target)
        if arriving is None:
            return []
        held, arriving.held = arriving.held, []
        arriving.senders.clear()
        self._forget_arrived(target)
        return held

    def comes_from(self, incarnation: Incarnation, node: NodeId) -> bool:
        """Whether a member that moved here was at that node, and not at another since."""
        arriving = self._arriving.get(incarnation)
        return arriving is None or node in ("", arriving.old)

    def awaits_state(self, incarnation: Incarnation) -> bool:
        """Whether the state of a member that moved here is still to come, and in time."""
        arriving = self._arriving.get(incarnation)
        return arriving is not None and arriving.receipts is not None

    def keep_receipt(self, receipt: Receipt, limit: int) -> None:
        """Keep a receipt for a message that a member sent from its old node; of more than `limit`, drop it."""
        arriving = self._arriving.get(receipt.sender)
        if arriving is not None and arriving.receipts is not None and len(arriving.receipts) < limit:
            arriving.receipts.append(receipt)

    def take_receipts(self, incarnation: Incarnation) -> list[Receipt]:
        """Return the receipts that were kept for a member, and keep no more."""
        arriving = self._arriving.get(incarnation)
        if arriving is None or arriving.receipts is None:
            return []
        receipts, arriving.receipts = arriving.receipts, None
        self._forget_arrived(incarnation)
        return receipts

    def _forget_arrived(self, incarnation: Incarnation) -> None:
        arriving = self._arriving.get(incarnation)
        if arriving is not None and not (arriving.awaited or arriving.senders or arriving.receipts is not None):
            del self._arriving[incarnation]

    def _forget_sender(self, incarnation: Incarnation) -> None:
        for target, arriving in list(self._arriving.items()):
            if incarnation in arriving.senders:
                arriving.senders.discard(incarnation)
                arriving.held = [event for event in arriving.held if event.sender != incarnation]
                self._forget_arrived(target)

    def forget(self, incarnation: Incarnation) -> None:
        """Forget a member that left the room."""
        self.departing.pop(incarnation, None)
        self.late.pop(incarnation, None)
        self._arriving.pop(incarnation, None)
        self._forget_sender(incarnation)

    def clear(self) -> None:
        """Forget all members."""
        self.departing.clear()
        self.late.clear()
        self._arriving.clear()
