"""The WebSocket of an agent over real sockets, on Tornado and in uvicorn: its messages, its limits and its end."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from mcp_actors.broker.revocations import Revocation
from mcp_actors.protocol.errors import CloseCode
from tests.support.agent_socket import agent_socket, ask, close_code
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.tokens import REQUIRED, bearer
from tests.support.waiting_tool import WaitingTool, call, serve_tool

DISCOVER = call(method="server/discover")


async def test_what_is_no_message_of_the_protocol_is_answered(door: Any) -> None:
    async with agent_socket(door) as socket:
        for text, code, request_id in (
            ("no JSON", -32700, None),
            ('{"jsonrpc": "2.0", "id": 1, "method": "ping"', -32700, None),
            (json.dumps([DISCOVER]), -32600, None),
            ('{"jsonrpc": "1.0", "id": 7, "method": "ping"}', -32600, 7),
            ('{"id": "a", "type": "connect"}', -32600, "a"),
            ("null", -32600, None),
        ):
            answer = await ask(socket, text)
            assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", request_id, code)
        assert "result" in await ask(socket, DISCOVER)


@pytest.mark.settings(max_message_bytes=1024)
async def test_a_message_that_is_too_long_is_answered(door: Any) -> None:
    async with agent_socket(door) as socket:
        answer = await ask(socket, '{"jsonrpc": "2.0", "id": 1, "method": "%s"}' % ("x" * 2000))
        assert answer["error"]["data"] == {"code": "message-too-big", "limit": 1024}
        assert "result" in await ask(socket, DISCOVER)


async def test_a_client_that_sends_nothing_else_is_closed(door: Any) -> None:
    async with agent_socket(door) as socket:
        for _ in range(500):
            await socket.send("no JSON")
        assert await close_code(socket) == CloseCode.BAD_MESSAGE


@pytest.mark.settings(connection_delivery_rate=2000, connection_delivery_burst=2000)
async def test_messages_are_charged_for_what_they_take(door: Any) -> None:
    async with agent_socket(door) as socket:
        for number in range(30):
            assert "result" in await ask(socket, {**DISCOVER, "id": number})
        assert door.app.addresses.counters.slowed > 0


async def test_a_flood_of_messages_is_answered_in_full(door: Any) -> None:
    async with agent_socket(door) as socket:
        for number in range(300):
            await socket.send(json.dumps({**DISCOVER, "id": number}))
        answers = [json.loads(await asyncio.wait_for(socket.recv(), DEADLINE)) for _ in range(300)]
    done = [answer["id"] for answer in answers if "result" in answer]
    told_to_wait = [answer["id"] for answer in answers if answer.get("error", {}).get("code") == -32000]
    assert sorted(done + told_to_wait) == list(range(300))
    assert done


@pytest.mark.settings(auth_leeway=0, **REQUIRED)
async def test_a_connection_ends_with_its_token(door: Any) -> None:
    async with agent_socket(door, **bearer("ann", 1)) as socket:
        assert await close_code(socket) == CloseCode.TOKEN_EXPIRED
    async with agent_socket(door, **bearer("ann", 60, jti="t")) as socket:
        assert "result" in await ask(socket, DISCOVER)
        await door.app.node.broker.revocations.revoke(Revocation("jti", "t", time.time() + 60))
        assert await close_code(socket) == CloseCode.TOKEN_REVOKED


async def test_a_call_ends_with_its_connection(door: Any) -> None:
    tool = WaitingTool()
    _, slots = serve_tool(door.app, tool)
    async with agent_socket(door) as socket:
        await socket.send(json.dumps(call()))
        await tool.called()
    await tool.left()
    assert tool.cancelled == 1
    await until(lambda: len(slots) == 0, "no request is under way")


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
async def test_a_call_that_is_cancelled_is_under_way_no_longer(door: Any, *, modern: bool) -> None:
    tool = WaitingTool()
    _, slots = serve_tool(door.app, tool)
    async with agent_socket(door) as socket:
        if not modern:
            await ask(socket, _initialize())
            await socket.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        await socket.send(json.dumps(call(5, modern=modern)))
        await tool.called()
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
        await socket.send(json.dumps(cancel))
        await tool.left()
        await until(lambda: len(slots) == 0, "no request is under way")


async def test_too_many_calls_at_a_time_are_refused(door: Any) -> None:
    tool = WaitingTool()
    serve_tool(door.app, tool, 100, 2)
    async with agent_socket(door) as socket:
        for number in (1, 2):
            await socket.send(json.dumps(call(number)))
        await tool.called(2)
        answer = await ask(socket, call(3))
        assert (answer["id"], answer["error"]["code"]) == (3, -32000)
        assert answer["error"]["data"]["code"] == "rate-limited"
        tool.may_answer.set()
        answers = [json.loads(await asyncio.wait_for(socket.recv(), DEADLINE)) for _ in range(2)]
        assert {answer["id"] for answer in answers} == {1, 2}
        assert "result" in await ask(socket, call(4))


@pytest.mark.settings(first_message_timeout=1.0, idle_timeout=1.0, ping_interval=0.3)
async def test_a_connection_is_idle_that_asks_for_nothing(door: Any) -> None:
    tool = WaitingTool()
    serve_tool(door.app, tool)
    async with agent_socket(door) as waiting, agent_socket(door) as silent:
        await waiting.send(json.dumps(call()))
        assert await close_code(silent) == CloseCode.IDLE
        tool.may_answer.set()
        assert "result" in json.loads(await asyncio.wait_for(waiting.recv(), DEADLINE))
        assert await close_code(waiting) == CloseCode.IDLE


async def test_agents_are_told_to_reconnect_by_closing(door: Any) -> None:
    async with agent_socket(door) as socket:
        assert "result" in await ask(socket, DISCOVER)
        for connection in door.app.connections:
            connection.ask_to_reconnect(0)
        assert await close_code(socket) == CloseCode.SERVICE_RESTART


async def test_many_clients_that_are_cut_off_leave_nothing(door: Any) -> None:
    tool = WaitingTool()
    _, slots = serve_tool(door.app, tool)
    sockets = []
    for number in range(40):
        socket = await connect(door.url("/ws/mcp/"), subprotocols=[Subprotocol("mcp")], proxy=None)
        await socket.send(json.dumps(call(number)))
        sockets.append(socket)
    for turns, socket in enumerate(sockets):
        for _ in range(turns % 7):
            await asyncio.sleep(0)
        socket.transport.abort()
    await until(lambda: len(door.app.connections) == 0, "no connection is left")
    await tool.left()
    assert len(slots) == 0


def _initialize() -> dict[str, Any]:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
