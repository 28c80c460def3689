"""Draining: the clients of a process that stops are asked to reconnect elsewhere, and served until they have gone."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from mcp_actors.connection.connections import BATCH
from mcp_actors.connection.drain import SPREAD, drain
from tests.connection.test_connections import FakeConnection, watched
from tests.support.client import DEADLINE, Client, Closed
from tests.support.loop import until
from tests.support.server import Server
from tests.support.socket import HANDSHAKE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from bench.engine import Engine
    from tests.conftest import ExpectedLogs
    from tests.support.client import Frame

LONG = 600.0
"""Seconds of a drain that ends before its time."""

SHORT = 0.3
"""Seconds of a drain whose end a test waits for."""


@pytest.fixture
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path, engine: Engine, prefix: str) -> Server:
    """A server of a cluster, which the test drains."""
    marker = request.node.get_closest_marker("settings")
    settings: dict[str, Any] = {"drain_seconds": LONG} | (marker.kwargs if marker else {})
    server = Server(tmp_path, redis_url=engine.url, redis_prefix=prefix, **settings)
    io_loop.run_sync(server.start)
    return server


@asynccontextmanager
async def draining(server: Server) -> AsyncIterator[asyncio.Future[None]]:
    """Stop the server; at the end of the block all clients are gone, which ends its drain."""
    stopping = asyncio.ensure_future(server.shut_down())
    await until(lambda: server.app.connections.stopping, "that the server drains")
    try:
        yield stopping
    finally:
        for client in server._clients:
            await client.end()
        await asyncio.wait_for(stopping, DEADLINE)


async def asked(client: Client) -> int:
    """Return in how many milliseconds the client is to reconnect."""
    text = await client.hear_text()
    message: Frame = json.loads(text)
    assert message == {"type": "reconnect", "payload": {"after_ms": message["payload"]["after_ms"]}}
    return int(message["payload"]["after_ms"])


async def refused(client: Client, kind: str, room: str, **payload: Any) -> None:
    """Expect that the client may not join a room."""
    await client.say(kind, room, payload, id="late")
    message = await client.expect("error", code="unavailable", retryable=True)
    assert message["id"] == "late"
    assert "stopping; reconnect" in message["payload"]["message"]


@pytest.mark.settings(drain_seconds=60)
async def test_clients_are_asked_to_reconnect_at_different_times_and_the_process_ends_when_all_have_gone(
    server: Server,
) -> None:
    clients = [await server.peer() for _ in range(30)] + [await server.user() for _ in range(10)]
    for number, client in enumerate(clients[:20]):
        await client.join("r", str(number))
    await clients[-1].enter("r", "u")
    async with draining(server) as stopping:
        for number, client in enumerate(clients[:20]):
            for _ in range(19 - number):  # the peers that joined later
                await client.hear()
        after = [await asked(client) for client in clients]
        assert 0 <= min(after) < max(after) <= SPREAD * 60_000
        assert len(set(after)) > len(after) / 2
        assert max(after) - min(after) > 10_000
        for client in clients[1:]:
            await client.close()
        assert not stopping.done()
        await clients[0].close()
        await asyncio.wait_for(stopping, DEADLINE)


async def test_new_connections_are_refused_and_the_process_is_not_ready(
    server: Server, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.connection", "handshake refused")
    await server.peer()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    url = server.url("/ws/signaling/")

    async def answer(request: bytes) -> bytes:
        writer.write(request)
        async with asyncio.timeout(DEADLINE):
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            return head.split(b" ")[1] + b" " + await reader.readexactly(int(length))

    probe = b"GET /%bz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert await answer(probe % b"ready") == b'200 {"ready": true}'
    async with draining(server):
        assert await answer(probe % b"ready") == b'503 {"ready": false, "reason": "draining"}'
        assert b'200 {"status": "ok", "ready": false, "reason": "draining"' in await answer(probe % b"health")
        assert b"503 The server is stopping" in await answer(HANDSHAKE)
        with pytest.raises(InvalidStatus) as answered:
            await Client.open(url)
        assert answered.value.response.status_code == 503
        writer.close()


async def test_rooms_go_on_but_cannot_be_joined(server: Server) -> None:
    a, b = await server.pair()
    user, other = await server.user(), await server.user()
    await user.enter("r", "u")
    await other.say("connect", None, {"user_id": "v"})
    await other.expect("connected")
    late = await server.peer()
    async with draining(server):
        for client in (a, b, user, other, late):
            await asked(client)
        await refused(late, "join", "r", peer_id="c")
        await refused(a, "join", "s", peer_id="a")
        await refused(other, "join-room", "r")
        await a.say("join", "r", {"peer_id": "a"})
        await a.expect_error("already-in-room")
        await a.say("signal", "r", {"target_peer_id": "b", "data": 1}, id=1)
        await a.expect("ack", status="delivered")
        await b.expect("signal", data=1)
        await b.say("leave", "r")
        await b.expect("left")
        await a.expect("peer-left", peer_id="b", reason="left")
        await user.expect("peer-left", peer_id="b")


async def test_a_session_may_be_resumed_on_a_connection_that_is_open_already(server: Server) -> None:
    a, b = await server.peer(), await server.peer()
    joined = await a.join("r", "a")
    async with draining(server):
        for client in (a, b):
            await asked(client)
        await b.say("join", "r", {"peer_id": "a", "resume": joined["resume"], "received": a.received})
        await b.expect("joined", resumed=True, complete=True)
        await a.expect_close(4501)


@pytest.mark.settings(drain_seconds=SHORT)
async def test_clients_that_do_not_reconnect_in_time_are_closed_and_the_process_ends(server: Server) -> None:
    peer, user = await server.peer(), await server.user()
    await peer.join("r", "p")
    await user.say("connect", None, {"user_id": "u"})
    await user.expect("connected")
    began = asyncio.get_running_loop().time()
    async with draining(server) as stopping:
        for client in (peer, user):
            assert await asked(client) <= SPREAD * SHORT * 1000
            with pytest.raises(Closed) as closed:
                await client.hear()
            assert (closed.value.code, closed.value.reason) == (1012, "service-restart")
        assert asyncio.get_running_loop().time() - began >= SHORT
        await asyncio.wait_for(stopping, DEADLINE)


@pytest.mark.settings(drain_seconds=0)
async def test_a_drain_of_0_seconds_closes_clients_at_once(server: Server) -> None:
    peer = await server.peer()
    await peer.join("r", "p")
    async with draining(server):
        with pytest.raises(Closed) as closed:
            await peer.hear()
        assert closed.value.code == 1012


async def test_a_drain_without_clients_ends_at_once(server: Server) -> None:
    async with draining(server) as stopping:
        await asyncio.wait_for(stopping, DEADLINE)


async def test_many_clients_are_asked_in_several_turns_of_the_loop() -> None:
    connections = watched(0)
    many = [FakeConnection(connections) for _ in range(3 * BATCH)]
    task = asyncio.create_task(drain(connections, LONG))
    await until(lambda: many[0].asked is not None, "that the first is asked")
    assert many[-1].asked is None
    connections.remove(many[-1])
    await until(lambda: many[-2].asked is not None, "that the last is asked")
    assert all(0 <= (one.asked or 0) <= SPREAD * LONG for one in many)
    for one in many:
        connections.remove(one)
    await task
