"""Opens a data channel between two peers of the probe, negotiated through the server."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)

from mcp_actors.client import Answer, Offer, SignalingError
from mcp_actors.probe.report import Check, failed, ok

if TYPE_CHECKING:
    from mcp_actors.client.events import Json
    from mcp_actors.probe.peer import Peer

TIMEOUT = 15.0
"""Seconds for a channel to open and carry a message."""

_CANDIDATE = re.compile(r"^a=candidate:", re.MULTILINE)


class ChannelError(Exception):
    """No channel opens. `advice`: what to change."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


async def check_direct(one: Peer, other: Peer) -> Check:
    """Open a data channel without any server in between."""
    configuration = RTCConfiguration(iceServers=[])
    name = "data channel"
    try:
        milliseconds = await open_channel(one, other, configuration, configuration)
    except ChannelError as error:
        return failed(name, str(error), error.advice)
    return ok(name, "opens directly between two peers on this machine", milliseconds)


def relay_only(server: Json) -> RTCConfiguration:
    """The configuration of a connection that uses nothing but one TURN server."""
    return RTCConfiguration(iceServers=[RTCIceServer(**server)], iceTransportPolicy=RTCIceTransportPolicy.RELAY)


async def open_channel(one: Peer, other: Peer, first: RTCConfiguration, second: RTCConfiguration) -> float:
    """Open a channel and let a message go there and back; return the milliseconds. Raises ChannelError."""
    offering, answering = RTCPeerConnection(first), RTCPeerConnection(second)
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT):
            echoed = _echo_over(offering, answering)
            await _negotiate(one, offering, other, answering)
            await echoed
    except TimeoutError:
        raise _diagnose(offering, answering) from None
    except SignalingError as error:
        raise ChannelError(f"the offer did not reach the other peer: {error}", "see the line signaling") from error
    finally:
        await asyncio.gather(offering.close(), answering.close())
    return (time.monotonic() - began) * 1000


def _echo_over(offering: RTCPeerConnection, answering: RTCPeerConnection) -> asyncio.Future[object]:
    """Return what is done when a message has gone there and back."""
    echoed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    near = offering.createDataChannel("probe", negotiated=True, id=0)
    far = answering.createDataChannel("probe", negotiated=True, id=0)
    near.on("open", lambda: near.send("probe"))
    far.on("message", far.send)
    near.on("message", lambda text: None if echoed.done() else echoed.set_result(text))
    return echoed


async def _negotiate(one: Peer, offering: RTCPeerConnection, other: Peer, answering: RTCPeerConnection) -> None:
    """Raises SignalingError, TimeoutError and ChannelError."""
    await offering.setLocalDescription(await offering.createOffer())
    await one.room.offer(other.room.peer_id, _described(offering))
    offer = (await other.next(Offer)).offer
    await answering.setRemoteDescription(RTCSessionDescription(offer["sdp"], offer["type"]))
    await answering.setLocalDescription(await answering.createAnswer())
    await other.room.answer(one.room.peer_id, _described(answering))
    answer = (await one.next(Answer)).answer
    await offering.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))


def _described(connection: RTCPeerConnection) -> Json:
    local = connection.localDescription
    return {"type": local.type, "sdp": local.sdp}


def _diagnose(*connections: RTCPeerConnection) -> ChannelError:
    """Say how far it came."""
    for connection in connections:
        if connection.localDescription and not _CANDIDATE.search(connection.localDescription.sdp):
            return ChannelError(
                "no address to connect from was found", "give this machine a network; loopback is not used"
            )
    if all(connection.iceConnectionState == "completed" for connection in connections):
        return ChannelError("packets arrive, but no encrypted connection (DTLS)", "see whether a firewall inspects UDP")
    states = ", ".join(sorted({connection.iceConnectionState for connection in connections}))
    return ChannelError(f"no packets arrive (ICE: {states})", "allow UDP between these addresses")
