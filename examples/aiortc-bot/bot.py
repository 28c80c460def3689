"""A bot that joins a call, and sends everybody a moving picture. `python bot.py URL ROOM`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.sdp import candidate_from_sdp
from av import VideoFrame
from websockets.asyncio.client import ClientConnection, connect

WIDTH, HEIGHT = 320, 240


class Bars(VideoStreamTrack):
    """Bars that move from right to left."""

    async def recv(self) -> VideoFrame:
        """Return the next picture when it is time for it."""
        pts, time_base = await self.next_timestamp()
        bars = (np.arange(WIDTH) + pts // 1000) % WIDTH * 255 // WIDTH
        picture = np.repeat(np.tile(bars.astype(np.uint8), (HEIGHT, 1))[:, :, None], 3, axis=2)
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Bot:
    """One member of a room, with a connection to each other one."""

    def __init__(self, socket: ClientConnection, room: str) -> None:
        self.socket, self.room = socket, room
        self.configuration = RTCConfiguration(iceServers=[])
        self.connections: dict[str, RTCPeerConnection] = {}

    async def run(self) -> None:
        """Join, make an offer to everybody who is there, and answer those who come."""
        await self.say("join", peer_id="bot", metadata={"name": "Bot"})
        async for frame in self.socket:
            message = json.loads(frame)
            await self.take(message["type"], message.get("sender", ""), message.get("payload", {}), message)

    async def take(self, kind: str, sender: str, payload: dict[str, Any], message: dict[str, Any]) -> None:
        """Handle one message of the server."""
        if kind == "joined":
            servers = [RTCIceServer(**server) for server in payload["ice_servers"]]
            self.configuration = RTCConfiguration(iceServers=servers)
            for peer in payload["peers"]:
                if peer["order"] < payload["order"]:
                    pc = await self.open(peer["peer_id"])
                    await pc.setLocalDescription(await pc.createOffer())
                    await self.describe("offer", peer["peer_id"], pc)
        elif kind == "offer":
            pc = await self.open(sender)
            await pc.setRemoteDescription(RTCSessionDescription(**payload["offer"]))
            await pc.setLocalDescription(await pc.createAnswer())
            await self.describe("answer", sender, pc, negotiation=message["negotiation"])
        elif kind == "answer":
            await self.connections[sender].setRemoteDescription(RTCSessionDescription(**payload["answer"]))
        elif kind == "ice-candidate" and sender in self.connections and payload["candidate"]:
            candidate = candidate_from_sdp(payload["candidate"]["candidate"].removeprefix("candidate:"))
            candidate.sdpMid = payload["candidate"]["sdpMid"]
            await self.connections[sender].addIceCandidate(candidate)
        elif kind == "peer-left" and payload["peer_id"] in self.connections:
            await self.connections.pop(payload["peer_id"]).close()

    async def open(self, peer: str) -> RTCPeerConnection:
        """Start over with a peer."""
        if peer in self.connections:
            await self.connections.pop(peer).close()
        pc = self.connections[peer] = RTCPeerConnection(self.configuration)
        pc.addTrack(Bars())
        return pc

    async def describe(self, kind: str, peer: str, pc: RTCPeerConnection, **fields: Any) -> None:
        """Send the local description, which has all candidates."""
        local = pc.localDescription
        await self.say(kind, target_peer_id=peer, **{kind: {"type": local.type, "sdp": local.sdp}}, fields=fields)

    async def say(self, kind: str, fields: dict[str, Any] | None = None, **payload: Any) -> None:
        """Send a message."""
        await self.socket.send(json.dumps({"type": kind, "room": self.room, "payload": payload, **(fields or {})}))


async def main(url: str, room: str) -> None:
    """Join a room until the connection is closed."""
    async with connect(url) as socket:
        await Bot(socket, room).run()


asyncio.run(main(*sys.argv[1:]))
