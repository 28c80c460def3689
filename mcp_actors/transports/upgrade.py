"""After the handshake: which frame loop a connection gets, and how its socket moves to ours.

The handshake is Tornado's own, and so is TLS; compression stays with its own loop.
"""

from __future__ import annotations

import asyncio
import re
import socket
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from tornado.httputil import HTTPHeaders
from tornado.iostream import SSLIOStream, StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketProtocol13, _WebSocketParams

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.transports.encrypted import StreamTransport
from mcp_actors.transports.frame_loop import BREATHER, FrameLoop
from mcp_actors.transports.frames import BINARY, NORMAL, PING, PONG, TEXT, TURN, write_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tornado.iostream import IOStream
    from tornado.websocket import WebSocketHandler, WebSocketProtocol

    from mcp_actors.transports.frame_loop import Receiver
    from mcp_actors.transports.turns import Turns
    from mcp_actors.transports.writes import Writes

_PARAMETER = r"(server|client)_no_context_takeover|client_max_window_bits|(server|client)_max_window_bits=(9|1[0-5])"
_OFFER = re.compile(rf"permessage-deflate( *; *({_PARAMETER}))*")

EARLY = 65_536
"""Bytes taken at once of what arrived with the handshake."""

LOUD_TURN = 0.016
"""Seconds for the frames of a turn. Who sends as many in less is loud: that is faster than 500 a second."""

MAX_EARLY = 1_048_576
"""Bytes a client may send before it has read the answer to its handshake."""


class FastWebSocket(WebSocketProtocol13):
    """Tornado's handshake, then a `FrameLoop`."""

    def __init__(self, receiver: Receiver, writes: Writes, turns: Turns, max_message: int) -> None:
        params = _WebSocketParams(None, None, max_message, None)
        super().__init__(cast("Any", receiver), mask_outgoing=False, params=params)
        self._receiver = receiver
        self.frame_loop = FrameLoop(receiver, writes, turns, max_message)

    async def _receive_frame_loop(self) -> None:
        """Move the socket; from here on its frames come through callbacks, and no coroutine waits for them."""
        stream = self.stream
        try:
            await stream.write(b"")  # until the handshake is on its way, whole
            if isinstance(stream, SSLIOStream):
                self._forget_handshake()
                StreamTransport(stream, self.frame_loop)
                return
            moved, self.frame_loop.early = take_socket(stream)
            self._forget_handshake()
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self.frame_loop, moved)
        except (StreamClosedError, OSError):
            self.frame_loop.connection_lost(None)

    def _forget_handshake(self) -> None:
        """Let go of the HTTP connection, and of the stream here: the larger half of an idle connection's memory."""
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
    """Tornado's own loop, but a loud client takes turns, and a bad compressed message ends its connection quietly.

    Tornado handles what a read of 64 KiB holds without letting others in: up to 10,000 frames, a third of a second.
    """

    def __init__(self, handler: WebSocketHandler, turns: Turns, params: Any) -> None:
        super().__init__(handler, mask_outgoing=False, params=params)
        self._receiver = cast("Receiver", handler)
        self._turns = turns
        self._frames, self._turn_began = 0, 0.0
        self._is_new = True
        self._whole = False
        self._deaf = False
        self._gone: asyncio.Future[None] | None = None

    async def _receive_frame(self) -> None:
        self._frames += 1
        if self._frames > TURN:
            await self._rest()
        if self._deaf:
            await self._until_gone()
        self._whole = False
        await super()._receive_frame()
        if not self._whole and not self.is_closing() and (work := self._receiver.on_extra(0)) is not None:
            await self._waited_for(work)

    async def _read_bytes(self, n: int) -> bytes:
        data = await super()._read_bytes(n)
        if self._is_new:  # its first words are not known yet
            self._is_new = False
            await self._begin_turn()
        return data

    def _handle_message(self, opcode: int, data: bytes) -> Any:
        self._whole = True
        work: Awaitable[Any] | None = super()._handle_message(opcode, data)
        if opcode in (PING, PONG) and not self.is_closing():
            work = self._receiver.on_extra(len(data))
        return None if work is None else self._waited_for(work)

    async def _waited_for(self, work: Awaitable[Any]) -> None:
        """Wait until some work is done; who has others wait for its messages takes turns with the loud."""
        await work
        await self._begin_turn()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send a close frame. After one for a flood the rest of it stays in the client's own socket."""
        super().close(code, reason)
        if code == CloseCode.RATE_LIMITED and not self._deaf:
            self._deaf = True
            self._say_no_more()

    def _say_no_more(self) -> None:
        """End what the client reads, with the close frame: it need not wait for the end of what it writes."""
        if self.stream.closed() or isinstance(self.stream, SSLIOStream):
            return
        plain = self.stream.socket

        def end(written: asyncio.Future[None]) -> None:
            if written.exception() is None:
                _shut(plain)

        self.stream.write(b"").add_done_callback(end)

    async def _until_gone(self) -> None:
        """Wait for the end of the connection, which Tornado sees to some seconds after a close frame."""
        self._gone = asyncio.get_running_loop().create_future()
        if not self.stream.closed():
            await self._gone
        raise StreamClosedError

    def _abort(self) -> None:
        super()._abort()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def _rest(self) -> None:
        """After the frames of a turn let others have theirs, all that are loud; who is not loud waits for nobody."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._turn_began < LOUD_TURN:
            await asyncio.sleep(BREATHER)
            await self._begin_turn()
        else:
            self._frames, self._turn_began = 1, loop.time()

    async def _begin_turn(self) -> None:
        await self._turns.turn()
        self._frames, self._turn_began = 1, asyncio.get_running_loop().time()

    async def _receive_frame_loop(self) -> None:
        try:
            await super()._receive_frame_loop()
        except zlib.error:
            self._abort()


def _shut(plain: socket.socket) -> None:
    with suppress(OSError):
        plain.shutdown(socket.SHUT_WR)


def wants_compression(handler: WebSocketHandler) -> bool:
    """Whether a client offers compression, and the handler has options for it."""
    offer = handler.request.headers.get("Sec-WebSocket-Extensions", "")
    return handler.get_compression_options() is not None and "permessage-deflate" in offer


def understood(offer: str) -> bool:
    """Whether Tornado can read an offer of extensions, which it does without checking."""
    return all(_OFFER.fullmatch(part.strip()) for part in offer.split(","))


def fast_or_stock(
    handler: WebSocketHandler, stock: WebSocketProtocol | None, writes: Writes | None, turns: Turns
) -> WebSocketProtocol | None:
    """The protocol of a connection: ours, but Tornado's where both want compression, and without a writes."""
    if stock is None:
        return None
    if writes is None or wants_compression(handler):
        return StockWebSocket(handler, turns, cast("WebSocketProtocol13", stock).params)
    return FastWebSocket(cast("Any", handler), writes, turns, handler.max_message_size)


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
    stream.io_loop.remove_handler(stream.fileno())
    stream._state = None  # noqa: SLF001 - it watches nothing any more; a copy of its socket would need one more file
    moved = socket.socket(fileno=stream.socket.detach())
    moved.setblocking(False)
    stream.close()
    return moved, bytes(early)
