"""A peer of aiortc as somebody else might write it: it knows nothing of heartbeats, and repeats what it hears.

Arguments: the address of the server, a room, and an id. It offers to the peers that are there, with a channel of its
own, and answers all others. It prints the labels of the channels that others open, and all signals, as lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from mcp_actors.client import Answer, IceCandidate, Offer, Signal, connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiortc import RTCDataChannel

    from mcp_actors.client.events import Json
    from mcp_actors.client.peer_room import PeerRoom


def tell(**what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


def repeat(channel: RTCDataChannel) -> None:
    channel.on("message", channel.send)


class Foreign:
    """One peer, and its connection to one other."""

    def __init__(self, room: PeerRoom) -> None:
        self._room = room
        self._connection = RTCPeerConnection()
        self._connection.on("datachannel", self._use)

    async def offer(self, peer: str) -> None:
        channel = self._connection.createDataChannel("theirs")
        repeat(channel)
        await self._connection.setLocalDescription(await self._connection.createOffer())
        await self._room.offer(peer, self._local())

    async def run(self) -> None:
        async for event in self._room:
            match event:
                case Offer(sender=peer, offer=offer):
                    await self._take(offer)
                    await self._connection.setLocalDescription(await self._connection.createAnswer())
                    await self._room.answer(peer, self._local())
                case Answer(answer=answer):
                    await self._take(answer)
                case IceCandidate(candidate={"candidate": str(text), **rest}) if text:
                    candidate = candidate_from_sdp(text.removeprefix("candidate:"))
                    candidate.sdpMid = str(rest["sdpMid"])
                    await self._connection.addIceCandidate(candidate)
                case Signal(data=data):
                    tell(signal=data)

    def _use(self, channel: RTCDataChannel) -> None:
        tell(channel=channel.label)
        repeat(channel)

    def _local(self) -> Mapping[str, str]:
        local = self._connection.localDescription
        return {"type": local.type, "sdp": local.sdp}

    async def _take(self, description: Json) -> None:
        await self._connection.setRemoteDescription(RTCSessionDescription(description["sdp"], description["type"]))


async def main(url: str, name: str, peer_id: str) -> None:
    async with connect(url) as client:
        room = await client.join(name, peer_id)
        foreign = Foreign(room)
        tell(joined=peer_id)
        for peer in room.peers.keys() - {peer_id}:
            await foreign.offer(peer)
        await foreign.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
