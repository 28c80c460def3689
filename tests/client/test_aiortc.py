"""Meshes of aiortc, among themselves and with a page."""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import TYPE_CHECKING, Any

import aioice.ice
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription

from mcp_actors.client import Answer, Offer, PeerJoined, PeerLeft, aiortc, connect
from mcp_actors.client.aiortc import Mesh

if TYPE_CHECKING:
    from mcp_actors.client import Event
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server

DEADLINE = 25.0


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose only network is the loopback, which aioice leaves out on its own."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: ["127.0.0.1"])


class Talker:
    """A member of a mesh that says its name on each channel, and notes what it hears."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.events: list[Event] = []
        self.channels: dict[str, Any] = {}
        self.connections = 0
        self.mesh: Mesh

    def prepare(self, peer: str, connection: RTCPeerConnection) -> None:
        self.connections += 1
        channel = self.channels[peer] = connection.createDataChannel("talk", negotiated=True, id=0)
        channel.on("open", lambda: channel.send(self.name))
        channel.on("message", lambda text: self.heard.put_nowait((peer, text)))

    async def run(self, server: Server, joined: asyncio.Event) -> None:
        async with connect(server.url("")) as client:
            room = await client.join("r", self.name)
            self.mesh = Mesh(room, self.prepare, self.events.append)
            joined.set()
            await self.mesh.run()

    async def hear(self, count: int) -> set[tuple[str, str]]:
        async with asyncio.timeout(DEADLINE):
            return {await self.heard.get() for _ in range(count)}


async def start(server: Server, *talkers: Talker) -> list[asyncio.Task[None]]:
    """Let talkers join one after another."""
    tasks = []
    for talker in talkers:
        joined = asyncio.Event()
        tasks.append(asyncio.create_task(talker.run(server, joined)))
        await joined.wait()
    return tasks


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_every_pair_of_a_room_is_connected_once(server: Server) -> None:
    talkers = [Talker(name) for name in "abc"]
    tasks = await start(server, *talkers)
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


def description(connection: RTCPeerConnection) -> dict[str, str]:
    local = connection.localDescription
    return {"type": local.type, "sdp": local.sdp}


async def test_a_peer_that_starts_over_is_answered_on_a_new_connection(server: Server) -> None:
    a = Talker("a")
    [task] = await start(server, a)
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


async def test_a_connection_that_fails_is_replaced_by_the_polite_peer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.stun, "RETRY_MAX", 1)  # for what fails to fail soon
    b = Talker("b")
    async with connect(server.url("")) as client:
        room, a = await client.join("r", "a"), Talker("a")
        [task] = await start(server, b)
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


async def test_a_flood_of_candidates_is_bounded(
    server: Server, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.client.aiortc", "Messages of b are dropped, as too many wait")
    monkeypatch.setattr(aiortc, "MAX_STEPS", 10)
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        await asyncio.gather(*(b.candidate("a", None) for _ in range(20)))
        await b.signal("a", "the last")
        await a.update({})  # whose reply comes after all of them
        mesh = asyncio.create_task(Mesh(a, lambda _peer, _connection: None, lambda _: mesh.cancel()).run())
        with pytest.raises(asyncio.CancelledError):
            await mesh
