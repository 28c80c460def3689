"""Closes connections of aiortc completely."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

CHECK_PAUSE = 0.05
"""Seconds: more than aioice sleeps between two connectivity checks."""


async def close_connection(connection: RTCPeerConnection) -> None:
    """Close a connection.

    If its checks have just succeeded, aioice begins to ask for consent after it is closed, and never ends: so its part
    is closed once more.
    """
    transports = _ice_transports(connection)
    await connection.close()
    await asyncio.sleep(CHECK_PAUSE)
    await asyncio.gather(*(transport._connection.close() for transport in transports))  # noqa: SLF001 - tested


def _ice_transports(connection: RTCPeerConnection) -> set[Any]:
    found = {transceiver.receiver.transport.transport for transceiver in connection.getTransceivers()}
    return found | ({connection.sctp.transport.transport} if connection.sctp else set())
