"""Nothing of a connection is left, whenever it is closed."""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription

from mcp_actors.client.aiortc.closing import close_connection
from tests.support.loop import until


def consents() -> list[asyncio.Task[Any]]:
    """Tasks of aioice that ask for consent."""
    return [task for task in asyncio.all_tasks() if "query_consent" in repr(task.get_coro())]


async def test_a_connection_that_is_closed_while_its_checks_succeed_asks_for_consent_no_more() -> None:
    one, other = RTCPeerConnection(), RTCPeerConnection()
    one.createDataChannel("talk")
    one.addTransceiver("audio")
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(RTCSessionDescription(one.localDescription.sdp, "offer"))
    await other.setLocalDescription(await other.createAnswer())
    await one.setRemoteDescription(RTCSessionDescription(other.localDescription.sdp, "answer"))
    assert one.sctp is not None
    ice = one.sctp.transport.transport._connection
    await until(lambda: ice._check_list_done, "checks that succeed")
    await close_connection(one)
    await close_connection(other)
    assert consents() == []


async def test_a_connection_that_was_never_used_is_closed() -> None:
    connection = RTCPeerConnection()
    await close_connection(connection)
    assert connection.connectionState == "closed"
