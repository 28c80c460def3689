"""A transport for the fast frame loop where its socket cannot move: TLS under way stays with the stream that began it.

A plain socket moves to the event loop's own transport, which costs less; see `upgrade`.
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
"""Bytes that wait to be written when the protocol is told to pause, and to go on: those of asyncio's transports."""


class StreamTransport(asyncio.Transport):
    """What asyncio's protocols expect of a transport, by a Tornado stream whose first bytes may have come already."""

    __slots__ = (*("_closing", "_full", "_held", "_loop", "_paused", "_protocol", "_reading", "_stream", "_waiting"),)

    def __init__(self, stream: IOStream, protocol: asyncio.Protocol) -> None:
        """Raises `StreamClosedError` where the client is gone."""
        super().__init__()
        if stream.closed():
            raise StreamClosedError(stream.error)
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._protocol: asyncio.Protocol | None = protocol
        self._reading: asyncio.Future[bytes] | None = None
        self._held = b""  # what arrived after reading was paused
        self._paused = self._closing = self._full = False
        self._waiting = 0
        stream.set_close_callback(self._lost)
        protocol.connection_made(self)
        self._read()

    # ---------------------------------------------------------------------------------------------------------- reading

    def is_reading(self) -> bool:
        """Whether what arrives is handed on."""
        return not self._paused and not self.is_closing()

    def pause_reading(self) -> None:
        """Hand nothing on; what arrives stays in the client's own socket, but for one chunk."""
        self._paused = True

    def resume_reading(self) -> None:
        """Hand on again, from the next round of the loop on."""
        if self._paused:
            self._paused = False
            if self._held:
                self._loop.call_soon(self._hand_on)
            else:
                self._read()

    def _read(self) -> None:
        if self._paused or self._closing or self._reading is not None or self._held:
            return
        with suppress(StreamClosedError):  # `_lost` is called by itself
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

    # ---------------------------------------------------------------------------------------------------------- writing

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the client to read."""
        return self._waiting

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, as a TLS record of its own: see `Writes`, which gathers frames."""
        if self.is_closing():
            return
        size = len(data)
        self._waiting += size
        if self._waiting > HIGH_WATER and not self._full and self._protocol is not None:
            self._full = True
            self._protocol.pause_writing()
        with suppress(StreamClosedError):
            written = self._stream.write(bytes(data))
            written.add_done_callback(lambda done: self._written(done, size))

    def _written(self, done: asyncio.Future[None], size: int) -> None:
        self._waiting -= size
        if done.exception() is not None or self._protocol is None:
            return
        if self._full and self._waiting <= LOW_WATER:
            self._full = False
            self._protocol.resume_writing()
        if self._closing and not self._waiting:
            self.abort()

    def can_write_eof(self) -> bool:
        """TLS has no half that could be closed alone."""
        return False

    # -------------------------------------------------------------------------------------------------------------- end

    def is_closing(self) -> bool:
        """Whether nothing more is taken."""
        return self._closing or self._stream.closed()

    def close(self) -> None:
        """Hang up when all is written."""
        if not self._closing:
            self._closing = True
            if not self._waiting:
                self.abort()

    def abort(self) -> None:
        """Hang up at once."""
        self._closing = True
        self._stream.close()

    def _lost(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(self._stream.error if isinstance(self._stream.error, Exception) else None)
