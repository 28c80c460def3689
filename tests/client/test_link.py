"""One WebSocket: the end of it, and silence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcp_actors.client import Signal, State, connect
from tests.client.scripted import JOINED, ScriptedServer
from tests.support.loop import until

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs

RESUMED = JOINED | {"resume": "token", "resumed": True, "complete": True}


async def test_what_arrived_before_the_end_is_read_before_the_session_is_resumed() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = RESUMED
        room = await client.join("r", "a")
        await server.request("join")
        for number in range(1, 6):
            await server.send(type="signal", sender="b", delivery=number, at=f"at-{number}", payload={"data": number})
        await server.sockets[-1].close(4000, "slow-peer")
        again = await server.request("join")
        assert (again["payload"]["received"], again["payload"]["at"]) == (5, {"r": "at-5"})
        assert [await anext(room) for _ in range(5)] == [Signal(sender="b", data=number) for number in range(1, 6)]


async def test_a_message_that_was_received_before_is_dropped() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        room = await client.join("r", "a")
        for number in (1, 2, 2, 1, 3):
            await server.send(type="signal", sender="b", delivery=number, payload={"data": number})
        assert [await anext(room) for _ in range(3)] == [Signal(sender="b", data=number) for number in (1, 2, 3)]


async def test_silence_is_broken_by_a_ping_and_a_second_silence_ends_the_connection() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = RESUMED | {"ping_interval": 0.05}
        await client.join("r", "a")
        await server.request("join")
        del server.answers["ping"]
        await server.request("ping")
        assert (await server.request("join"))["payload"]["resume"] == "token"
        assert len(server.sockets) == 2


async def test_a_server_that_answers_pings_keeps_the_connection() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = RESUMED | {"ping_interval": 0.2}
        await client.join("r", "a")
        for _ in range(4):
            await server.request("ping")
        assert (client.state, len(server.sockets)) == (State.OPEN, 1)


async def test_messages_that_are_not_understood_end_nothing() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        room = await client.join("r", "a")
        for message in ({"type": "later"}, {"type": "error", "room": None, "payload": {"code": "later"}}, {"type": 5}):
            await server.send(**message)
        await server.send(type="signal", sender="b", payload={"data": 1})
        assert await anext(room) == Signal(sender="b", data=1)
        await asyncio.sleep(0)
        await until(lambda: client.state == State.OPEN, "that it is still open")


async def test_a_server_that_sends_something_else_loses_the_connection_and_not_the_client(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.client.link", "A message of the server could not be handled")
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = RESUMED
        room = await client.join("r", "a")
        await server.request("join")
        await server.sockets[-1].send("this is not JSON")
        assert (await server.request("join"))["payload"]["resume"] == "token"
        await server.send(type="signal", sender="b", payload={"data": 1})
        assert await anext(room) == Signal(sender="b", data=1)
