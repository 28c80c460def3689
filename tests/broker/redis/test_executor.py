from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from mcp_actors.broker.redis.connection import LinkLost
from mcp_actors.broker.redis.executor import Executor
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp_actors.broker.redis.write_queue import Call


async def test_replies_come_in_the_order_of_the_commands() -> None:
    calls: list[Call] = []
    executor = Executor(calls.append)
    executor.up.set()
    running = asyncio.ensure_future(executor.run([("ONE",), ("TWO",)]))
    await until(lambda: len(calls) == 2, "the calls")
    refused = ResponseError("no")
    calls[1].answered(refused)
    calls[0].answered(b"1")
    assert await running == [b"1", refused]


async def test_a_broken_link_ends_the_wait() -> None:
    calls: list[Call] = []
    executor = Executor(calls.append)
    executor.up.set()
    running = asyncio.ensure_future(executor.run([("ONE",), ("TWO",)]))
    await until(lambda: len(calls) == 2, "the calls")
    for call in calls:
        call.dropped()
    with pytest.raises(LinkLost):
        await running


async def test_nothing_is_sent_while_the_link_is_down() -> None:
    calls: list[Call] = []
    with pytest.raises(LinkLost):
        await Executor(calls.append).run([("ONE",)])
    assert calls == []
