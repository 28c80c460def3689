"""Offers, answers and candidates of a mesh, seen from another peer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription

from mcp_actors.client import Answer, Offer, PeerJoined, connect
from mcp_actors.client.aiortc import Mesh, PairConnected, negotiation
from mcp_actors.client.aiortc.session_description import announces_heartbeat, session_of
from tests.client.aiortc.talker import Talker, description, start, stop
from tests.support.loop import scheduler

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server


async def test_a_peer_that_starts_over_is_answered_on_a_new_connection(server: Server) -> None:
    a = Talker("a")
    [task] = await start(server.url(""), a)
    async with connect(server.url("")) as client:
        room, b = await client.join("r", "b"), Talker("b")
        for _ in range(2):
            connection = RTCPeerConnection()
            b.prepare("a", connection)
            await connection.setLocalDescription(await connection.createOffer())
            await room.offer("a", description(connection))
            answer = await anext(room)
            assert isinstance(answer, Answer)
            await connection.setRemoteDescription(RTCSessionDescription(answer.answer["sdp"], "answer"))
            assert await b.hear(1) == {("a", "a")}
            assert await a.hear(1) == {("b", "b")}
            await connection.close()
        assert a.connections == 2
    await stop([task])


async def test_each_connection_has_its_session_and_announces_the_heartbeat(server: Server) -> None:
    async with connect(server.url("")) as client:
        room, b = await client.join("r", "a"), Talker("b")
        [task] = await start(server.url(""), b)
        assert isinstance(await anext(room), PeerJoined)
        sessions = set()
        for _ in range(2):
            offer = await anext(room)
            assert isinstance(offer, Offer)
            assert announces_heartbeat(offer.offer["sdp"])
            sessions.add(session_of(offer.offer["sdp"]))
            await room.signal("b", {"callHeal": {"replace": True}})
            await asyncio.sleep(1)  # the most often that a mesh heals when asked
        assert len(sessions) == 2
        await stop([task])


async def test_an_answer_that_cannot_be_used_leaves_the_pair_able_to_connect(
    server: Server, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.client.aiortc.negotiation", "The negotiation with a has failed")
    async with connect(server.url("")) as client:
        room, a, b = await client.join("r", "a"), Talker("a"), Talker("b")
        [task] = await start(server.url(""), b)
        assert isinstance(await anext(room), PeerJoined)
        assert isinstance(await anext(room), Offer)
        await room.answer("b", {"type": "answer", "sdp": "nonsense"})
        await room.signal("b", {"callHeal": {"replace": True}})
        offer = await anext(room)
        assert isinstance(offer, Offer)
        answering = RTCPeerConnection()
        a.prepare("b", answering)
        await answering.setRemoteDescription(RTCSessionDescription(offer.offer["sdp"], "offer"))
        await answering.setLocalDescription(await answering.createAnswer())
        await room.answer("b", description(answering))
        await b.until(PairConnected)
        await asyncio.gather(answering.close(), stop([task]))


async def test_a_flood_of_candidates_is_bounded(
    server: Server, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.client.aiortc", "Messages of b are dropped, as too many wait")
    monkeypatch.setattr(negotiation, "MAX_STEPS", 10)
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        await asyncio.gather(*(b.candidate("a", None) for _ in range(20)))
        await b.signal("a", "the last")
        await a.update({})  # whose reply comes after all of them
        mesh = asyncio.create_task(Mesh(a, lambda _peer, _connection: None, lambda _: mesh.cancel()).run())
        with pytest.raises(asyncio.CancelledError):
            await mesh


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_a_mesh_that_ends_while_it_makes_an_offer_leaves_no_sockets(server: Server) -> None:
    """Whichever turn of the loop that is."""
    async with connect(server.url("")) as client, connect(server.url("")) as other:
        before = None
        for turns in range(12):
            await client.join(f"r{turns}", "a")
            mesh = asyncio.create_task(Mesh(await other.join(f"r{turns}", "b"), lambda *_: None).run())
            await scheduler(turns)
            mesh.cancel()
            await asyncio.gather(mesh, return_exceptions=True)
            await scheduler(10)
            before = before or open_files()
            assert open_files() == before, turns
