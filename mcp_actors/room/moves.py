"""The members whose session goes on at another node, while that is under way.

What others send to such a member comes to its old node until they have heard of the move, and to its new one from then
on; each of them says when that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcp_actors.protocol.events import MemberMoved, Receipt
    from mcp_actors.protocol.identifiers import Incarnation, NodeId


class Departing(NamedTuple):
    """A member that was here: the nodes that may still send to it here, and whether it wants to know who is away."""

    awaited: set[NodeId]
    watching: bool


class Moves:
    """The moves of one room, as one of its nodes sees them.

    `departing`: members that were here. `arriving`: for members that are here, the nodes that may still send to where
    they were. `receipts`: those for what such a member sent from there, while nothing is known of that.
    """

    def __init__(self) -> None:
        self.departing: dict[Incarnation, Departing] = {}
        self.arriving: dict[Incarnation, set[NodeId]] = {}
        self.receipts: dict[Incarnation, list[Receipt]] = {}
        self._latest: dict[Incarnation, int] = {}  # of each, which move it is

    def __bool__(self) -> bool:
        return bool(self.departing or self.arriving or self.receipts)

    def leave(self, move: MemberMoved, *, watching: bool) -> None:
        """A member of this node goes on at another."""
        self._latest[move.incarnation] = move.moves
        self.departing[move.incarnation] = Departing(set(move.others) - {move.old}, watching)

    def arrive(self, move: MemberMoved) -> None:
        """A member of another node goes on at this one."""
        self._latest[move.incarnation] = move.moves
        self.arriving[move.incarnation] = set(move.others) - {move.node}
        self.receipts[move.incarnation] = []

    def switched(self, incarnation: Incarnation, node: NodeId, moves: int) -> None:
        """A node has heard of a move; it may be an earlier one."""
        if moves < self._latest.get(incarnation, 0):
            return
        departing = self.departing.get(incarnation)
        if departing is not None:
            departing.awaited.discard(node)
        arriving = self.arriving.get(incarnation)
        if arriving is not None:
            arriving.discard(node)
            if not arriving:
                del self.arriving[incarnation]

    def is_complete(self, incarnation: Incarnation) -> bool:
        """Whether nothing more comes for a member that was here."""
        departing = self.departing.get(incarnation)
        return departing is not None and not departing.awaited

    def comes_here(self, incarnation: Incarnation, node: NodeId | None) -> bool:
        """Whether what a node says to all is for a member that is here: not before it had heard that it is."""
        return node not in self.arriving.get(incarnation, ())

    def still_for(self, node: NodeId | None) -> list[Incarnation]:
        """The members that were here for whom what a node says to all is still meant."""
        return [one for one, departing in self.departing.items() if node in departing.awaited]

    def forget(self, incarnation: Incarnation) -> None:
        """The member has left the room."""
        self.departing.pop(incarnation, None)
        self.arriving.pop(incarnation, None)
        self.receipts.pop(incarnation, None)
        self._latest.pop(incarnation, None)
