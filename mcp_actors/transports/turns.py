"""Turns: how much of what loud clients ask for is done in one round of the event loop, so that others wait for little.

However many they are, the next round begins when a few of them had their turn; those who are not loud are served in it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND = 0.0005
"""Seconds that a round should last. A message of others waits for two or three of them."""

REST = 0.001
"""Seconds between two rounds in which loud clients had their turn: they take a part of the CPU, and a process that
leaves some is woken at once on a machine whose cores are all in demand."""


class Pace:
    """How many are let through in one round: at most `most`, fewer while rounds last longer than they should.

    So it bounds all that follows from what was let through, wherever in the round that is done.
    """

    __slots__ = ("_began", "_most", "count")

    def __init__(self, most: int) -> None:
        self.count = most
        self._most = most
        self._began = 0.0

    def begin(self, now: float) -> None:
        """A round begins after a rest."""
        self._began = now

    def next_round(self, now: float) -> int:
        """A round begins right after the one before; how many may come in it."""
        took, self._began = now - self._began, now
        self.count = max(1, self.count // 2) if took > ROUND else min(self._most, self.count + 1)
        return self.count


class Turns:
    """Those who wait for their turn, each once, in the order in which they came.

    At most `most` have theirs in one round; `rest`: seconds until the next round in which somebody has.
    """

    def __init__(self, most: int, rest: float = REST) -> None:
        self._pace = Pace(most)
        self._rest = rest
        self._waiting: deque[Callable[[], None]] = deque()
        self._under_way = False
        """Whether somebody had their turn in this round."""
        self._woken = False
        """Whether tasks had."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self) -> bool:
        """Whether it is one's turn at once, as nobody else had theirs in this round."""
        if self._under_way:
            return False
        self._go_round()
        return True

    def wait(self, go: Callable[[], None]) -> None:
        """Call `go` when it is its turn."""
        self._waiting.append(go)
        if not self._under_way:
            self._go_round()

    async def turn(self) -> None:
        """Wait for one's turn."""
        if not self.take():
            turn = asyncio.Event()
            self.wait(partial(self._wake, turn))
            await turn.wait()

    def _wake(self, turn: asyncio.Event) -> None:
        self._woken = True
        turn.set()

    def _go_round(self) -> None:
        self._under_way = True
        asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        if not self._waiting:
            self._under_way = False
            return
        self._pace.begin(time.monotonic())
        asyncio.get_running_loop().call_soon(self._end_round)  # before any of them can fail
        try:
            for _ in range(min(self._pace.count, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            if self._woken:
                asyncio.get_running_loop().call_soon(self._end_of_tasks)  # behind those that were woken

    def _end_round(self) -> None:
        """All that they asked for at once is done, but by tasks that were woken: those begin now."""
        if self._woken:
            self._pace.begin(time.monotonic())
        else:
            self._rest_a_while()

    def _end_of_tasks(self) -> None:
        self._woken = False
        self._rest_a_while()

    def _rest_a_while(self) -> None:
        self._pace.next_round(time.monotonic())
        asyncio.get_running_loop().call_later(self._rest, self._next_round)
