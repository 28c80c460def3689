"""The frame loop: one WebSocket on an asyncio transport, with frames read in bulk and writes coalesced.

It replaces the loop of Tornado, which reads each frame in two to four small reads and makes a task for each frame that
it writes.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Protocol, cast

from mcp_actors.ws.frames import (
    NORMAL,
    PONG,
    Control,
    FrameError,
    FrameReader,
    Receiver,
    Unmask,
    write_close,
    write_frame,
)
from mcp_actors.ws.socket_state import SocketState, limit_receive_buffer, reset_on_close, socket_state
from mcp_actors.ws.write_coalescer import FrameWriter, WriteCoalescer

if TYPE_CHECKING:
    from mcp_actors.ws.fair_scheduler import FairScheduler

CLOSE_TIMEOUT = 5.0
"""Seconds for a client to answer a close frame, or to go after a protocol error."""

REST = 0.001
"""Seconds without reading after each full batch of frames, so that a flood takes only a part of the CPU.

It limits one connection to 8,000 messages a second. Beside a flood, p99 of other rooms was 2.5 to 4.7 ms without it,
and 0.7 to 1.9 ms with it.
"""

FLOODING = 1.0
"""How long a client stays in the fair queue, in seconds, after connecting, after a full batch or after a pause."""


MUCH = 65_536
"""Bytes of incomplete messages, or of those that arrived during a pause, of which the receiver is told at once."""


class ConnectionReceiver(Receiver, Protocol):
    """Receives the messages of a connection, and is told about its state."""

    def writable(self, writable: bool) -> None:
        """The socket accepts more, or its buffer is full."""

    def buffers_grew(self) -> object:
        """Much of what arrived is kept; see `FrameLoop.state`."""

    def closing(self, code: int | None) -> None:
        """The peer closes, or broke the protocol: nothing sent from now on arrives."""

    def lost(self, code: int | None) -> None:
        """The socket is gone; `code` is that of the peer's close frame."""


class FrameLoops:
    """The parts that all frame loops of one event loop share.

    `receive_buffer`: bytes that the kernel buffers of what a client sends; 0 changes nothing.
    """

    __slots__ = ("coalescer", "receive_buffer", "scheduler", "unmask")

    def __init__(
        self, coalescer: WriteCoalescer, scheduler: FairScheduler, unmask: Unmask, receive_buffer: int = 0
    ) -> None:
        self.coalescer = coalescer
        self.scheduler = scheduler
        self.unmask = unmask
        self.receive_buffer = receive_buffer


class FrameLoop(FrameWriter):
    """One WebSocket: answers pings, closes by handshake, and stops reading when asked to or when the client floods.

    It is an `asyncio.Protocol` by its methods: a compiled class cannot have one as its base.

    Call `serve` before the transport is connected. Closed while paused, it reads nothing more: its last frame ends
    the stream, and the rest of a flood stays in the socket of the client.
    """

    __slots__ = (
        *("_close_code", "_close_timer", "_deaf", "_flooding_until", "_late_pong", "_look_at", "_paused", "_queued"),
        *("_reader", "_receive_buffer"),
        *("_receiver", "_rest", "_rest_timer", "_scheduler", "_writable", "early", "received"),
    )

    has_pings = True

    def __init__(self, loops: FrameLoops, max_message: int) -> None:
        super().__init__(loops.coalescer)
        self._receiver = cast("ConnectionReceiver", None)
        self.early = b""
        """Bytes that arrived with the handshake."""
        self.received = 0
        """Bytes that have arrived so far."""
        self._look_at = MUCH
        self._scheduler = loops.scheduler
        self._receive_buffer = loops.receive_buffer
        self._reader = FrameReader(self._receiver, self, max_message, loops.unmask)
        self._flooding_until = inf  # nothing is known before the first frames
        self._paused = False
        """Whether the receiver asked for a pause."""
        self._queued = False
        """Whether reading waits for a rest to end or for a turn."""
        self._deaf = False
        self._writable = True
        self._late_pong: bytes | None = None
        self._rest = REST
        self._rest_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._close_code: int | None = None

    def serve(self, receiver: ConnectionReceiver) -> None:
        """Report to a receiver."""
        self._receiver = self._reader.receiver = receiver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, and send what waited for it."""
        self._transport = cast("asyncio.Transport", transport)
        if self._receive_buffer:
            limit_receive_buffer(transport, self._receive_buffer)
        self.flush()
        if self._paused:
            self._stop_reading()
        if self._deaf:
            self._stop_listening()
        early, self.early = self.early, b""
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Read bytes; those of a flooding client when its turn comes."""
        self.received += len(data)
        reader = self._reader
        if self._flooding_until and not reader.paused and not self._take_turn():
            self._queue()
        try:
            reader.receive(data)
        except FrameError as error:
            self._fail(error)
        if self.received > self._look_at:
            self._look_at = self.received + MUCH
            if reader.kept > MUCH:
                self._receiver.buffers_grew()

    def eof_received(self) -> None:
        """The client has ended its stream; the transport closes."""

    def pause_writing(self) -> None:
        """The client reads more slowly than the server sends."""
        self._writable = False
        self._receiver.writable(False)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable = True
        if self._late_pong is not None:
            self.ping_received(self._late_pong)
        self._receiver.writable(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.closing = True
        self._transport = self._parts = None
        self._reader.end()
        for timer in (self._close_timer, self._rest_timer):
            if timer is not None:
                timer.cancel()
        self._receiver.lost(self._close_code)
        self.serve(cast("ConnectionReceiver", None))  # they refer to each other
        self._reader.control = cast("Control", None)  # so do these

    def ping_received(self, data: bytes) -> None:
        """Answer a ping, or remember the latest while the client does not read (RFC 6455, section 5.5.3)."""
        self._late_pong = None if self._writable else data
        if self._writable and not self.closing:
            self._write(write_frame(PONG, data), b"")

    def close_received(self, code: int | None) -> None:
        """Answer a close frame, or take it as the answer to the server's, and hang up."""
        self._close_code = code
        if not self.closing:
            self._begin_close(NORMAL if code is None else code, "")
            self._receiver.closing(code)
        if self._transport is not None:
            self.flush()
            self._transport.close()

    def batch_ended(self) -> None:
        """Rest after a full batch: a client that sends more at once is slowed at its own socket."""
        self._queued = True
        self._stop_reading()
        self._rest_timer = asyncio.get_running_loop().call_later(self._rest, self._continue)

    def pause(self) -> None:
        """Stop reading."""
        if not self.closing:
            self._paused = self._reader.paused = True
            self._stop_reading()

    def resume(self) -> None:
        """Read again after `pause`."""
        self._paused = False
        if self._transport is not None and not self._queued:
            self._continue()
        elif self._transport is None:  # it is not connected yet
            self._reader.paused = False

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and hang up when the client answers it or after `CLOSE_TIMEOUT`."""
        if not self.closing:
            self._begin_close(code, reason)
            if self._paused:
                self._stop_listening()

    def abort(self) -> None:
        """Drop the connection at once, and what the kernel has queued for it if that is much."""
        if self._transport is not None:
            reset_on_close(self._transport)
        super().abort()

    def state(self) -> SocketState:
        """Return what waits in the buffers of this connection."""
        transport, pending = self._transport, 0 if self._parts is None else self._size
        if transport is None:
            return SocketState(pending, waiting=False, taken=None)
        memory, waiting, taken = socket_state(transport)
        written = transport.get_write_buffer_size()
        return SocketState(memory + written + pending + self._reader.kept, waiting or written > 0, taken)

    def _take_turn(self) -> bool:
        """Whether the client may be read now: it has not flooded lately, or no other flooding client has a turn."""
        now = asyncio.get_running_loop().time()
        if self._flooding_until < now:
            self._flooding_until = 0.0
            return True
        self._flooding_until = min(self._flooding_until, now + FLOODING)
        return self._scheduler.take()

    def _queue(self) -> None:
        self._queued = self._reader.paused = True
        self._stop_reading()
        self._scheduler.wait(self._read_on)

    def _continue(self) -> None:
        """Read on after a rest or a pause, in turn with the other flooding clients."""
        self._rest_timer = None
        self._flooding_until = asyncio.get_running_loop().time() + FLOODING
        if self._take_turn():
            self._read_on()
        else:
            self._queue()

    def _read_on(self) -> None:
        self._queued = False
        transport = self._transport
        if transport is None or transport.is_closing() or self._paused or self._deaf:
            return
        try:
            self._reader.resume()
        except FrameError as error:
            self._fail(error)
        if self._transport is not None and not self._reader.paused and not self._deaf:
            transport.resume_reading()

    def _stop_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _stop_listening(self) -> None:
        """Read nothing more, and end the stream, so that the client need not wait to read the close frame."""
        self._deaf = True
        self._reader.end()
        self._stop_reading()
        self._end_stream()

    def _end_stream(self) -> None:
        if self._transport is not None and self._transport.can_write_eof():
            self.flush()
            self._transport.write_eof()

    def _begin_close(self, code: int, reason: str) -> None:
        self.closing = self._reader.closing = True
        self._rest = 0.0
        self._write(write_close(code, reason), b"")
        self._close_timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    def _fail(self, error: FrameError) -> None:
        """Close for a protocol error.

        The client is left to hang up: bytes that it still sends would else reset the socket before it has read the
        close frame.
        """
        if not self.closing:
            self._begin_close(error.code, str(error))
            self._receiver.closing(error.code)
        self._end_stream()
