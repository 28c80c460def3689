"""The lag of the event loop: measured all the time, and large while the loop stands still."""

from __future__ import annotations

import asyncio
import time

from mcp_actors.counters import loop_lag
from mcp_actors.counters.loop_lag import LoopLag
from tests.support.loop import until


async def test_a_loop_that_stood_still_was_late() -> None:
    lag = LoopLag()
    task = asyncio.create_task(lag.run())
    await until(lambda: sum(lag.seconds.counts) > 0, "a measurement")
    before = lag.seconds.sum
    measured = sum(lag.seconds.counts)
    time.sleep(loop_lag.INTERVAL + 0.2)  # noqa: ASYNC251 - what is measured
    await until(lambda: sum(lag.seconds.counts) > measured, "the next measurement")
    task.cancel()
    assert lag.seconds.sum - before > 0.15
