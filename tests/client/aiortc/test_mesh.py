"""Meshes of aiortc, among themselves and with a page."""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import TYPE_CHECKING

import aioice.ice
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription

from mcp_actors.client import Offer, PeerJoined, PeerLeft, connect
from tests.client.aiortc.talker import DEADLINE, Talker, description, start, stop
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_every_pair_of_a_room_is_connected_once(server: Server) -> None:
    talkers = [Talker(name) for name in "abc"]
    tasks = await start(server.url(""), *talkers)
    for talker in talkers:
        others = {other.name for other in talkers} - {talker.name}
        assert await talker.hear(2) == {(other, other) for other in others}
        assert talker.connections == 2
    for one, other in combinations(talkers, 2):
        one.channels[other.name].send("again")
        assert await other.hear(1) == {(one.name, "again")}
    await stop(tasks[2:])
    assert (await left(talkers[0])).peer_id == "c"
    async with asyncio.timeout(DEADLINE):
        while set(talkers[0].mesh.connections) != {"b"}:
            await asyncio.sleep(0.01)
    await stop(tasks[:2])


@pytest.mark.settings(resume_window=1)
async def test_a_connection_outlives_a_peer_that_only_the_server_has_lost(server: Server) -> None:
    path, a, b = NetworkPath(server.port), Talker("a"), Talker("b")
    tasks = [*await start(server.url(""), a), *await start(f"http://127.0.0.1:{path.port}", b)]
    await a.hear(1)
    await b.hear(1)
    path.cut()
    assert await left(a) == PeerLeft(peer_id="b", reason="timeout")
    a.channels["b"].send("still here")
    await b.until_heard("a", "still here")
    path.mend()
    while not any(isinstance(event, PeerJoined) for event in a.events):
        await asyncio.sleep(0.01)
    b.channels["a"].send("back")
    await a.until_heard("b", "back")
    assert (a.connections, b.connections) == (1, 1)
    await stop(tasks)
    path.cut()


async def left(talker: Talker) -> PeerLeft:
    """Wait until a talker is told that a peer has left."""
    async with asyncio.timeout(DEADLINE):
        while not (found := [event for event in talker.events if isinstance(event, PeerLeft)]):
            await asyncio.sleep(0.01)
    return found[0]


async def test_a_connection_that_fails_is_replaced_by_the_polite_peer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.stun, "RETRY_MAX", 1)  # for what fails to fail soon
    b = Talker("b")
    async with connect(server.url("")) as client:
        room, a = await client.join("r", "a"), Talker("a")
        [task] = await start(server.url(""), b)
        assert isinstance(await anext(room), PeerJoined)
        for is_reachable in (False, True):
            offer = await anext(room)
            assert isinstance(offer, Offer)
            connection = RTCPeerConnection()
            a.prepare("b", connection)
            await connection.setRemoteDescription(RTCSessionDescription(offer.offer["sdp"], "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
            answer = description(connection)
            if not is_reachable:
                await connection.close()
            await room.answer("b", answer)
        assert await a.hear(1) == {("b", "b")}
        assert b.connections == 2
        await connection.close()
        await stop([task])
