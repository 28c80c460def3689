"""Connecting, reconnecting, moving, and the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import (
    Announcement,
    Kicked,
    PeerClient,
    PeerJoined,
    PeerLeft,
    Rejoined,
    RoomClosed,
    RoomLocked,
    RoomUnlocked,
    Signal,
    SignalingError,
    State,
    connect,
    connect_user,
    connection,
)
from tests.client.conftest import url
from tests.client.scripted import ScriptedServer
from tests.support.loop import until
from tests.support.server import Process, Server
from tests.support.tokens import OPTIONAL, REQUIRED, SECRET, token
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from bench.engine import Engine
    from tests.conftest import ExpectedLogs


async def failure(client: PeerClient) -> SignalingError:
    """The error with which a client cannot connect."""
    with pytest.raises(SignalingError) as caught:
        async with client:
            pytest.fail("it is connected")
    return caught.value


async def test_a_server_that_is_not_there_is_reported(path: NetworkPath) -> None:
    path.cut()
    error = await failure(connect(url(path), connect_timeout=0.3))
    assert (error.code, error.retryable) == ("unreachable", True)
    assert f"No server answers at ws://127.0.0.1:{path.port}/ws/signaling/" in error.message


async def test_a_fault_of_the_client_ends_it_with_an_error(
    monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.client.connection", "The client has failed")
    monkeypatch.setattr(connection, "dial", lambda *_: 1 // 0)
    error = await failure(connect("ws://localhost:1"))
    assert (error.code, error.retryable) == ("closed", False)
    assert "ZeroDivisionError" in error.message


async def test_a_server_that_starts_later_is_found(path: NetworkPath) -> None:
    path.cut()
    client = connect(url(path))
    entering = asyncio.create_task(client.__aenter__())
    await asyncio.sleep(0.05)
    path.mend()
    assert await entering is client
    assert client.state == State.OPEN
    await client.close()


async def test_states_are_told_and_a_client_in_a_hurry_does_not_wait(server: Server, path: NetworkPath) -> None:
    states: list[State] = []
    async with connect(url(path), on_state=states.append) as client, connect(server.url("")) as other:
        a, b = await client.join("r", "a"), await other.join("r", "b")
        path.freeze()  # which neither end notices before the heartbeat
        client.reconnect()
        await until(lambda: states == [State.OPEN, State.RECONNECTING, State.OPEN], "another connection")
        assert await b.signal("a", 1) == "delivered"
        assert [await anext(a) for _ in range(2)][1] == Signal(sender="b", data=1)
        path.cut()
        await until(lambda: states[3:] == [State.RECONNECTING], "the loss")
        path.mend()
        client.reconnect()
        await until(lambda: states[3:] == [State.RECONNECTING, State.OPEN], "a third connection")
    assert states[-1] == State.CLOSED


async def test_a_refused_handshake_is_reported_at_once_with_the_reason(server: Server) -> None:
    error = await failure(connect(server.url(""), headers={"Origin": "https://example.org"}))
    assert (error.code, error.retryable) == ("handshake-refused", False)
    assert "403" in error.message
    assert "CORS_ALLOWED_ORIGINS" in error.message
    error = await failure(connect(server.url("/elsewhere/")))
    assert "404" in error.message


def failing() -> str:
    raise OSError("no network")


@pytest.mark.settings(**REQUIRED)
async def test_a_client_without_a_usable_token_is_refused(server: Server) -> None:
    error = await failure(connect(server.url(""), token="nonsense"))  # noqa: S106 - a token for tests
    assert error.details == {"code": 4502, "reason": "unauthorized"}
    assert "not signed with a key of this server" in error.message
    error = await failure(connect(server.url(""), token=failing, connect_timeout=2))
    assert error.code == "no-token"
    assert "no network" in error.message


@pytest.mark.settings(**OPTIONAL)
async def test_a_client_that_is_replaced_by_the_owner_of_its_id_is_closed_for_good(server: Server) -> None:
    async with connect(server.url("")) as client, connect(server.url(""), token=token("ada")) as owner:
        room = await client.join("r", "ada")
        await owner.join("r")
        with pytest.raises(SignalingError) as caught:
            await anext(room)
        assert caught.value.details == {"code": 4501, "reason": "replaced"}
        assert client.state == State.CLOSED


@pytest.mark.settings(**REQUIRED)
async def test_a_kicked_client_is_told_why_and_stays_in_its_other_rooms(server: Server) -> None:
    async with (
        connect(server.url(""), token=token("mod", can=["signal", "moderate"])) as moderating,
        connect(server.url(""), token=token("ada")) as client,
    ):
        moderated, kicked, other = await moderating.join("r"), await client.join("r"), await client.join("s")
        await moderated.kick(peer_id="ada", reason="spam", message="No advertising.", ban_seconds=60)
        assert [event async for event in kicked] == [Kicked(reason="spam", message="No advertising.", ban_seconds=60)]
        assert await anext(moderated) == PeerJoined(peer_id="ada", order=kicked.order, verified=True)
        assert await anext(moderated) == PeerLeft(peer_id="ada", reason="kicked")
        with pytest.raises(SignalingError, match="banned"):
            await client.join("r")
        assert [ban["peer_id"] for ban in await moderated.bans()] == ["ada"]
        await moderated.unban(peer_id="ada")
        assert list((await client.join("r")).peers) == ["mod", "ada"]
        await other.update({"still": "here"})


@pytest.mark.settings(**REQUIRED)
async def test_a_client_that_is_in_no_room_any_more_can_join_another(server: Server) -> None:
    async with (
        connect(server.url(""), token=token("mod", can=["moderate"])) as moderating,
        connect(server.url(""), token=token("ada")) as client,
    ):
        moderated, room = await moderating.join("r"), await client.join("r")
        await moderated.lock()
        await moderated.unlock()
        await moderated.close(reason="over", message="See you.")
        assert [event async for event in room] == [
            RoomLocked(),
            RoomUnlocked(),
            RoomClosed(reason="over", message="See you."),
        ]
        await until(lambda: client.state == State.IDLE, "that the server has closed the connection")
        assert list((await client.join("s")).peers) == ["ada"]
        assert client.state == State.OPEN
        assert [type(event) async for event in moderated] == [PeerJoined]


@pytest.mark.settings(ping_interval=0.3)
async def test_a_connection_on_which_nothing_arrives_is_replaced(server: Server, path: NetworkPath) -> None:
    async with connect(server.url("")) as one, connect(url(path)) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        path.freeze()
        assert await b.signal("a", 1) == "delivered"
        assert [await anext(a) for _ in range(2)][1] == Signal(sender="b", data=1)


@pytest.fixture
def nodes(io_loop: IOLoop, tmp_path: Path, engine: Engine, prefix: str) -> Iterator[list[Server]]:
    """Two processes of one cluster."""
    nodes = [Server(tmp_path, secret_key=SECRET, redis_url=engine.url, redis_prefix=prefix) for _ in range(2)]
    for node in nodes:
        io_loop.run_sync(node.start)
    yield nodes
    for node in nodes:
        io_loop.run_sync(node.stop)


async def test_a_client_moves_when_its_process_stops(nodes: list[Server]) -> None:
    path = NetworkPath(nodes[0].port)
    async with connect(url(path)) as one, connect_user(url(path), "u") as user, connect(nodes[1].url("")) as other:
        a, u, b = await one.join("r", "a"), await user.join("r"), await other.join("r", "b")
        order = a.order
        path.lead_to(nodes[1].port)
        stopping = asyncio.create_task(nodes[0].shut_down())
        for number in range(20):
            assert await b.signal("a", number) in {"delivered", "queued"}
            await u.send(number)
        joined = await one.join("s", "a")  # refused by the process that stops
        await stopping
        assert one.state == State.OPEN
        assert a.order == order
        events = [await anext(a) for _ in range(21)]
        assert [event.data for event in events if isinstance(event, Signal)] == list(range(20))
        await joined.leave()
        assert await a.signal("b", "still here") == "delivered"
    path.cut()


async def test_a_call_goes_on_when_its_process_is_killed(tmp_path: Path, engine: Engine, prefix: str) -> None:
    """The client continues its session at another process, and is told that messages may be missing."""
    environ = {"MCP_ACTORS_SECRET_KEY": SECRET, "REDIS_URL": engine.url, "MCP_ACTORS_REDIS_PREFIX": prefix}
    arguments = ("--host", "127.0.0.1", "--port", "0")
    with Process(tmp_path, *arguments, **environ) as first, Process(tmp_path, *arguments, **environ) as second:
        for process in (first, second):
            await asyncio.to_thread(process.wait_until_serving)
        path = NetworkPath(first.port)
        async with connect(url(path)) as one, connect(f"http://127.0.0.1:{second.port}") as other:
            a, b = await one.join("r", "a"), await other.join("r", "b")
            order = a.order
            path.lead_to(second.port)
            first.process.kill()
            sending = [asyncio.create_task(b.signal("a", number)) for number in range(10)]
            assert set(await asyncio.gather(*sending)) <= {"delivered", "queued"}
            events = [await anext(a) for _ in range(12)]
            assert [event.data for event in events if isinstance(event, Signal)] == list(range(10))
            assert [event for event in events if isinstance(event, Rejoined)] == [Rejoined(resumed=True)]
            assert (a.order, list(a.peers)) == (order, ["a", "b"])
            assert await a.signal("b", "still here") == "delivered"
        path.cut()


async def test_a_client_that_has_joined_two_rooms_moves_no_earlier_than_it_is_asked_to() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        for name in ("another", "r"):
            room = await client.join(name, "a")
        await server.send(type="reconnect", payload={"after_ms": 600_000})
        for number in range(10):
            await server.send(type="announcement", payload={"content": number})
            assert await anext(room) == Announcement(content=number)
            sending = asyncio.create_task(room.signal("b", number))
            request = await server.request("signal")
            await server.send(type="ack", id=request["id"], payload={"status": "delivered"})
            assert await sending == "delivered"
        assert len(server.sockets) == 1


async def test_too_large_a_request_fails_alone(server: Server) -> None:
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        a, _ = await one.join("r", "a"), await other.join("r", "b")
        with pytest.raises(SignalingError, match="message-too-big"):
            await a.signal("b", "x" * 70_000)
        with pytest.raises(ValueError, match="JSON"):
            await a.signal("b", float("nan"))
        assert await a.signal("b", "\ud83d") == "delivered"
