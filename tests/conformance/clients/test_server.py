"""The server of a check does what it is told, and keeps what the client does."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.server import ScriptedServer


async def test_handshakes_are_refused_as_often_as_a_check_wants() -> None:
    async with ScriptedServer() as server:
        server.refusals = [HTTPStatus.TOO_MANY_REQUESTS]
        with pytest.raises(InvalidStatus, match="429"):
            await connect(server.url)
        async with connect(server.url):
            await server.connection()
        assert len(server.refused_at) == 1


async def test_requests_are_kept_and_pings_answered() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        connection = await server.connection()
        await client.send('{"type": "ping", "id": 7}')
        assert json.loads(await client.recv()) == {"type": "pong", "id": 7}
        assert connection.requests("ping") == [{"type": "ping", "id": 7}]


async def test_a_connection_is_cut_without_a_close_frame() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        (await server.connection()).cut()
        with pytest.raises(ConnectionClosed) as lost:
            await client.recv()
        assert lost.value.rcvd is None


async def test_the_subprotocol_of_the_protocol_is_selected() -> None:
    async with ScriptedServer() as server, connect(server.url, subprotocols=[Subprotocol("mcp-actors")]) as client:
        assert client.subprotocol == "mcp-actors"


async def test_what_does_not_come_fails_a_check() -> None:
    async with ScriptedServer(patience=0.1) as server, connect(server.url):
        connection = await server.connection()
        with pytest.raises(Failed, match="a request `join` was expected"):
            await connection.expect("join")
        with pytest.raises(Failed, match="expected to close"):
            await connection.end()
        with pytest.raises(Failed, match="a new connection was expected"):
            await server.connection()


async def test_a_connection_that_must_not_come_fails_a_check() -> None:
    async with ScriptedServer() as server, connect(server.url):
        with pytest.raises(Failed, match="no further connection"):
            await server.no_connection(60)
