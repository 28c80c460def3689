"""Repeats attempts to reconnect until one succeeds."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.chaos.member import now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

PAUSE, MAX_PAUSE = 0.3, 2.0
"""Upper bounds of the pause before the first attempt and before a later one, in seconds; a pause is at least half."""


class ReconnectLoop:
    """Calls `attempt` until it returns true. `since`: when the last connection broke or was abandoned."""

    def __init__(self, rng: Random, attempt: Callable[[], Awaitable[bool]]) -> None:
        self.since = 0.0
        self._rng = rng
        self._attempt = attempt
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trying = False

    @property
    def running(self) -> bool:
        """Whether it is reconnecting."""
        return self._task is not None and not self._task.done()

    def start(self, delay: float | None = None) -> None:
        """Start after a delay, random by default. If it is running, end its delay, as another connection has broken."""
        self.since = now()
        self._now.set()
        if not self.running:
            self._now = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(
                self._run(self._random(PAUSE) if delay is None else delay)
            )

    def stop(self) -> None:
        """Stop, unless called by the attempt itself."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def end(self) -> None:
        """Stop, but let an attempt in progress end first: a request that was sent cannot be taken back."""
        if self._trying and self._task is not None:
            await asyncio.wait([self._task])
        else:
            self.stop()

    async def _run(self, delay: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._now.wait()
        pause = PAUSE
        while not await self._try():
            pause = min(2 * pause, MAX_PAUSE)
            await asyncio.sleep(self._random(pause))

    async def _try(self) -> bool:
        self._trying = True
        try:
            return await self._attempt()
        finally:
            self._trying = False

    def _random(self, pause: float) -> float:
        return self._rng.uniform(pause / 2, pause)
