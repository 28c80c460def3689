"""Real WebRTC: two aiortc peers meet through the server and talk directly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aioice.ice
import pytest
from aiortc import RTCDataChannel, RTCIceCandidate, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.support.client import Client

CALL_DEADLINE = 20.0


@pytest.fixture
def server(io_loop: IOLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on a machine whose only network is the loopback, which aioice leaves out by default."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: ["127.0.0.1"])
    server = Server(tmp_path)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


class Caller:
    """One peer: signaling on one side, an RTCPeerConnection on the other, candidates trickled between."""

    def __init__(self, signaling: Client, peer_id: str) -> None:
        self.signaling = signaling
        self.peer_id = peer_id
        self.connection = RTCPeerConnection()
        self.channel: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
        self.connection.on("datachannel", self.channel.set_result)

    async def run(self) -> None:
        """Join, offer to the peers of the room, and answer those that join later."""
        joined = await self.signaling.join("call", self.peer_id)
        for peer in joined["peers"]:
            if peer["order"] < joined["order"]:
                await self._offer(peer["peer_id"])
        while True:
            await self._take(await self.signaling.hear())

    async def _offer(self, target: str) -> None:
        channel = self.connection.createDataChannel("talk")
        channel.on("open", lambda: self.channel.set_result(channel))
        await self.connection.setLocalDescription(await self.connection.createOffer())
        await self._send_description("offer", target)

    async def _take(self, message: dict[str, Any]) -> None:
        payload = message["payload"]
        match message["type"]:
            case "offer":
                await self.connection.setRemoteDescription(RTCSessionDescription(**payload["offer"]))
                await self.connection.setLocalDescription(await self.connection.createAnswer())
                await self._send_description("answer", message["sender"])
            case "answer":
                await self.connection.setRemoteDescription(RTCSessionDescription(**payload["answer"]))
            case "ice-candidate":
                await self.connection.addIceCandidate(_candidate(payload["candidate"]))

    async def _send_description(self, kind: str, target: str) -> None:
        """Send the description without the candidates aiortc puts into it, and those one by one behind it."""
        local = self.connection.localDescription
        lines = local.sdp.splitlines()
        found = [line for line in lines if line.startswith("a=candidate:")]
        assert found, "a candidate on the loopback"
        sdp = "".join(f"{line}\r\n" for line in lines if line not in (*found, "a=end-of-candidates"))
        description = {"type": local.type, "sdp": sdp}
        await self.signaling.say(kind, "call", {"target_peer_id": target, kind: description}, id=kind)
        for line in found:
            candidate = {"candidate": line.removeprefix("a="), "sdpMid": "0", "sdpMLineIndex": 0}
            await self.signaling.say("ice-candidate", "call", {"target_peer_id": target, "candidate": candidate})
        await self.signaling.say("ice-candidate", "call", {"target_peer_id": target, "candidate": None})


def _candidate(value: dict[str, Any] | None) -> RTCIceCandidate | None:
    if value is None:
        return None
    candidate = candidate_from_sdp(value["candidate"].removeprefix("candidate:"))
    assert value["candidate"] == f"candidate:{candidate_to_sdp(candidate)}", "it arrived as it was sent"
    candidate.sdpMid, candidate.sdpMLineIndex = value["sdpMid"], value["sdpMLineIndex"]
    return candidate


async def test_two_peers_open_a_data_channel_through_the_server(server: Server) -> None:
    callers = [Caller(await server.peer(), name) for name in ("ada", "grace")]
    running = [asyncio.ensure_future(caller.run()) for caller in callers]
    async with asyncio.timeout(CALL_DEADLINE):
        first, second = [await caller.channel for caller in callers]
        heard: asyncio.Queue[str] = asyncio.Queue()
        first.on("message", heard.put_nowait)
        second.on("message", heard.put_nowait)
        first.send("from ada")
        assert await heard.get() == "from ada"
        second.send("from grace")
        assert await heard.get() == "from grace"
    for caller in callers:
        await caller.connection.close()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
