"""A storm of joins: eight aiortc peers meet at once, and every pair of them connects with a single offer."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

import aioice.ice
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.support.client import Client

NAMES = [f"peer{number}" for number in range(8)]
DEADLINE = 20.0


@pytest.fixture
def server(io_loop: IOLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, on a machine whose only network is the loopback, which aioice leaves out on its own."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: ["127.0.0.1"])
    server = Server(tmp_path)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


class Talker:
    """A peer with a connection to each other, and a data channel on it; candidates are in the descriptions."""

    def __init__(self, signaling: Client, name: str) -> None:
        self.signaling = signaling
        self.name = name
        self.order = 0
        self.connections: dict[str, RTCPeerConnection] = {}
        self.open: set[str] = set()
        self.heard: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Join, and talk to everybody: of two, the one with the higher order offers."""
        joined = await self.signaling.join("storm", self.name)
        self.order = joined["order"]
        for peer in joined["peers"]:
            await self._meet(peer)
        while True:
            message = await self.signaling.hear()
            self.heard.append(message)
            await self._take(message)

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self.connections.values()))

    async def _meet(self, peer: dict[str, Any]) -> None:
        if peer["order"] >= self.order:
            return
        name = peer["peer_id"]
        connection = self._connection(name)
        self._watch(name, connection.createDataChannel("talk"))
        await connection.setLocalDescription(await connection.createOffer())
        await self._send("offer", name)

    async def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "peer-joined", "payload": peer}:
                await self._meet(peer)
            case {"type": "offer", "sender": name, "payload": {"offer": offer}, "negotiation": negotiation}:
                connection = self._connection(name)
                await connection.setRemoteDescription(RTCSessionDescription(**offer))
                await connection.setLocalDescription(await connection.createAnswer())
                await self._send("answer", name, negotiation=negotiation)
            case {"type": "answer", "sender": name, "payload": {"answer": answer}}:
                await self.connections[name].setRemoteDescription(RTCSessionDescription(**answer))

    def _connection(self, name: str) -> RTCPeerConnection:
        connection = self.connections[name] = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.on("datachannel", lambda channel: self._watch(name, channel))
        return connection

    def _watch(self, name: str, channel: RTCDataChannel) -> None:
        """Count a peer as reached when it has said something over the channel."""
        channel.on("message", lambda _said: self.open.add(name))
        if channel.readyState == "open":
            channel.send("hello")
        else:
            channel.on("open", lambda: channel.send("hello"))

    async def _send(self, kind: str, target: str, **fields: Any) -> None:
        local = self.connections[target].localDescription
        payload = {"target_peer_id": target, kind: {"type": local.type, "sdp": local.sdp}}
        await self.signaling.say(kind, "storm", payload, **fields)


async def test_eight_peers_that_join_at_once_are_connected_with_one_offer_per_pair(server: Server) -> None:
    talkers = [Talker(await server.peer(), name) for name in NAMES]
    running = [asyncio.ensure_future(talker.run()) for talker in talkers]
    async with asyncio.timeout(DEADLINE):
        for talker in talkers:
            while talker.open != {*NAMES} - {talker.name}:
                await asyncio.sleep(0.01)
                assert not any(task.done() for task in running)

    pairs = {frozenset(pair): 1 for pair in combinations(NAMES, 2)}
    for kind in ("offer", "answer"):
        relayed = [(talker.name, message) for talker in talkers for message in talker.heard if message["type"] == kind]
        assert Counter(frozenset((name, message["sender"])) for name, message in relayed) == pairs
        assert {message["negotiation"] for _, message in relayed} == {1}
    assert not [message for talker in talkers for message in talker.heard if message["type"] == "error"]

    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await asyncio.gather(*(talker.close() for talker in talkers))
