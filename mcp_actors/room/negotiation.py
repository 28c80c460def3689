"""The numbers of offers, which tell to which offer an answer or a candidate belongs, and whether that is superseded.

Each offer between two peers gets a number above every number that its room knows of between the two. An offer is
superseded only by a later offer of the same peer: in glare both peers' offers are under way, and the one that is
accepted may have the lower number.

If the two peers are on different nodes, each node numbers the offers of its own peer, one with odd and the other with
even numbers, and learns the other's as they arrive. So no number is given twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.protocol.events import NegotiationStep
    from mcp_actors.protocol.identifiers import Incarnation


class Negotiations:
    """The number of the latest offer of each peer of a room to each other peer."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[tuple[Incarnation, Incarnation], int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def latest(self, sender: Incarnation, target: Incarnation) -> tuple[int, int]:
        """The numbers of the latest offer of a peer to another and of the other to it; 0 if there was none."""
        return self._numbers.get((sender, target), 0), self._numbers.get((target, sender), 0)

    def offered(self, sender: Incarnation, target: Incarnation, *, remote: bool) -> int:
        """Number an offer; `remote`: the target is on another node."""
        number = max(self.latest(sender, target)) + 1
        if remote and number % 2 != (sender < target):
            number += 1
        self._numbers[sender, target] = number
        return number

    def learned(self, sender: Incarnation, target: Incarnation, number: int) -> None:
        """Remember the number of an offer that another node has numbered."""
        self._numbers[sender, target] = number

    def superseded(self, sender: Incarnation, target: Incarnation, step: NegotiationStep) -> int:
        """The highest number between two peers, if an answer or a candidate belongs to a superseded offer; else 0.

        An answer belongs to an offer of its target, a candidate to an offer of either peer.
        """
        own, others = self.latest(sender, target)
        number, newest = step.number, max(own, others)
        if number >= newest or number == others:
            return 0
        if step.kind == "answer":
            return newest if number < others else 0
        return 0 if number == own else newest

    def of(self, sender: Incarnation) -> list[tuple[Incarnation, int, int]]:
        """For each other peer: the numbers of the latest offer of `sender` to it, and of its latest to `sender`."""
        others = {pair[1] if pair[0] == sender else pair[0] for pair in self._numbers if sender in pair}
        return [(other, *self.latest(sender, other)) for other in sorted(others)]

    def forget(self, gone: Incarnation, others: Iterable[Incarnation]) -> None:
        """Forget the offers between a peer that left and the others."""
        if self._numbers:
            for other in others:
                self._numbers.pop((gone, other), None)
                self._numbers.pop((other, gone), None)

    def clear(self) -> None:
        """Forget all offers."""
        self._numbers.clear()
