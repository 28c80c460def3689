"""The heartbeat of a pair: each side says every second over a data channel that it is there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcp_actors.client.aiortc.session_description import HEARTBEAT_ID
from mcp_actors.client.aiortc.silence import Silence

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

LABEL = "mcp-actors.heartbeat"
PING = "ping"

INTERVAL = 1.0
"""Seconds between two pings."""

MAX_BUFFERED = 64
"""Bytes that wait for a path: no more pings are needed then."""


class PairHeartbeat:
    """The channel on one connection, which is not negotiated yet."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        self.is_announced = False
        """Whether the other side knows the channel; it is sent nothing otherwise."""
        self.silence = Silence()
        self._ping_due = 0.0
        self._channel = connection.createDataChannel(
            LABEL, negotiated=True, id=HEARTBEAT_ID, ordered=False, maxRetransmits=0
        )
        self._channel.on("message", lambda _: self.silence.heard(time.monotonic()))
        self._channel.on("open", lambda: self._ping(time.monotonic()))

    @property
    def is_closed(self) -> bool:
        """Whether the channel was open, and is closed."""
        return bool(self._channel.readyState == "closed")

    def tick(self, now: float, seconds: float) -> None:
        """Send a ping if one is due. `seconds`: until the next call."""
        self.silence.tick(now, seconds)
        if now >= self._ping_due:
            self._ping(now)

    def _ping(self, now: float) -> None:
        if self.is_announced and self._channel.readyState == "open":
            self._ping_due = now + INTERVAL
            if self._channel.bufferedAmount < MAX_BUFFERED:
                self._channel.send(PING)
