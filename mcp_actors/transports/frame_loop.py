"""The fast frame loop: one WebSocket on an asyncio transport, whose frames are read in bulk.

Stock Tornado reads each frame in two to four small reads and makes a task for each frame it writes.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, cast

from tornado.websocket import WebSocketClosedError

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.transports.frames import (
    NORMAL,
    PONG,
    FrameError,
    FrameReader,
    write_close,
    write_frame,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from mcp_actors.transports.turns import Turns
    from mcp_actors.transports.writes import Writes

CLOSE_TIMEOUT = 5.0
"""Seconds a client has to answer a close frame, or to go after it broke the protocol."""

BREATHER = 0.001
"""Seconds that a client waits after each full turn of frames: a flood then takes a part of the CPU, not all of it.

It limits one connection to 8,000 messages a second. Beside a flood, p99 of other rooms was 2.5 to 4.7 ms without
it, and 0.7 to 1.9 ms with it.
"""

MOST_GATHERED = 65_536
"""Bytes that are gathered before they are written all the same, so that a socket which takes no more says so."""

LOUD = 1.0
"""Seconds for which a client counts as loud when it has come, has had a full turn, or had others wait for its message.
As long it is read when it is its turn among all that are loud.
"""


class Receiver(Protocol):
    """The handler of one connection."""

    request: Any

    def on_frame(self, frame: bytes) -> Coroutine[Any, Any, Any] | None:
        """Handle a text message; while what it returns runs, nothing more is read."""

    def on_message(self, message: str | bytes) -> Coroutine[Any, Any, Any] | None:
        """Handle a binary message, likewise."""

    def on_extra(self, size: int) -> Coroutine[Any, Any, Any] | None:
        """Count a frame that is no message: a ping, a pong or a fragment. What is returned is awaited, as above."""

    def on_pong(self, data: bytes) -> None:
        """Handle a pong."""

    def on_writable(self, writable: bool) -> None:
        """Hear whether the socket takes more, or has enough for now."""

    def on_closing(self, code: int | None) -> None:
        """Hear that the client closes, or broke the protocol: nothing that is written from now on reaches it."""

    def on_ws_connection_close(self, close_code: int | None = None, close_reason: str | None = None) -> None:
        """Hear that the connection is gone, and what the client said of it."""


class FrameLoop(asyncio.Protocol):
    """One WebSocket on an asyncio transport: the closing handshake, pings answered, and pauses."""

    __slots__ = (
        *("_breather", "_busy", "_close_code", "_close_reason", "_deaf", "_gathered", "_late_pong", "_loud_until"),
        *("_reader", "_receiver", "_rest", "_timer", "_transport", "_turns", "_unsent", "_waiting", "_writable"),
        *("_writes", "closing", "early", "heard"),
    )

    def __init__(self, receiver: Receiver, writes: Writes, turns: Turns, max_message: int) -> None:
        self.closing = False
        self.early = b""
        self._receiver = receiver
        self._writes = writes
        self._gathered: list[bytes] | None = None  # in this turn of the loop
        self._waiting = 0  # bytes of them
        self._turns = turns
        self._loud_until = 0.0
        self._deaf = False
        self._reader = FrameReader(self, max_message)
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._late_pong: bytes | None = None
        self._unsent = b""  # what was written before the socket was ours: a word or two
        self._busy: asyncio.Task[Any] | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._breather = BREATHER
        self.heard = True
        self._timer: asyncio.TimerHandle | None = None
        self._close_code: int | None = None
        self._close_reason: str | None = None

    # ------------------------------------------------------------------------------------------------------- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = cast("asyncio.Transport", transport)
        self._loud_until = inf  # its first words are not known yet
        if self._unsent:
            self.write(self._unsent)
            self._unsent = b""
        early, self.early = self.early, b""
        if early:
            self.data_received(early)
        if self._deaf:
            self._hear_no_more()

    def data_received(self, data: bytes) -> None:
        """Read what arrived; of a loud client when it is its turn."""
        self.heard = True
        reader = self._reader
        if self._loud_until and not reader.paused and self._must_wait():
            reader.paused = True
            self._pause()
            self._turns.wait(self._resume)
        try:
            reader.receive(data)
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
            self._pong(self._late_pong)
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
        """Answer, and count it."""
        self._pong(payload)
        self._count(len(payload))

    def _pong(self, payload: bytes) -> None:
        """Answer a ping, or remember the latest while the client does not read (RFC 6455, section 5.5.3)."""
        if self._writable:
            self._late_pong = None
            if not self.closing:
                self.write(write_frame(PONG, payload))
        else:
            self._late_pong = payload

    def on_pong(self, payload: bytes) -> None:
        """See `Sink`."""
        self._receiver.on_pong(payload)
        self._count(len(payload))

    def on_fragment(self) -> None:
        """Count it; its bytes count with the message."""
        self._count(0)

    def _count(self, size: int) -> None:
        if not self.closing:
            work = self._receiver.on_extra(size)
            if work is not None:
                self._wait(work)

    def on_close(self, code: int | None, reason: str) -> None:
        """Answer the client's close frame, or take it for the answer to ours; either way the server hangs up."""
        self._close_code, self._close_reason = code, reason
        if not self.closing:
            self.closing = True
            self._breather = 0.0
            self.write(write_close(NORMAL if code is None else code, ""))
            self._hang_up_in_time()
            self._receiver.on_closing(code)
        if self._transport is not None:
            self.flush()
            self._transport.close()

    def on_turn(self) -> None:
        """Let others have theirs: a client that sends more than a turn at once is slowed at its own socket."""
        self._pause()
        self._rest = asyncio.get_running_loop().call_later(self._breather, self._rested)

    def _rested(self) -> None:
        self._rest = None
        self._go_on()

    def _wait(self, work: Coroutine[Any, Any, Any]) -> None:
        """Read nothing more until some work is done."""
        self._reader.paused = True
        self._pause()
        self._busy = asyncio.get_running_loop().create_task(work)
        self._busy.add_done_callback(self._worked)

    def _worked(self, _done: object) -> None:
        self._busy = None
        self._go_on()

    def _go_on(self) -> None:
        """Read on after a full turn, or a message that was waited for."""
        self._loud_until = asyncio.get_running_loop().time() + LOUD
        if self._must_wait():
            self._turns.wait(self._resume)
        else:
            self._resume()

    def _must_wait(self) -> bool:
        """Whether it was loud lately, and so are others now."""
        now = asyncio.get_running_loop().time()
        if self._loud_until < now:
            self._loud_until = 0.0
            return False
        self._loud_until = min(self._loud_until, now + LOUD)
        return not self._turns.take()

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Read on. The reader is paused for one reason at a time, a rest, some work or until its turn has come."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._deaf:
            return
        try:
            self._reader.resume()
        except FrameError as error:
            self._fail(error)
        if not self._reader.paused and not self._deaf:  # what it read may have been the end of a flood
            transport.resume_reading()

    # --------------------------------------------------------------------------------------------------------- outgoing

    def write(self, frame: bytes) -> bool:
        """Write a frame, together with all others of this turn of the loop; False if the socket is gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        self._gather(frame)
        return True

    def write_text(self, payload: bytes) -> None:
        """Write a text message. Raises `WebSocketClosedError`."""
        transport = self._transport
        if transport is None or self.closing or transport.is_closing():
            self._write_before(payload)
        else:
            self._gather(self._writes.text(payload))

    def _gather(self, frame: bytes) -> None:
        if self._gathered is None:
            self._gathered, self._waiting = [frame], len(frame)
            self._writes.flush_soon(self)
            return
        self._gathered.append(frame)
        self._waiting += len(frame)
        if self._waiting > MOST_GATHERED:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        gathered, self._gathered = self._gathered, None
        if gathered is not None and self._transport is not None:
            self._transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def _write_before(self, payload: bytes) -> None:
        """Keep a message of the handler's `open` until the socket is ours."""
        if self._transport is not None or self.closing:
            raise WebSocketClosedError
        self._unsent += self._writes.text(payload)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and hang up when the client answers it or has had its time."""
        if self.closing:
            return
        self.closing = True
        self._breather = 0.0
        if self._transport is None:
            self._unsent += write_close(code, reason)
        else:
            self.write(write_close(code, reason))
        if code == CloseCode.RATE_LIMITED:
            self._hear_no_more()
        self._hang_up_in_time()

    def _hear_no_more(self) -> None:
        """Leave the rest of a flood in the client's own socket, which has time to read the close frame and the end."""
        self._deaf = True
        self._reader.end()
        self._pause()
        self._write_eof()

    def _write_eof(self) -> None:
        """Write nothing more, where the socket can say so."""
        if self._transport is not None and self._transport.can_write_eof():
            self.flush()
            self._transport.write_eof()

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
            self._receiver.on_closing(error.code)
        self._write_eof()
