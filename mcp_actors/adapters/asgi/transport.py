"""A WebSocket of an ASGI server: messages in and out, with back-pressure in both directions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import structlog

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.ws.frames import BATCH
from mcp_actors.ws.socket_state import SocketState

if TYPE_CHECKING:
    from mcp_actors.adapters.asgi.interface import Message, Receive, Send
    from mcp_actors.ws.fair_scheduler import FairScheduler

log = structlog.get_logger("mcp_actors.connection")

HIGH_WATER, LOW_WATER = 65_536, 16_384
"""Bytes that wait for the ASGI server at which the connection is told to hold back, and to go on."""

CLOSE_TIMEOUT = 5.0
"""Seconds for the ASGI server to take what waits and a close frame."""

REST = 0.001
"""Seconds without reading after a batch of messages that came faster than that; see `ws.frame_loop`."""

NO_CODE, LOST = 1005, 1006
"""Codes of `websocket.disconnect` for a close frame without a code, and for no close frame."""


class ConnectionReceiver(Protocol):
    """The connection of a client, as its transport sees it."""

    @property
    def id(self) -> int:
        """Its number in this process."""

    def frame_received(self, frame: bytes) -> None:
        """Handle one text message."""

    def binary_received(self, data: bytes) -> None:
        """Handle one binary message."""

    def writable(self, writable: bool) -> None:
        """The server takes more, or holds back."""

    def close(self, code: CloseCode) -> None:
        """Close the connection."""

    def closing(self, code: int | None) -> None:
        """The client closes."""

    def lost(self, code: int | None) -> None:
        """The client is gone."""


class AsgiTransport:
    """One accepted WebSocket. `max_message`: bytes of the longest message that is read and answered at all.

    Messages wait here while `send` of the server waits, and nothing is received while the connection has paused. The
    server itself reads frames, answers pings and sends its own.
    """

    has_pings = False

    def __init__(self, receive: Receive, send: Send, scheduler: FairScheduler, max_message: int) -> None:
        self.received = 0
        """Bytes of messages that have arrived so far."""
        self.written = 0
        """Bytes of messages that the server has taken so far."""
        self._receive = receive
        self._send = send
        self._scheduler = scheduler
        self._max_message = max_message
        self._loop = asyncio.get_running_loop()
        self._connection = cast("ConnectionReceiver", None)
        self._reader: asyncio.Task[object] | None = None
        self._resumed: asyncio.Future[None] | None = None  # while reading is paused
        self._pending: list[bytes] = []
        self._size = 0
        self._wake: asyncio.Future[None] | None = None  # while there is nothing to write
        self._writable = True
        self._close: Message | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._batch_began = 0.0

    async def serve(self, connection: ConnectionReceiver) -> None:
        """Carry the messages of a connection until it has ended."""
        self._connection = connection
        self._reader = asyncio.current_task()
        writer = self._loop.create_task(self._write())
        code: int | None = None
        try:
            code = await self._read()
        except asyncio.CancelledError:
            if not self._ended or self._reader is None or self._reader.uncancel():
                raise  # the server stops
        finally:
            self._reader, self._ended = None, True
            writer.cancel()
            if self._close_timer is not None:
                self._close_timer.cancel()
            connection.lost(code)
            self._connection = cast("ConnectionReceiver", None)  # they refer to each other

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> None:
        """Send one text message. Those to many at once are sent as others: the server writes each by itself."""
        if self._close is not None or self._ended:
            return
        frame = prefix + body
        self._pending.append(frame)
        self._size += len(frame)
        self._wake_writer()
        if self._size > HIGH_WATER and self._writable:
            self._writable = False
            self._connection.writable(False)

    def ping(self, data: bytes) -> None:
        """Do nothing: ASGI has no pings."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame behind what waits, and end."""
        if self._close is None and not self._ended:
            self._close = {"type": "websocket.close", "code": code, "reason": reason}
            self._close_timer = self._loop.call_later(CLOSE_TIMEOUT, self.abort)
            self._wake_writer()

    def abort(self) -> None:
        """Drop what waits, and leave the socket to the server."""
        if self._ended:
            return
        self._ended = True
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()

    def state(self) -> SocketState:
        """Return what waits for the server; the buffers of its sockets cannot be seen."""
        return SocketState(self._size, waiting=self._size > 0, taken=self.written)

    def pause(self) -> None:
        """Receive nothing until `resume`."""
        if self._resumed is None:
            self._resumed = self._loop.create_future()

    def resume(self) -> None:
        """Receive again."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    async def _read(self) -> int | None:
        """Hand messages on until the client closes or is lost; return the code of its close frame."""
        left = BATCH
        while not self._ended:
            await self._may_read()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return self._disconnected(message)
            await self._may_read()
            if not self._ended:
                self._received(message)
            left -= 1
            if not left:
                await self._rest()
                left = BATCH
        return None

    async def _may_read(self) -> None:
        while self._resumed is not None and not self._ended:
            await self._resumed

    def _received(self, message: Message) -> None:
        text: str | None = message.get("text")
        data: bytes = message["bytes"] if text is None else text.encode()
        self.received += len(data)
        if len(data) > self._max_message:
            self._connection.close(CloseCode.TOO_BIG)
        elif text is None:
            self._connection.binary_received(data)
        else:
            self._connection.frame_received(data)

    def _disconnected(self, message: Message) -> int | None:
        """Tell the connection of a close frame. A server that has seen one without a code gives a reason."""
        code: int = message.get("code", NO_CODE)
        if code == LOST or (code == NO_CODE and "reason" not in message):
            return None
        told = None if code == NO_CODE else code
        if self._close is None:
            self._connection.closing(told)
        return told

    async def _rest(self) -> None:
        """Wait after a batch that came fast, and for a turn among the clients that flood."""
        if self._loop.time() - self._batch_began < REST:
            await asyncio.sleep(REST)
            turn: asyncio.Future[None] = self._loop.create_future()
            self._scheduler.wait(lambda: None if turn.done() else turn.set_result(None))
            await turn
        self._batch_began = self._loop.time()

    def _wake_writer(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)

    async def _write(self) -> None:
        """Send what waits, as fast as the server takes it, and then the close frame."""
        connection = self._connection.id
        try:
            while self._close is None or self._pending:
                if not self._pending:
                    self._wake = self._loop.create_future()
                    await self._wake
                frames, self._pending = self._pending, []
                for frame in frames:
                    await self._send({"type": "websocket.send", "text": frame.decode()})
                    self._sent(len(frame))
            await self._send(self._close)
        except (OSError, RuntimeError):  # the client is gone; servers raise either
            log.debug("client is gone", connection=connection)
        except Exception:
            log.exception("sending failed", connection=connection)
        self.abort()

    def _sent(self, size: int) -> None:
        self._size -= size
        self.written += size
        if not self._writable and self._size <= LOW_WATER and not self._ended:
            self._writable = True
            self._connection.writable(True)
