"""Fair scheduling: limits how much work for flooding clients is done in one round of the event loop.

However many clients flood, a round ends after a few of them, and the clients that do not flood are served in between.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET_ROUND = 0.001
"""How long a round should take with all that it causes, in seconds. Messages of others wait for two or three rounds."""

CAUSED = 2
"""Further turns of the event loop that belong to a round: rooms handle its messages, and these are written."""

REST = 0.001
"""Seconds between two rounds that serve flooding clients. They get a part of the CPU only: on a machine whose cores are
all busy, a process that leaves some CPU unused is woken at once."""


class AdaptiveBatch:
    """The number of clients to serve in one round: at most `maximum`, and fewer while rounds take too long."""

    __slots__ = ("_began", "_maximum", "size")

    def __init__(self, maximum: int) -> None:
        self.size = maximum
        self._maximum = maximum
        self._began = 0.0

    def begin(self, now: float) -> None:
        """Start a round after a rest."""
        self._began = now

    def next_round(self, now: float) -> int:
        """Start a round right after the last one, and return the size of its batch."""
        took, self._began = now - self._began, now
        self.size = max(1, self.size // 2) if took > TARGET_ROUND else min(self._maximum, self.size + 1)
        return self.size


class FairScheduler:
    """A queue that serves at most `maximum` callers in one round, first come, first served.

    `rest` is the pause in seconds between two rounds.
    """

    def __init__(self, maximum: int, rest: float = REST) -> None:
        self._batch = AdaptiveBatch(maximum)
        self._rest = rest
        self._waiting: deque[Callable[[], None]] = deque()
        self._round_under_way = False

    def __len__(self) -> int:
        """Return the number of callers that wait."""
        return len(self._waiting)

    def take(self) -> bool:
        """Claim a turn at once, which succeeds if nobody had one in this round."""
        if self._round_under_way:
            return False
        self._start_round()
        return True

    def wait(self, callback: Callable[[], None]) -> None:
        """Call `callback` when its turn has come."""
        self._waiting.append(callback)
        if not self._round_under_way:
            self._start_round()

    def _start_round(self) -> None:
        self._round_under_way = True
        asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        if not self._waiting:
            self._round_under_way = False
            return
        self._batch.begin(time.monotonic())
        asyncio.get_running_loop().call_soon(self._end_round)  # scheduled first, as a callback may fail
        for _ in range(min(self._batch.size, len(self._waiting))):
            self._waiting.popleft()()

    def _end_round(self, caused: int = CAUSED) -> None:
        if caused:
            asyncio.get_running_loop().call_soon(self._end_round, caused - 1)
            return
        self._batch.next_round(time.monotonic())
        asyncio.get_running_loop().call_later(self._rest, self._next_round)
