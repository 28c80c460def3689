"""Background tasks that do not die silently."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger("mcp_actors")

RESTART_DELAY = 1.0
"""Seconds before a failed task starts again."""


class BackgroundTasks:
    """Runs coroutine functions until stopped, each in a task; one that fails is logged and started again."""

    def __init__(self, *, restart_delay: float = RESTART_DELAY) -> None:
        self._restart_delay = restart_delay
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        """Run a coroutine function in the background; `name` is for the log."""
        self._tasks.append(asyncio.create_task(self._supervise(run, name)))

    async def stop(self) -> None:
        """Cancel all tasks and wait for them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _supervise(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        while True:
            try:
                return await run()
            except Exception:
                log.exception("background task failed, restarting it", task=name)
            await asyncio.sleep(self._restart_delay)
