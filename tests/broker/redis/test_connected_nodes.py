from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import redis

from mcp_actors.broker.redis import connected_nodes
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.protocol.identifiers import NodeId
from tests.broker.contract import ROOM
from tests.support.brokers import BrokerNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.engine import Engine

A, B = NodeId("connected-a"), NodeId("connected-b")


@asynccontextmanager
async def two(url: str) -> AsyncIterator[tuple[BrokerNode, BrokerNode]]:
    """Two nodes that are connected."""
    a, b = (BrokerNode(url, name, prefix="connected") for name in (A, B))
    await a.start()
    await b.start()
    yield a, b
    await b.broker.stop()
    await a.broker.stop()


async def looks(node: BrokerNode, other: NodeId, times: int) -> list[bool]:
    """Whether the other node is gone, in several lists of connections."""
    found = []
    for _ in range(times):
        found.append(await node.broker.is_gone(ROOM, other))
        await asyncio.sleep(connected_nodes.LIST_SECONDS)
    return found


async def test_a_node_without_connections_is_gone_at_the_second_look(either: Engine) -> None:
    async with two(either.url) as (a, b):
        assert await looks(a, B, 3) == [False] * 3
        await b.die()
        found = await looks(a, B, 3)
        assert found[0] is False
        assert found[-1] is True
        assert await looks(a, A, 1) == [False]
        b.revive()


async def test_a_node_is_not_gone_before_everything_that_it_sent_is_read(engine: Engine) -> None:
    async with two(engine.url) as (a, b):
        await a.broker.stop_reading()
        with redis.Redis.from_url(engine.url) as admin:
            admin.xadd(Keys("connected", 0, 1).inbox(A), {"frames": b"the last words of b"})
        await b.die()
        assert await looks(a, B, 5) == [False] * 5
        b.revive()


async def test_many_questions_at_once_need_one_list(engine: Engine) -> None:
    async with two(engine.url) as (a, _):
        with redis.Redis.from_url(engine.url) as admin:
            admin.config_resetstat()
            gone = await asyncio.gather(*(a.broker.is_gone(ROOM, NodeId("nobody")) for _ in range(100)))
            assert gone == [False] * 100
            assert admin.info("commandstats")["cmdstat_client|list"]["calls"] <= 2


async def test_the_last_list_is_too_old_to_confirm_the_end_of_a_node(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connected_nodes, "RECENT_SECONDS", 0.0)
    async with two(engine.url) as (a, _):
        assert await looks(a, NodeId("nobody"), 3) == [False] * 3


@pytest.mark.parametrize("command", ["client|list", "client|setname"])
async def test_no_node_is_gone_where_redis_does_not_tell_connections(engine: Engine, command: str) -> None:
    with redis.Redis.from_url(engine.url) as admin:
        admin.execute_command("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "&*", "+@all", f"-{command}")
        async with two(engine.url.replace("//", "//deaf:secret@")) as (a, _):
            assert await looks(a, NodeId("nobody"), 3) == [False] * 3
        admin.execute_command("ACL", "DELUSER", "deaf")


async def test_no_node_is_gone_while_the_link_is_down(engine: Engine) -> None:
    async with two(engine.url) as (a, b):
        await looks(a, B, 2)
        await a.die()
        await asyncio.sleep(connected_nodes.LIST_SECONDS)
        assert await looks(a, NodeId("nobody"), 2) == [False] * 2
        a.revive()
        assert b.broker.ready
