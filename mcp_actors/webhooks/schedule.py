"""When to deliver what: in order in each room, several rooms at once, and with pauses after failures. No I/O, no clock.

A room waits while its first event is retried, and holds up no other room. When nothing is delivered any more, the
receiver is down: then one event after another is tried, with growing pauses, and none is given up. An event that fails
again and again while others are delivered is given up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a delivery is repeated; each failure doubles them. They are multiplied by 0.5 to 1."""

DOWN_AFTER = 3
"""Failures in a row, one after the other and without a success, after which the receiver is down."""


@dataclass(slots=True)
class _Room(Generic[T]):
    items: deque[T] = field(default_factory=deque)
    failures: int = 0
    strikes: int = 0
    seen: int = 0
    started: float = 0.0


class Next(NamedTuple, Generic[T]):
    """The next delivery."""

    room: str
    item: T


class Schedule(Generic[T]):
    """`connections`: deliveries at once. `attempts`: after how many failures, while others succeed, one is given up.

    `random` tells numbers from 0 to 1. Times are seconds of any one clock.
    """

    def __init__(self, connections: int, attempts: int, random: Callable[[], float]) -> None:
        self.size = 0
        """How many items it holds."""
        self._connections = connections
        self._attempts = attempts
        self._random = random
        self._rooms: dict[str, _Room[T]] = {}
        self._ready: deque[str] = deque()
        self._paused: list[tuple[float, int, str]] = []
        self._pauses = 0
        self._under_way = 0
        self._successes = 0
        self._streak = 0
        self._failed_at = float("-inf")
        self._not_before = float("-inf")

    @property
    def is_down(self) -> bool:
        """Whether the receiver takes nothing, as far as is known."""
        return self._streak >= DOWN_AFTER

    def heads(self) -> Iterator[T]:
        """The first item of each room."""
        return (room.items[0] for room in self._rooms.values())

    def add(self, room: str, item: T) -> None:
        """Append an item to those of its room."""
        found = self._rooms.get(room)
        if found is None:
            found = self._rooms[room] = _Room(seen=self._successes)
            self._ready.append(room)
        found.items.append(item)
        self.size += 1

    def next(self, now: float) -> Next[T] | None:
        """Return what to deliver now, if anything; its room waits for `delivered` or `failed`."""
        self._end_pauses(now)
        if not self._ready or now < self._not_before or self._under_way >= self._allowed:
            return None
        room = self._ready.popleft()
        found = self._rooms[room]
        found.started = now
        self._under_way += 1
        return Next(room, found.items[0])

    def wait(self, now: float) -> float | None:
        """Return in how many seconds `next` may have something; None if it depends on others."""
        if self._under_way >= self._allowed or not (self._ready or self._paused):
            return None
        first = now if self._ready else self._paused[0][0]
        return max(0.0, first - now, self._not_before - now)

    def delivered(self, room: str) -> None:
        """Remove the item that was under way, which was delivered."""
        was_down = self.is_down
        self._under_way -= 1
        self._successes += 1
        self._streak, self._not_before = 0, float("-inf")
        self._remove_first(room)
        if was_down:
            self._end_pauses(float("inf"))

    def refused(self, room: str) -> None:
        """Remove the item that was under way, which the receiver does not want; otherwise it works."""
        self.delivered(room)

    def failed(self, room: str, now: float, *, after: float = 0.0, expired: bool = False) -> bool:
        """Repeat the item that was under way, at the earliest `after` so many seconds; return whether it is given up.

        `expired`: it is too old to be repeated.
        """
        found = self._rooms[room]
        self._under_way -= 1
        if found.started >= self._failed_at:  # else it is one of several that were under way together
            self._streak += 1
            self._failed_at = now
            if self.is_down:
                self._not_before = now + max(self._pause(self._streak - DOWN_AFTER), min(after, LONGEST_PAUSE))
        if found.seen != self._successes:
            found.seen = self._successes
            found.strikes += 1
        if expired or found.strikes >= self._attempts:
            self._remove_first(room)
            return True
        pause = max(self._pause(found.failures), min(after, LONGEST_PAUSE))
        found.failures += 1
        self._pauses += 1
        heappush(self._paused, (now + pause, self._pauses, room))
        return False

    @property
    def _allowed(self) -> int:
        return 1 if self.is_down else self._connections

    def _pause(self, failures: int) -> float:
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10)) * (0.5 + self._random() / 2)

    def _end_pauses(self, now: float) -> None:
        while self._paused and self._paused[0][0] <= now:
            self._ready.append(heappop(self._paused)[2])

    def _remove_first(self, room: str) -> None:
        found = self._rooms[room]
        found.items.popleft()
        found.failures = found.strikes = 0
        found.seen = self._successes
        self.size -= 1
        if found.items:
            self._ready.append(room)
        else:
            del self._rooms[room]
