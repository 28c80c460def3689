"""An asyncio transport on a Tornado stream, for TLS: a stream that has begun TLS cannot give its socket away.

A plain socket moves to a transport of the event loop, which costs less; see `upgrade`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from tornado.iostream import StreamClosedError

if TYPE_CHECKING:
    from tornado.iostream import IOStream

CHUNK = 65_536
"""Bytes that are read at once, at most; a TLS record has 16 KiB."""

HIGH_WATER, LOW_WATER = 65_536, 16_384
"""Pending bytes at which the protocol is paused and resumed, as in asyncio's own transports."""


class StreamTransport(asyncio.Transport):
    """A transport on a stream, whose first bytes may have arrived already."""

    __slots__ = ("_closing", "_full", "_held", "_loop", "_paused", "_pending", "_protocol", "_reading", "_stream")

    def __init__(self, stream: IOStream, protocol: asyncio.Protocol) -> None:
        """Connect the protocol. Raises `StreamClosedError` if the client is gone."""
        super().__init__({"socket": stream.socket})
        if stream.closed():
            raise StreamClosedError(stream.error)
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._protocol: asyncio.Protocol | None = protocol
        self._reading: asyncio.Future[bytes] | None = None
        self._held = b""  # what arrived after reading was paused
        self._paused = self._closing = self._full = False
        self._pending = 0
        stream.set_close_callback(self._lost)
        protocol.connection_made(self)
        self._read()

    def is_reading(self) -> bool:
        """Whether bytes are handed on."""
        return not self._paused and not self.is_closing()

    def pause_reading(self) -> None:
        """Hand nothing on. Apart from one chunk, what arrives stays in the socket of the client."""
        self._paused = True

    def resume_reading(self) -> None:
        """Hand bytes on again, from the next turn of the loop on."""
        if self._paused:
            self._paused = False
            if self._held:
                self._loop.call_soon(self._hand_on)
            else:
                self._read()

    def get_write_buffer_size(self) -> int:
        """Return the number of pending bytes."""
        return self._pending

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes as TLS records of their own."""
        if self.is_closing():
            return
        size = len(data)
        self._pending += size
        if self._pending > HIGH_WATER and not self._full and self._protocol is not None:
            self._full = True
            self._protocol.pause_writing()
        with suppress(StreamClosedError):
            written = self._stream.write(bytes(data))
            written.add_done_callback(lambda done: self._written(done, size))

    def can_write_eof(self) -> bool:
        """Return False: TLS cannot end one direction alone."""
        return False

    def is_closing(self) -> bool:
        """Whether nothing more is written."""
        return self._closing or self._stream.closed()

    def close(self) -> None:
        """Close the stream when everything is written."""
        if not self._closing:
            self._closing = True
            if not self._pending:
                self.abort()

    def abort(self) -> None:
        """Close the stream at once."""
        self._closing = True
        self._stream.close()

    def _read(self) -> None:
        if self._paused or self._closing or self._reading is not None or self._held:
            return
        with suppress(StreamClosedError):  # `_lost` is called, too
            self._reading = asyncio.ensure_future(self._stream.read_bytes(CHUNK, partial=True))
            self._reading.add_done_callback(self._arrived)

    def _arrived(self, reading: asyncio.Future[bytes]) -> None:
        self._reading = None
        if reading.exception() is None:
            self._held = reading.result()
            self._hand_on()

    def _hand_on(self) -> None:
        if self._paused or self._closing or self._protocol is None:
            return
        data, self._held = self._held, b""
        try:
            self._protocol.data_received(data)
        except BaseException:
            self.abort()
            raise
        self._read()

    def _written(self, done: asyncio.Future[None], size: int) -> None:
        self._pending -= size
        if done.exception() is not None or self._protocol is None:
            return
        if self._full and self._pending <= LOW_WATER:
            self._full = False
            self._protocol.resume_writing()
        if self._closing and not self._pending:
            self.abort()

    def _lost(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(self._stream.error if isinstance(self._stream.error, Exception) else None)
