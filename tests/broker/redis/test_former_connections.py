from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis

from mcp_actors.broker.redis.connection import Access, Address, LinkLost, RedisConnection
from mcp_actors.broker.redis.former_connections import FormerConnections
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.server_check import identify
from tests.support.brokers import BrokerNode
from tests.support.loop import until

if TYPE_CHECKING:
    from bench.engine import Engine
    from tests.conftest import ExpectedLogs

PATTERN = Keys("former", 0, 1).pattern


async def closed(*connections: RedisConnection) -> None:
    """Close connections, and let the loop close their sockets."""
    for connection in connections:
        connection.close()
    for _ in range(2):
        await asyncio.sleep(0)


async def two(engine: Engine, access: Access | None = None) -> tuple[RedisConnection, RedisConnection]:
    """A former connection, and the one that follows it."""
    address = Address("127.0.0.1", engine.port)
    return await RedisConnection.open(address, Access()), await RedisConnection.open(address, access or Access())


async def test_a_server_reads_nothing_more_from_connections_that_were_given_up(either: Engine) -> None:
    former, new = await two(either)
    run_id, found = (await identify(new, PATTERN)).run_id, FormerConnections()
    found.add(run_id, [await former.one("CLIENT", "ID")])
    await found.end(new, run_id)
    with pytest.raises(LinkLost):
        await former.one("SET", "former", "late")
    assert await new.one("EXISTS", "former") == 0
    await closed(former, new)


async def test_a_connection_is_ended_once(either: Engine) -> None:
    former, new = await two(either)
    run_id, found = (await identify(new, PATTERN)).run_id, FormerConnections()
    found.add(run_id, [await former.one("CLIENT", "ID")])
    await found.end(new, run_id)
    await new.one("CONFIG", "RESETSTAT")
    await found.end(new, run_id)
    assert b"client|kill" not in await new.one("INFO", "commandstats")
    await closed(former, new)


async def test_connections_of_another_run_of_the_server_are_left_alone(engine: Engine) -> None:
    former, new = await two(engine)
    found = FormerConnections()
    found.add("another run", [await former.one("CLIENT", "ID")])
    await found.end(new, (await identify(new, PATTERN)).run_id)
    assert await former.one("PING") == b"PONG"
    await closed(former, new)


async def test_a_server_that_does_not_let_connections_be_ended_is_used_all_the_same(engine: Engine) -> None:
    with redis.Redis.from_url(engine.url) as admin:
        admin.execute_command("ACL", "SETUSER", "mild", "on", ">secret", "~*", "&*", "+@all", "-client|kill")
        former, new = await two(engine, Access("mild", "secret"))
        run_id, found = (await identify(new, PATTERN)).run_id, FormerConnections()
        found.add(run_id, [await former.one("CLIENT", "ID")])
        await found.end(new, run_id)
        assert await new.one("PING") == b"PONG"
        await closed(former, new)
        admin.execute_command("ACL", "DELUSER", "mild")


async def test_a_node_that_attaches_again_ends_the_connections_that_it_had(
    engine: Engine, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.redis", "link lost")
    node = BrokerNode(engine.url, "a", prefix="former")
    await node.start()

    def connected() -> set[str]:
        with redis.Redis.from_url(engine.url) as admin:
            return {one["id"] for one in admin.client_list() if one["name"] == "mcp-actors:a"}

    before, close = connected(), RedisConnection.close
    given_up: list[RedisConnection] = []

    def give_up(connection: RedisConnection) -> None:
        given_up.append(connection)

    with monkeypatch.context() as patch, redis.Redis.from_url(engine.url) as admin:
        patch.setattr(RedisConnection, "close", give_up)  # Redis does not learn of it
        admin.script_flush()
        await until(lambda: node.counters["attached"] > 1, "that it attaches anew")
    assert before
    assert not before & connected()
    for connection in given_up:
        close(connection)
    await node.stop()
