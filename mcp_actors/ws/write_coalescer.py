"""Coalesces writes: all frames that a connection sends in one turn of the event loop go to its socket in one piece.

Each further write to a socket in the same turn costs uvloop 4 us, as much as the first with its system call: sending
three frames in a turn cost 12.5 us one by one, and 5 us in one piece.

Bulk frames, each one of many with the same message, are written over several turns. They hold up no other connection,
and when they come faster than they are written, what has come meanwhile is written together.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

import structlog

from mcp_actors.ws.frames import BINARY, PING, TEXT, frame_header

log = structlog.get_logger("mcp_actors.ws")

MAX_PENDING = 65_536
"""Bytes that are written before the turn ends, so that a full socket is noticed."""

BULK_WRITES = 6
"""Connections to which bulk frames are written in one turn. Each takes some 5 us.

So few that frames gather when broadcasts follow each other: with twice as many, a delivery to a room of 200 took a
quarter more CPU.
"""


class Flushable(Protocol):
    """A connection with pending frames."""

    def flush(self) -> None:
        """Write them, in one piece."""

    def abort(self) -> None:
        """Drop the connection."""


class WriteCoalescer:
    """Flushes the connections that have pending frames, at the end of a turn or, if these are bulk frames, in turn."""

    __slots__ = ("_bulk", "_pending")

    def __init__(self) -> None:
        self._pending: list[Flushable] = []
        self._bulk: OrderedDict[Flushable, None] = OrderedDict()

    def flush_soon(self, connection: Flushable) -> None:
        """Flush a connection when everything due in this turn is done."""
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._flush)
        self._pending.append(connection)

    def flush_in_turn(self, connection: Flushable) -> None:
        """Flush a connection with bulk frames when its turn has come."""
        if not self._bulk:
            asyncio.get_running_loop().call_soon(self._flush_bulk)
        self._bulk[connection] = None

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for connection in pending:
            _flush(connection)

    def _flush_bulk(self) -> None:
        bulk = self._bulk
        for _ in range(min(BULK_WRITES, len(bulk))):
            _flush(bulk.popitem(last=False)[0])
        if bulk:
            asyncio.get_running_loop().call_soon(self._flush_bulk)


def _flush(connection: Flushable) -> None:
    try:
        connection.flush()
    except Exception:  # must not keep the others from their frames
        log.exception("write failed")
        connection.abort()


class FrameWriter:
    """The sending side of one connection. Frames sent before there is a transport wait for it."""

    __slots__ = ("_coalescer", "_is_bulk", "_parts", "_size", "_transport", "closing", "written")

    def __init__(self, coalescer: WriteCoalescer) -> None:
        self.closing = False
        """Whether a close frame was sent or received, or the socket is gone: no more messages are sent."""
        self.written = 0
        """Bytes that were written so far."""
        self._coalescer = coalescer
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] | None = None
        self._size = 0
        self._is_bulk = False
        """Whether all pending frames are bulk frames."""

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> None:
        """Send one text message in two parts. `body` is copied once, when the pending frames are joined."""
        if not self.closing:
            self._write(frame_header(TEXT, len(prefix) + len(body)) + prefix, body, bulk)

    def send_binary(self, data: bytes) -> None:
        """Send one binary message."""
        if not self.closing:
            self._write(frame_header(BINARY, len(data)), data)

    def ping(self, data: bytes) -> None:
        """Send a ping with at most 125 bytes."""
        if not self.closing:
            self._write(frame_header(PING, len(data)), data)

    def flush(self) -> None:
        """Write the pending frames."""
        transport, parts = self._transport, self._parts
        if transport is not None and parts is not None:
            self._parts = None
            if not transport.is_closing():
                data = b"".join(parts)
                self.written += len(data)
                transport.write(data)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, head: bytes, body: bytes, bulk: bool = False) -> None:
        parts = self._parts
        if parts is None:
            self._parts, self._size, self._is_bulk = [head, body], len(head) + len(body), bulk
            if bulk:
                self._coalescer.flush_in_turn(self)
            else:
                self._coalescer.flush_soon(self)
            return
        if self._is_bulk and not bulk:
            self._is_bulk = False
            self._coalescer.flush_soon(self)
        parts.append(head)
        parts.append(body)
        self._size += len(head) + len(body)
        if self._size > MAX_PENDING:
            self.flush()
