"""Background tasks are restarted when they fail, and end when they are stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcp_actors.background import BackgroundTasks

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs


async def test_a_task_that_fails_is_logged_and_restarted(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors", "background task failed, restarting it")
    tasks = BackgroundTasks(restart_delay=0)
    runs, recovered = 0, asyncio.Event()

    async def fail_twice() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("no luck")
        recovered.set()
        await asyncio.Event().wait()

    tasks.start(fail_twice, "test")
    await recovered.wait()
    await tasks.stop()
    assert [record.exc_info is not None or "no luck" in record.getMessage() for record in expected_logs.records] == [
        True,
        True,
    ]


async def test_a_task_that_returns_is_not_restarted() -> None:
    tasks = BackgroundTasks(restart_delay=0)
    runs = 0

    async def run_once() -> None:
        nonlocal runs
        runs += 1

    tasks.start(run_once, "test")
    for _ in range(5):
        await asyncio.sleep(0)
    await tasks.stop()
    assert runs == 1


async def test_stopping_cancels_the_tasks_and_waits_for_them() -> None:
    tasks = BackgroundTasks()
    started, cleaned_up = asyncio.Event(), False

    async def run() -> None:
        nonlocal cleaned_up
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up = True

    tasks.start(run, "test")
    await started.wait()
    await tasks.stop()
    assert cleaned_up
