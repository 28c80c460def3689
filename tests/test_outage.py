"""Clients while Redis is unavailable: a request that would need it holds up nothing else, and is answered."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

from bench.engine import AOF_ALWAYS, Engine
from tests.support.loop import until
from tests.support.server import Server
from tests.test_moderation import SHARED, moderator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs
    from tests.support.client import Client, Frame

    StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
def engine(expected_logs: ExpectedLogs) -> Iterator[Engine]:
    """A Redis that the test kills, and that comes back with its data."""
    expected_logs.allow("mcp_actors.redis")
    with Engine(options=AOF_ALWAYS) as started:
        yield started


@pytest.fixture
def start_server(engine: Engine, io_loop: IOLoop, tmp_path: Path) -> Iterator[StartServer]:
    started: list[Server] = []

    async def start(**settings: object) -> Server:
        server = Server(tmp_path, **SHARED | {"outage_patience": 0.5} | settings, redis_url=engine.url)
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        io_loop.run_sync(server.stop)


@pytest.fixture
def server(start_server: StartServer, io_loop: IOLoop) -> Server:
    started: Server = io_loop.run_sync(start_server)
    return started


async def kill(engine: Engine, *servers: Server) -> None:
    """Kill Redis, and wait until the servers know."""
    engine.kill()
    await until(lambda: not any(one.app.node.broker.ready for one in servers), "that Redis is known to be down")


async def message(client: Client, kind: str, **fields: object) -> Frame:
    """The next message of a type, without its stream position."""
    heard = await client.expect(kind)
    heard.pop("at", None)
    assert {name: heard.get(name) for name in fields} == fields
    return heard


async def signal(sender: Client, receiver: Client, room: str, target: str) -> None:
    """Send a signal that is acknowledged and received."""
    await sender.say("signal", room, {"target_peer_id": target, "data": 1}, id="signal")
    await sender.expect("ack")
    await receiver.expect("signal")


async def test_a_process_is_alive_but_not_ready(server: Server, engine: Engine) -> None:
    probe = AsyncHTTPClient()
    await kill(engine, server)
    ready = await probe.fetch(server.url("/readyz", "http"), raise_error=False)
    assert (ready.code, json.loads(ready.body)) == (503, {"ready": False, "reason": "redis unavailable"})
    assert (await probe.fetch(server.url("/healthz", "http"))).code == 200
    await asyncio.to_thread(engine.start)
    await until(lambda: server.app.node.broker.ready, "that Redis is back")
    assert (await probe.fetch(server.url("/readyz", "http"))).code == 200


async def test_a_leave_is_done_at_once_and_the_others_are_told_when_redis_is_back(
    server: Server, engine: Engine
) -> None:
    a, c = await server.peer(), await server.peer()
    for room in ("one", "two"):
        await a.join(room, "a")
        await c.join(room, "c")
        await a.expect("peer-joined")
    await kill(engine, server)
    await a.say("leave", "one", id=7)
    await a.say("signal", "two", {"target_peer_id": "c", "data": 1}, id=8)
    heard = {(one["type"], one["id"]) for one in [await a.hear(), await a.hear()]}
    assert heard == {("left", 7), ("ack", 8)}
    await c.expect("signal")
    await c.say("signal", "one", {"target_peer_id": "a", "data": 2}, id=9)
    await c.expect_error("peer-not-found")
    await a.say("signal", "one", {"target_peer_id": "c", "data": 3}, id=10)
    await a.expect_error("not-in-room")
    await asyncio.to_thread(engine.start)
    await message(c, "peer-left", room="one", payload={"peer_id": "a", "reason": "left"})
    await a.join("one", "a")
    await c.expect("peer-joined")
    await signal(a, c, "two", "c")


async def test_a_user_leaves_at_once(server: Server, engine: Engine) -> None:
    ann, bob = await server.user(), await server.user()
    await ann.enter("r", "ann")
    await bob.enter("r", "bob")
    await ann.expect("user-joined")
    await kill(engine, server)
    await ann.say("leave-room", "r", id=1)
    await message(ann, "room-left", id=1)
    await bob.say("message", "r", {"content": "hi"}, id=2)
    await bob.expect("ack")
    await asyncio.to_thread(engine.start)
    await message(bob, "user-left", payload={"user_id": "ann", "reason": "left"})


async def test_a_leave_behind_a_join_that_is_refused_is_answered(server: Server, engine: Engine) -> None:
    await kill(engine, server)
    a = await server.peer()
    await a.say("join", "r", {"peer_id": "a"}, id=1)
    await a.say("leave", "r", id=2)
    answers = [await a.hear(), await a.hear()]
    assert [(one["id"], one["payload"]["code"]) for one in answers] == [(1, "unavailable"), (2, "not-in-room")]


@pytest.mark.parametrize("kind", ["kick", "lock", "unlock", "close-room"])
async def test_a_request_of_a_moderator_is_answered_in_time_and_not_carried_out_later(
    server: Server, engine: Engine, kind: str
) -> None:
    mo, bob = await moderator(server, "r", "s"), await server.peer()
    for room in ("r", "s"):
        await bob.join(room, "bob")
        await mo.expect("peer-joined")
    await kill(engine, server)
    payload = {"peer_id": "bob"} if kind == "kick" else {}
    for number in range(3):
        await mo.say(kind, "r", payload, id=number)
    await signal(mo, bob, "s", "bob")
    for number in range(3):
        refused = await mo.expect("error", code="unavailable", retryable=True)
        assert refused["id"] == number
    await asyncio.to_thread(engine.start)
    await until(lambda: server.app.node.broker.ready, "that Redis is back")
    await bob.join("t", "bob")
    await signal(mo, bob, "r", "bob")
    await signal(bob, mo, "r", "mo")
    await mo.say(kind, "r", payload, id="again")
    while (answer := await mo.hear()).get("id") != "again":
        assert answer["type"] in {"peer-left", "user-left"}, answer
    assert answer["type"] != "error"


async def test_a_request_under_way_ends_with_the_server(start_server: StartServer, engine: Engine) -> None:
    server = await start_server(outage_patience=60)
    mo = await moderator(server, "r")
    await kill(engine, server)
    await mo.say("lock", "r", id=1)
    await until(lambda: server.app.environment.running, "that the request is under way")
    await server.stop()
    assert not server.app.environment.running


async def test_members_of_other_processes_are_told_of_a_leave_when_redis_is_back(
    start_server: StartServer, engine: Engine
) -> None:
    servers = [await start_server(), await start_server()]
    a, b = await servers[0].peer(), await servers[1].peer()
    await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined")
    await kill(engine, *servers)
    await a.say("leave", "r", id=1)
    await message(a, "left", id=1)
    await asyncio.to_thread(engine.start)
    await message(b, "peer-left", payload={"peer_id": "a", "reason": "left"})
    joined = await a.join("r", "a")
    assert [one["peer_id"] for one in joined["peers"]] == ["b", "a"]
    await message(b, "peer-joined")


async def test_a_client_may_leave_and_join_again_at_a_process_that_admits_clients_alone(
    start_server: StartServer, engine: Engine
) -> None:
    server = await start_server(outage_joins="local")
    a = await server.peer()
    await a.join("r", "a")
    await kill(engine, server)
    await a.say("leave", "r", id=1)
    await a.say("join", "r", {"peer_id": "a"}, id=2)
    await message(a, "left", id=1)
    assert [one["peer_id"] for one in (await message(a, "joined", id=2))["payload"]["peers"]] == ["a"]
    await asyncio.to_thread(engine.start)
    await until(lambda: server.app.node.broker.ready, "that Redis is back")
    b = await server.peer()
    assert [one["peer_id"] for one in (await b.join("r", "b"))["peers"]] == ["a", "b"]
    await a.expect("peer-joined", peer_id="b")
