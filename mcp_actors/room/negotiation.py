"""The numbers of offers: which one an answer or a candidate belongs to, and whether a newer one has overtaken it.

Each offer between two peers gets a number, higher than any before it that its room knows of. Whether one is overtaken
is judged by the offers of the same offerer alone: in glare both sides' offers are under way, and the one that is taken
may have the lower number.

Where the two are on different nodes, each node numbers the offers of its own peer, the one odd, the other even, and
learns the other's as they come. So no number is given twice, though an offer may meet a higher one on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from mcp_actors.protocol.identifiers import Incarnation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.protocol.events import Step

NOBODY = Incarnation("")


class Direction(Struct, frozen=True, gc=False):
    """From whom to whom: 32 bytes, where a tuple takes 72."""

    sender: Incarnation
    target: Incarnation


class Negotiations(Struct, gc=False):
    """The latest offer of each peer of a room to each other: 56 bytes for the first pair, which is all that most have.

    `more` holds the offers between other pairs, at about 75 bytes for a direction that was used.
    """

    one: Incarnation = NOBODY
    other: Incarnation = NOBODY
    of_one: int = 0
    of_other: int = 0
    more: dict[Direction, int] | None = None

    def __bool__(self) -> bool:
        return bool(self.one or self.more)

    def latest(self, sender: Incarnation, target: Incarnation) -> tuple[int, int]:
        """The numbers of the latest offers of a peer to another and of the other to it; 0 where there was none."""
        if sender == self.one and target == self.other:
            return self.of_one, self.of_other
        if sender == self.other and target == self.one:
            return self.of_other, self.of_one
        if not self.more:
            return 0, 0
        return self.more.get(Direction(sender, target), 0), self.more.get(Direction(target, sender), 0)

    def offered(self, sender: Incarnation, target: Incarnation, *, elsewhere: bool) -> int:
        """Number an offer; `elsewhere`: its target is on another node, which numbers the offers of the target."""
        number = max(self.latest(sender, target)) + 1
        if elsewhere and number % 2 != (sender < target):
            number += 1
        self.learned(sender, target, number)
        return number

    def learned(self, sender: Incarnation, target: Incarnation, number: int) -> None:
        """Remember the number of the latest offer of one peer to another."""
        if not self.one:
            of_other = self.more.pop(Direction(target, sender), 0) if self.more else 0
            self.one, self.other, self.of_one, self.of_other = sender, target, number, of_other
            if self.more:
                self.more.pop(Direction(sender, target), None)
        elif sender == self.one and target == self.other:
            self.of_one = number
        elif sender == self.other and target == self.one:
            self.of_other = number
        else:
            self.more = self.more or {}
            self.more[Direction(sender, target)] = number

    def overtaken(self, sender: Incarnation, target: Incarnation, step: Step) -> int:
        """The highest number between the two, if the offer that an answer or a candidate belongs to is overtaken.

        0 if it is not. An answer belongs to an offer of its target, a candidate to one of either.
        """
        own, others = self.latest(sender, target)
        number, newest = step.number, max(own, others)
        if number >= newest or number == others:
            return 0
        if step.kind == "answer":
            return newest if number < others else 0
        return 0 if number == own else newest  # numbers are unique: an earlier one of either, as it is nobody's latest

    def of(self, sender: Incarnation) -> list[tuple[Incarnation, int, int]]:
        """For each other peer: the numbers of the latest offers of `sender` to it, and of it to `sender`."""
        others = {self.one, self.other} - {sender, NOBODY} if sender in (self.one, self.other) else set()
        for direction in self.more or ():
            if sender in (direction.sender, direction.target):
                others.add(direction.target if direction.sender == sender else direction.sender)
        return [(other, *self.latest(sender, other)) for other in sorted(others)]

    def forget(self, gone: Incarnation, others: Iterable[Incarnation]) -> None:
        """Drop what was between a peer that is gone and the others."""
        if gone in (self.one, self.other):
            self.one = self.other = NOBODY
            self.of_one = self.of_other = 0
        if self.more:
            for other in others:
                self.more.pop(Direction(gone, other), None)
                self.more.pop(Direction(other, gone), None)
