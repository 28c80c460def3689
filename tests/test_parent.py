"""The pipe between a worker and its parent; the supervisor's tests use it between real processes."""

from __future__ import annotations

import asyncio
import multiprocessing

from mcp_actors.parent import Alive, Failed, Parent, Serving
from tests.support.loop import until


def test_reports_arrive_in_order() -> None:
    ours, theirs = multiprocessing.Pipe()
    parent = Parent(theirs, 3)
    parent.tell(Serving("hello"))
    parent.tell(Failed("why"))
    assert (parent.number, ours.recv(), ours.recv()) == (3, Serving("hello"), Failed("why"))
    theirs.close()
    ours.close()


def test_a_parent_that_is_gone_is_no_error() -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    Parent(theirs, 1).tell(Serving("hello"))
    theirs.close()


async def test_a_worker_reports_again_and_again_that_it_is_alive() -> None:
    ours, theirs = multiprocessing.Pipe()
    task = asyncio.create_task(Parent(theirs, 1).keep_telling(0.01))
    for _ in range(3):
        await until(ours.poll, "a report")
        assert isinstance(ours.recv(), Alive)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    theirs.close()
    ours.close()
