"""Meshes of aiortc, among themselves and with a page."""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import TYPE_CHECKING

import aioice.ice
from aiortc import RTCPeerConnection, RTCSessionDescription

from mcp_actors.client import Offer, PeerJoined, PeerLeft, connect
from tests.client.aiortc.talker import Talker, description, start, stop

if TYPE_CHECKING:
    import pytest

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
    while not talkers[0].events or not isinstance(talkers[0].events[-1], PeerLeft):
        await asyncio.sleep(0.01)
    assert set(talkers[0].mesh.connections) == {"b"}
    await stop(tasks[:2])


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
