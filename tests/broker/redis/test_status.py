"""Reading rooms from Redis; what is read is in the suite of `Administration`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis as client

from mcp_actors.broker.redis.keys import Keys
from mcp_actors.protocol.identifiers import NodeId, RoomId
from tests.broker.contract import ROOM
from tests.support.brokers import BrokerNode

if TYPE_CHECKING:
    from bench.engine import Engine


async def test_a_room_whose_keys_something_else_wrote_or_deleted_is_left_out(engine: Engine, prefix: str) -> None:
    node, keys = BrokerNode(engine.url, "a", prefix=prefix), Keys(prefix, 0, 1)
    await node.start()
    await node.enter("ana")
    with client.Redis(port=engine.port) as look:
        look.sadd(keys.rooms_of(NodeId("a")), "deleted", "overwritten")
        look.set(keys.state(RoomId("overwritten")), "x")
        page = await node.broker.administration.list_rooms("", "", 10)
        assert [room.name for room in page.rooms] == [ROOM]
        look.srem(keys.rooms_of(NodeId("a")), "deleted", "overwritten")
    await node.stop()
