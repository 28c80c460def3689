"""Renews what the server gives for a limited time, before that time is over."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from mcp_actors.client.errors import SignalingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_WAIT = 30.0
"""Seconds of one timer, which stands still while a computer sleeps."""

RETRY_DELAY = 5.0

PART = 0.4
"""Less than half: what both sides of a pair have when one of them restarts ICE then lasts until the next time."""


class Renewal:
    """Calls `renew` when a part of the time is over, and again until it succeeds; then `start` is called again."""

    def __init__(self, renew: Callable[[], Awaitable[object]]) -> None:
        self._renew = renew
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether something ends."""
        return self._task is not None and not self._task.done()

    def start(self, seconds: float | None) -> None:
        """Something has arrived that ends in so many seconds; None if it does not end."""
        self.stop()
        if seconds is not None:
            self._task = asyncio.create_task(self._run(seconds * PART))

    def stop(self) -> None:
        """Renew nothing any more."""
        task, self._task = self._task, None
        if task and task is not asyncio.current_task():
            task.cancel()

    async def _run(self, seconds: float) -> None:
        passed = _stopwatch()
        while (left := seconds - passed()) > 0:  # noqa: ASYNC110 - time passes
            await asyncio.sleep(min(left, MAX_WAIT))
        task = self._task
        while task is self._task:
            with suppress(SignalingError):
                await self._renew()
                return
            await asyncio.sleep(RETRY_DELAY)


def _stopwatch() -> Callable[[], float]:
    """Count seconds, also those in which the computer slept or its clock was set back."""
    monotonic, wall = time.monotonic(), time.time()
    return lambda: max(time.monotonic() - monotonic, time.time() - wall)
