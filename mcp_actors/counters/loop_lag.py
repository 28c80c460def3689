"""The lag of the event loop: how much later than it is due a timer is called."""

from __future__ import annotations

import asyncio
import time

from mcp_actors.counters.histogram import Histogram

INTERVAL = 0.25
"""Seconds between measurements."""

BOUNDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""uvloop rounds timers to milliseconds, so there are none below."""


class LoopLag:
    """Measures the lag of the running loop, in seconds."""

    def __init__(self) -> None:
        self.seconds = Histogram(BOUNDS)

    async def run(self) -> None:
        """Measure again and again, for ever."""
        while True:
            due = time.monotonic() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.seconds.observe(max(0.0, time.monotonic() - due))
