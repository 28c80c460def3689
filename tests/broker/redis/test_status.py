from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bench.engine import Engine
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import Kind
from tests.broker.contract import OTHER_ROOM, ROOM
from tests.support.brokers import BrokerNode
from tests.support.loop import until

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs


@pytest.mark.parametrize("buckets", [1, 3])
async def test_rooms_and_rosters_span_nodes(engine: Engine, buckets: int) -> None:
    a, b = (BrokerNode(engine.url, name, buckets=buckets, prefix=f"status{buckets}") for name in "ab")
    for node in (a, b):
        await node.start()
    ana, ben, uma = await a.enter("ana"), await b.enter("ben"), await b.enter("uma", Kind.USER)
    await b.enter("zoe", room=OTHER_ROOM)
    await a.knows(ana, ben, uma)
    for node in (a, b):
        assert await node.broker.rooms() == {ROOM: {"a": 1, "b": 2}, OTHER_ROOM: {"b": 1}}
        roster = await node.broker.roster(ROOM)
        assert [member.incarnation for member in roster] == [ana, ben, uma]
        assert {member.incarnation: member for member in roster} == a.members
    for node in (a, b):
        await node.stop()


async def test_rooms_are_unavailable_while_redis_is_away(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        node = BrokerNode(engine.url, "a")
        await node.start()
        engine.kill()
        await until(lambda: not node.broker.ready, "that Redis is missed")
        for request in (node.broker.rooms(), node.broker.roster(ROOM)):
            with pytest.raises(Unavailable):
                await request
        await asyncio.to_thread(engine.start)
        await until(lambda: node.broker.ready, "that Redis is back")
        assert await node.broker.rooms() == {}
        await node.stop()
