"""Requests, and what becomes of them without a reply."""

from __future__ import annotations

import asyncio

import pytest

from mcp_actors.client import SignalingError, connect, requests
from tests.client.scripted import JOINED, ScriptedServer

RESUMABLE = JOINED | {"resume": "token", "resumed": False, "max_message_bytes": 1000}


async def test_a_request_that_may_have_arrived_is_sent_again_with_the_same_id() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = RESUMABLE
        room = await client.join("r", "a")
        sending = asyncio.create_task(room.signal("b", 1))
        first = await server.request("signal")
        server.joined = RESUMABLE | {"resumed": True, "complete": True}
        server.sockets[-1].transport.abort()
        second = await server.request("signal")
        assert second == first | {"again": True}
        await server.send(type="ack", id=first["id"], payload={"status": "delivered"})
        assert await sending == "delivered"


async def test_a_request_is_not_sent_again_in_another_session() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = RESUMABLE
        room = await client.join("r", "a")
        sending = asyncio.create_task(room.signal("b", 1))
        await server.request("signal")
        server.sockets[-1].transport.abort()
        with pytest.raises(SignalingError, match=r"which may have arrived\. \(unknown\)"):
            await sending


async def test_a_reply_is_no_message_of_another_peer_with_the_same_id() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        room = await client.join("r", "a")
        sending = asyncio.create_task(room.signal("b", 1))
        request = await server.request("signal")
        await server.send(type="signal", sender="b", id=request["id"], payload={"data": 2})
        await anext(room)
        assert not sending.done()
        await server.send(type="ack", id=request["id"], payload={"status": "queued"})
        assert await sending == "queued"


async def test_a_request_that_is_too_large_is_not_sent() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = RESUMABLE
        room = await client.join("r", "a")
        with pytest.raises(SignalingError, match="message-too-big") as caught:
            await room.signal("b", "x" * 1000)
        assert caught.value.details == {"limit": 1000}


async def test_the_largest_request_fails_if_the_server_closes_the_connection_for_it() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = JOINED | {"resume": "token"}
        room = await client.join("r", "a")
        sending = [asyncio.create_task(room.signal("b", "x" * size)) for size in (1, 500, 20)]
        for _ in sending:
            await server.request("signal")
        server.joined = server.joined | {"resumed": True, "complete": True}
        await server.sockets[-1].close(1009, "too-big")
        with pytest.raises(SignalingError, match="message-too-big"):
            await sending[1]
        for task in (sending[0], sending[2]):
            request = await server.request("signal")
            await server.send(type="ack", id=request["id"], payload={"status": "delivered"})
            assert await task == "delivered"


async def test_a_connection_that_answers_others_but_not_this_request_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "REPLY_TIMEOUT", 0.05)
    monkeypatch.setattr(requests, "MAX_REPLY_TIMEOUT", 0.0)
    async with ScriptedServer() as server, connect(server.url) as client:
        room = await client.join("r", "a")
        sending = asyncio.create_task(room.signal("b", 1))
        await server.request("signal")
        await server.send(type="signal", sender="b", payload={"data": 2})
        with pytest.raises(SignalingError, match="There is no reply to signal"):
            await sending
        assert len(server.sockets) == 1


async def test_a_connection_on_which_nothing_answers_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.joined = RESUMABLE
        room = await client.join("r", "a")
        monkeypatch.setattr(requests, "REPLY_TIMEOUT", 0.05)
        server.joined = RESUMABLE | {"resumed": True, "complete": True}
        sending = asyncio.create_task(room.signal("b", 1))
        request = await server.request("signal")
        monkeypatch.undo()
        assert await server.request("signal") == request | {"again": True}
        await server.send(type="ack", id=request["id"], payload={"status": "delivered"})
        assert await sending == "delivered"
