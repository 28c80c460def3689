"""Numbers on what nodes send each other about one room, so that each frame counts once and in order."""

from __future__ import annotations

from enum import Enum, auto


class Arrival(Enum):
    """What a number says of a frame that arrived."""

    NEXT = auto()
    AGAIN = auto()
    """It was here before: sent twice, or read twice."""
    GAP = auto()
    """It is new, and one or more before it were lost on the way."""


ERA = 2**32
"""Numbers of an era: with each move of source or target begins another, as another node counts."""


class Channels:
    """A count per source and target, of what was sent and of what has arrived.

    Sources and targets are incarnations, which never repeat, and ids of nodes.
    """

    __slots__ = ("_received", "_sent")

    def __init__(self) -> None:
        self._sent: dict[str, dict[str, int]] = {}
        self._received: dict[str, dict[str, int]] = {}

    def next(self, source: str, target: str, moves: int = 0) -> int:
        """The number of the next frame; `moves` are those of both together."""
        numbers = self._sent.setdefault(source, {})
        number = numbers[target] = max(numbers.get(target, 0), moves * ERA) + 1
        return number

    def arrived(self, source: str, target: str, number: int) -> Arrival:
        """Take note of a frame."""
        numbers = self._received.setdefault(target, {})
        last = numbers.get(source, 0)
        if number <= last:
            return Arrival.AGAIN
        numbers[source] = number
        return Arrival.NEXT if number == max(last, number // ERA * ERA) + 1 else Arrival.GAP

    def forget(self, incarnation: str) -> None:
        """Forget a member of whom nothing can arrive any more, and for whom nothing will be sent."""
        self._sent.pop(incarnation, None)
        self._received.pop(incarnation, None)
        for numbers in (*self._sent.values(), *self._received.values()):
            numbers.pop(incarnation, None)

    def __len__(self) -> int:
        return sum(len(numbers) for table in (self._sent, self._received) for numbers in table.values())
