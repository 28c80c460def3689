"""/echo sends every message back, for conformance suites and measurements. It is off by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.adapters.tornado.upgrade import UpgradeHandler

if TYPE_CHECKING:
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.ws.frame_loop import FrameLoop, FrameLoops

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message: conformance suites send as many."""


class Echo:
    """Sends messages back, text as text and binary as binary, no faster than the client reads them."""

    def __init__(self, frame_loop: FrameLoop) -> None:
        self._frame_loop = frame_loop

    def frame_received(self, frame: bytes) -> None:
        """Send a text message back."""
        self._frame_loop.send(b"", frame)

    def binary_received(self, data: bytes) -> None:
        """Send a binary message back."""
        self._frame_loop.send_binary(data)

    def control_frame_received(self, size: int) -> None:
        """Count nothing."""

    def pong_received(self, data: bytes) -> None:
        """Expect nothing."""

    def buffers_grew(self) -> None:
        """See `ConnectionReceiver`."""

    def writable(self, writable: bool) -> None:
        """Read only while the client reads."""
        if writable:
            self._frame_loop.resume()
        else:
            self._frame_loop.pause()

    def closing(self, code: int | None) -> None:
        """Leave the closing handshake to the frame loop."""

    def lost(self, code: int | None) -> None:
        """Keep nothing."""


class EchoHandler(UpgradeHandler):
    """The handshake of /echo."""

    max_message = MAX_MESSAGE

    def initialize(self, policy: OriginPolicy, loops: FrameLoops) -> None:
        """Take what the route gives."""
        self.policy = policy
        self.loops = loops

    def connect(self, frame_loop: FrameLoop) -> Echo:
        """Open a connection."""
        return Echo(frame_loop)
