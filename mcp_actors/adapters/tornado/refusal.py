"""Refused handshakes, and the short life of a WebSocket that is accepted to be told why it is closed at once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mcp_actors.ws.frames import FrameError, FrameReader, write_close

if TYPE_CHECKING:
    from tornado.iostream import IOStream

    from mcp_actors.adapters.http.refusal import Refusal

MAX_UNREAD = 65_536
"""Bytes that a client may send before it answers the close frame."""


def close_frame(refusal: Refusal) -> bytes:
    """Return the close frame of a connection that is accepted to be refused."""
    return write_close(refusal.code, refusal.close_reason)


class _Closing:
    """Receives the frames of a client that is to close, and drops them."""

    def __init__(self) -> None:
        self.reader = FrameReader(self, self, MAX_UNREAD)
        self.reader.closing = True

    def frame_received(self, frame: bytes) -> None:
        """Drop a message."""

    def binary_received(self, data: bytes) -> None:
        """Drop a message."""

    def pong_received(self, data: bytes) -> None:
        """Drop a pong."""

    def control_frame_received(self, size: int) -> None:
        """Count nothing."""

    def ping_received(self, data: bytes) -> None:
        """Answer nothing."""

    def close_received(self, code: int | None) -> None:
        """The reader has ended."""

    def batch_ended(self) -> None:
        """Read on: it is not much."""
        self.reader.resume()


async def client_closed(stream: IOStream) -> None:
    """Wait until a client has sent its close frame, or something that it may not. Raises `StreamClosedError`."""
    reader, left = _Closing().reader, MAX_UNREAD
    with suppress(FrameError):
        while not reader.ended and left > 0:
            data = await stream.read_bytes(left, partial=True)
            left -= len(data)
            reader.receive(data)
