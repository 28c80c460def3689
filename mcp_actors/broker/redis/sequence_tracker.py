"""Sequence numbers of the frames between nodes about one room, so that each frame counts once and in order."""

from __future__ import annotations

from enum import Enum, auto


class Arrival(Enum):
    """The meaning of the number of a received frame."""

    NEXT = auto()
    AGAIN = auto()
    """It arrived before: it was sent or read twice."""
    GAP = auto()
    """It is new, and frames before it were lost."""


EPOCH = 2**32
"""Numbers per epoch: each move of source or target starts a new epoch, as another node counts from then on."""


class SequenceTracker:
    """Counts what was sent and received per source and target: incarnations, which never repeat, and ids of nodes."""

    __slots__ = ("_received", "_sent")

    def __init__(self) -> None:
        self._sent: dict[str, dict[str, int]] = {}
        self._received: dict[str, dict[str, int]] = {}

    @staticmethod
    def epoch(number: int) -> int:
        """The epoch of a number: the sum of those of source and target."""
        return number // EPOCH

    def next(self, source: str, target: str, epoch: int = 0) -> int:
        """The number of the next frame; `epoch` is the sum of those of source and target."""
        numbers = self._sent.setdefault(source, {})
        number = numbers[target] = max(numbers.get(target, 0), epoch * EPOCH) + 1
        return number

    def arrived(self, source: str, target: str, number: int) -> Arrival:
        """Note a received frame."""
        numbers = self._received.setdefault(target, {})
        last = numbers.get(source, 0)
        if number <= last:
            return Arrival.AGAIN
        numbers[source] = number
        return Arrival.NEXT if number == max(last, number // EPOCH * EPOCH) + 1 else Arrival.GAP

    def expect(self, target: str) -> None:
        """Note that frames may still arrive for a member that is not here any more."""
        self._received.setdefault(target, {})

    def expects(self, target: str) -> bool:
        """Whether frames arrived for a member, or may still arrive."""
        return target in self._received

    def forget(self, incarnation: str) -> None:
        """Drop the counts of a member that neither sends nor receives any more."""
        self._sent.pop(incarnation, None)
        self._received.pop(incarnation, None)
        for numbers in (*self._sent.values(), *self._received.values()):
            numbers.pop(incarnation, None)

    def __len__(self) -> int:
        return sum(len(numbers) for table in (self._sent, self._received) for numbers in table.values())
