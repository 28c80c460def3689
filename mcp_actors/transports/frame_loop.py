"""The fast frame loop: after Tornado's handshake the socket moves to an asyncio transport; its frames are read in bulk.

Stock Tornado reads each frame in two to four small reads and makes a task for each frame it writes. The handshake stays
Tornado's own, and everything that it offers beyond plain frames (TLS, compression) stays with its own loop.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from tornado.httputil import HTTPHeaders
from tornado.iostream import SSLIOStream, StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketProtocol13, _WebSocketParams

from mcp_actors.transports.frames import (
    BINARY,
    NORMAL,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    write_close,
    write_frame,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine

    from tornado.iostream import IOStream
    from tornado.websocket import WebSocketHandler, WebSocketProtocol

    from mcp_actors.transports.frames import Framer

_PARAMETER = r"(server|client)_no_context_takeover|client_max_window_bits|(server|client)_max_window_bits=(9|1[0-5])"
_OFFER = re.compile(rf"permessage-deflate( *; *({_PARAMETER}))*")

CLOSE_TIMEOUT = 5.0
"""Seconds a client has to answer a close frame, or to go after it broke the protocol."""

BREATHER = 0.001
"""Seconds that a client waits after each full turn of frames: a flood then takes a part of the CPU, not all of it.

It limits one connection to 8,000 messages a second. Beside a flood, p99 of other rooms was 2.5 to 4.7 ms without
it, and 0.7 to 1.9 ms with it.
"""

EARLY = 65_536
"""Bytes taken at once of what arrived with the handshake."""

MAX_EARLY = 1_048_576
"""Bytes a client may send before it has read the answer to its handshake."""


class Receiver(Protocol):
    """The handler of one connection."""

    request: Any

    def on_frame(self, frame: bytes) -> Coroutine[Any, Any, Any] | None:
        """Handle a text message; while what it returns runs, nothing more is read."""

    def on_message(self, message: str | bytes) -> Coroutine[Any, Any, Any] | None:
        """Handle a binary message, likewise."""

    def on_pong(self, data: bytes) -> None:
        """Handle a pong."""

    def on_writable(self, writable: bool) -> None:
        """Hear whether the socket takes more, or has enough for now."""

    def on_closing(self) -> None:
        """Hear that the client closes, or broke the protocol: nothing that is written from now on reaches it."""

    def on_ws_connection_close(self, close_code: int | None = None, close_reason: str | None = None) -> None:
        """Hear that the connection is gone, and what the client said of it."""


class FrameLoop(asyncio.Protocol):
    """One WebSocket on an asyncio transport: the closing handshake, pings answered, and pauses."""

    __slots__ = (
        *("_busy", "_close_code", "_close_reason", "_farewell", "_framer", "_late_pong", "_reader", "_receiver"),
        *("_rest", "_timer", "_transport", "_writable", "closing", "early", "heard"),
    )

    def __init__(self, receiver: Receiver, framer: Framer, max_message: int) -> None:
        self.closing = False
        self.early = b""
        self._receiver = receiver
        self._framer = framer
        self._reader = FrameReader(self, max_message)
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._late_pong: bytes | None = None
        self._farewell: bytes | None = None
        self._busy: asyncio.Task[Any] | None = None
        self._rest: asyncio.TimerHandle | None = None
        self.heard = True
        self._timer: asyncio.TimerHandle | None = None
        self._close_code: int | None = None
        self._close_reason: str | None = None

    # ------------------------------------------------------------------------------------------------------- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = cast("asyncio.Transport", transport)
        if self._farewell is not None:
            self.write(self._farewell)
        early, self.early = self.early, b""
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Read what arrived."""
        self.heard = True
        try:
            self._reader.receive(data)
        except FrameError as error:
            self._fail(error)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        self._writable = False
        self._receiver.on_writable(False)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable = True
        if self._late_pong is not None:
            self.on_ping(self._late_pong)
        self._receiver.on_writable(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.closing = True
        self._transport = None
        self._reader.end()
        for handle in (self._timer, self._rest):
            if handle is not None:
                handle.cancel()
        self._receiver.on_ws_connection_close(self._close_code, self._close_reason)
        del self._receiver, self._reader  # else the handler and this would keep each other for the garbage collector

    # --------------------------------------------------------------------------------------------------------- incoming

    def on_text(self, payload: bytes) -> None:
        """See `Sink`."""
        if not self.closing:
            work = self._receiver.on_frame(payload)
            if work is not None:
                self._wait(work)

    def on_binary(self, payload: bytes) -> None:
        """See `Sink`."""
        if not self.closing:
            work = self._receiver.on_message(payload)
            if work is not None:
                self._wait(work)

    def on_ping(self, payload: bytes) -> None:
        """Answer, or remember the latest while the client does not read (RFC 6455, section 5.5.3)."""
        if self._writable:
            self._late_pong = None
            if not self.closing:
                self.write(write_frame(PONG, payload))
        else:
            self._late_pong = payload

    def on_pong(self, payload: bytes) -> None:
        """See `Sink`."""
        self._receiver.on_pong(payload)

    def on_close(self, code: int | None, reason: str) -> None:
        """Answer the client's close frame, or take it for the answer to ours; either way the server hangs up."""
        self._close_code, self._close_reason = code, reason
        if not self.closing:
            self.closing = True
            self.write(write_close(NORMAL if code is None else code, ""))
            self._hang_up_in_time()
            self._receiver.on_closing()
        if self._transport is not None:
            self._transport.close()

    def on_turn(self) -> None:
        """Let others have theirs: a client that sends more than a turn at once is slowed at its own socket."""
        self._pause()
        self._rest = asyncio.get_running_loop().call_later(0 if self.closing else BREATHER, self._rested)

    def _rested(self) -> None:
        self._rest = None
        self._resume()

    def _wait(self, work: Coroutine[Any, Any, Any]) -> None:
        """Read nothing more until some work is done."""
        self._reader.paused = True
        self._pause()
        self._busy = asyncio.get_running_loop().create_task(work)
        self._busy.add_done_callback(self._worked)

    def _worked(self, _done: object) -> None:
        self._busy = None
        self._resume()

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Read on. The reader is paused for one reason at a time, a rest or some work; this is called when it ends."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        try:
            self._reader.resume()
        except FrameError as error:
            self._fail(error)
        if not self._reader.paused:
            transport.resume_reading()

    # --------------------------------------------------------------------------------------------------------- outgoing

    def write(self, frame: bytes) -> bool:
        """Write a frame; False if the socket is gone. uvloop gathers the writes of one turn of the loop."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(frame)
        return True

    def write_text(self, payload: bytes) -> None:
        """Write a text message. Raises `WebSocketClosedError`."""
        transport = self._transport
        if transport is None or self.closing or transport.is_closing():
            raise WebSocketClosedError
        transport.write(self._framer.text(payload))

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and hang up when the client answers it or has had its time."""
        if self.closing:
            return
        self.closing = True
        if self._transport is None:
            self._farewell = write_close(code, reason)
        else:
            self.write(write_close(code, reason))
        self._hang_up_in_time()

    def _hang_up_in_time(self) -> None:
        """Abort where the client neither answers nor reads what is still to be written."""
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: FrameError) -> None:
        """Say what the client broke, and close when it hangs up: closed before, what it still sends would undo that."""
        if not self.closing:
            self.close(error.code, str(error))
            self._receiver.on_closing()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()


class FastWebSocket(WebSocketProtocol13):
    """Tornado's handshake, then a `FrameLoop`."""

    def __init__(self, receiver: Receiver, framer: Framer, max_message: int) -> None:
        params = _WebSocketParams(None, None, max_message, None)
        super().__init__(cast("Any", receiver), mask_outgoing=False, params=params)
        self._receiver = receiver
        self.frame_loop = FrameLoop(receiver, framer, max_message)

    async def _receive_frame_loop(self) -> None:
        """Move the socket; from here on its frames come through callbacks, and no coroutine waits for them."""
        try:
            await self.stream.write(b"")  # until the handshake is on its way, whole
            moved, self.frame_loop.early = take_socket(self.stream)
            self._forget_handshake()
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self.frame_loop, moved)
        except (StreamClosedError, OSError):
            self.frame_loop.connection_lost(None)

    def _forget_handshake(self) -> None:
        """Let go of the HTTP connection and the stream: the larger half of an idle connection's memory."""
        request = self._receiver.request
        request.connection = request.server_connection = None
        request.headers = HTTPHeaders()
        self.stream = cast("IOStream", None)

    def write_message(self, message: str | bytes | dict[str, Any], binary: bool = False) -> asyncio.Future[None]:
        """Write a message as Tornado's handlers do; the future is done, `Receiver.on_writable` tells when to wait."""
        if isinstance(message, dict):
            raise TypeError("a message is text or bytes")
        payload = message.encode() if isinstance(message, str) else message
        if self.is_closing() or not self.frame_loop.write(write_frame(BINARY if binary else TEXT, payload)):
            raise WebSocketClosedError
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def write_ping(self, data: bytes) -> None:
        """Write a ping."""
        if not self.is_closing():
            self.frame_loop.write(write_frame(PING, data))

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Begin the closing handshake; see `WebSocketHandler.close`."""
        self.frame_loop.close(NORMAL if code is None else code, reason or "")

    def is_closing(self) -> bool:
        """Whether nothing more may be written."""
        return self.frame_loop.closing

    def _abort(self) -> None:
        self.frame_loop.abort()
        if self.stream is not None:
            self.stream.close()

    def start_pinging(self) -> None:
        """One heartbeat serves all connections; see `Connections`."""


class StockWebSocket(WebSocketProtocol13):
    """Tornado's own loop, but a compressed message that cannot be read ends its connection, not in an error log."""

    async def _receive_frame_loop(self) -> None:
        try:
            await super()._receive_frame_loop()
        except zlib.error:
            self._abort()


def wants_compression(handler: WebSocketHandler) -> bool:
    """Whether a client offers compression, and the handler has options for it."""
    offer = handler.request.headers.get("Sec-WebSocket-Extensions", "")
    return handler.get_compression_options() is not None and "permessage-deflate" in offer


def understood(offer: str) -> bool:
    """Whether Tornado can read an offer of extensions, which it does without checking."""
    return all(_OFFER.fullmatch(part.strip()) for part in offer.split(","))


def fast_or_stock(
    handler: WebSocketHandler, stock: WebSocketProtocol | None, framer: Framer | None
) -> WebSocketProtocol | None:
    """The protocol of a connection: ours, but Tornado's for TLS, where both want compression, and without a framer."""
    if stock is None:
        return None
    if framer is None or wants_compression(handler):
        return StockWebSocket(handler, mask_outgoing=False, params=cast("WebSocketProtocol13", stock).params)
    if isinstance(getattr(handler.request.connection, "stream", None), SSLIOStream):
        return stock
    return FastWebSocket(cast("Any", handler), framer, handler.max_message_size)


def take_socket(stream: IOStream) -> tuple[socket.socket, bytes]:
    """Take the socket out of a Tornado stream, with what the stream has read ahead. The stream is closed after it.

    Nothing is lost: as long as the stream has bytes, or its socket has, a read of it is done at once. Raises OSError,
    or StreamClosedError when the client is gone or sent more than `MAX_EARLY`.
    """
    early = bytearray()
    while (read := asyncio.ensure_future(stream.read_bytes(EARLY, partial=True))).done():
        early += read.result()
        if len(early) > MAX_EARLY:
            stream.close()
            raise StreamClosedError
    read.add_done_callback(lambda closed: closed.exception())
    moved = stream.socket.dup()
    moved.setblocking(False)
    stream.close()
    return moved, bytes(early)
