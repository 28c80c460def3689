"""The heartbeat over the data channel of two connections."""

from __future__ import annotations

import asyncio
import time

from aiortc import RTCPeerConnection, RTCSessionDescription

from mcp_actors.client.aiortc.heartbeat import PairHeartbeat
from tests.support.loop import until


async def negotiate(one: RTCPeerConnection, other: RTCPeerConnection) -> None:
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(RTCSessionDescription(one.localDescription.sdp, "offer"))
    await other.setLocalDescription(await other.createAnswer())
    await one.setRemoteDescription(RTCSessionDescription(other.localDescription.sdp, "answer"))


async def test_a_side_is_heard_when_the_channel_opens_and_again_only_if_it_was_announced() -> None:
    connections = RTCPeerConnection(), RTCPeerConnection()
    one, other = (PairHeartbeat(connection) for connection in connections)
    other.is_announced = True  # to the other one, so that only that pings
    await negotiate(*connections)
    await until(lambda: one.silence.heard_at is not None, "the first ping")
    first = one.silence.heard_at
    await asyncio.sleep(0.01)
    other.tick(time.monotonic() + 2, 0.5)
    await until(lambda: one.silence.heard_at != first, "another ping")
    one.tick(time.monotonic() + 2, 0.5)
    one.is_announced = True
    one.tick(time.monotonic() + 2, 0.5)
    await until(lambda: other.silence.heard_at is not None, "a ping in the other direction")
    assert not one.is_closed
    await connections[1].close()
    await until(lambda: one.is_closed, "the end of the channel")
    await connections[0].close()
