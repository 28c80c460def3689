"""Revocations over Redis: at all nodes at once, for those that come later, and after Redis has lost them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis as client

from bench.engine import Engine
from mcp_actors.broker.redis import revocations
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.revocations import Revocation
from mcp_actors.protocol.errors import Unavailable
from tests.support.brokers import BrokerNode
from tests.support.loop import until

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.brokers import StartNode


def revocation(value: str, seconds: float = 60, claim: Any = "sub") -> Revocation:
    return Revocation(claim, value, time.time() + seconds)


def known(node: BrokerNode) -> set[str]:
    return {one.value for one in node.broker.revocations.table}


async def knows(node: BrokerNode, *values: str) -> None:
    await until(lambda: known(node) == set(values), f"{values} at {node.node}, not {known(node)}")


async def test_all_nodes_hear_of_a_revocation_and_of_its_end(nodes: StartNode) -> None:
    a, b = await nodes("a"), await nodes("b")
    told: list[int] = []
    b.broker.revocations.watch(lambda: told.append(1))
    first = revocation("ada")
    assert await a.broker.revocations.revoke(first)
    for node in (a, b):
        await knows(node, "ada")
    assert list(b.broker.revocations.table) == [first]
    assert told == [1]
    assert await b.broker.revocations.lift("sub", "ada")
    assert not await b.broker.revocations.lift("sub", "ada")
    for node in (a, b):
        await knows(node)


async def test_a_node_that_starts_later_knows_them(nodes: StartNode) -> None:
    a = await nodes("a")
    for value, claim in (("ada", "sub"), ("t:1", "jti")):
        await a.broker.revocations.revoke(revocation(value, claim=claim))
    b = await nodes("b")
    await knows(b, "ada", "t:1")
    assert b.broker.revocations.table.revokes("x", "t:1", None)


async def test_there_are_no_more_than_may_be_and_ended_ones_make_room(
    nodes: StartNode, engine: Engine, prefix: str
) -> None:
    a = await nodes("a", max_revocations=2)
    store = a.broker.revocations
    ben = revocation("ben", 2)
    assert [await store.revoke(one) for one in (revocation("ada"), ben, revocation("cy"))] == [True, True, False]
    assert await store.revoke(revocation("ada", 90))
    await until(lambda: time.time() > ben.until + 0.1, "the end of one")
    assert await store.revoke(revocation("cy"))
    await knows(a, "ada", "cy")
    keys = Keys(prefix, 0, 3)
    with client.Redis(port=engine.port) as look:
        assert set(look.hkeys(keys.revocations)) == {b"sub:ada", b"sub:cy"}
        assert 60_000 < look.pttl(keys.revocations) <= 90_001
        assert 60_000 < look.pttl(keys.revocation_ends) <= 90_001


async def test_a_node_that_was_away_hears_what_was_revoked_and_lifted_meanwhile(
    nodes: StartNode, expected_logs: ExpectedLogs
) -> None:
    for text in ("node lease expired", "node was fenced"):
        expected_logs.allow("mcp_actors.redis", text)
    a, b = await nodes("a"), await nodes("b")
    await a.broker.revocations.revoke(revocation("ada"))
    await knows(b, "ada")
    await b.die()
    await a.broker.revocations.revoke(revocation("ben"))
    await a.broker.revocations.lift("sub", "ada")
    b.revive()
    await knows(b, "ben")


async def test_revocations_outlive_a_loss_of_data(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a, b = BrokerNode(engine.url, "a"), BrokerNode(engine.url, "b")
        for node in (a, b):
            await node.start()
        await a.broker.revocations.revoke(revocation("ada"))
        await knows(b, "ada")
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready), "that Redis is missed")
        assert known(a) == {"ada"}
        with pytest.raises(Unavailable):
            await a.broker.revocations.revoke(revocation("ben"))
        await asyncio.to_thread(engine.start)
        await until(lambda: a.broker.ready and b.broker.ready, "that Redis is back")
        c = BrokerNode(engine.url, "c")
        await c.start()
        for node in (a, b, c):
            await knows(node, "ada")
        for node in (a, b, c):
            await node.stop()


async def test_a_redis_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "PATIENCE", 0.3)
    with Engine() as engine:
        node = BrokerNode(engine.url, "a")
        await node.start()
        engine.pause()
        with pytest.raises(Unavailable, match="does not answer"):
            await node.broker.revocations.revoke(revocation("ada"))
        engine.resume()
        await knows(node, "ada")
        await node.stop()
