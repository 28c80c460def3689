"""One WebSocket, as the session at its other end sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from tornado.websocket import WebSocketClosedError

from mcp_actors.protocol.codec import encode
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.messages import Reconnect, ReconnectPayload
from mcp_actors.transports.outbox import Outbox, StockWriter
from mcp_actors.transports.upgrade import FastWebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.websocket import WebSocketHandler, WebSocketProtocol

    from mcp_actors.protocol.grants import Grant
    from mcp_actors.sessions import Session

log = structlog.get_logger("mcp_actors.connection")

CLEAN = {None, 1000, 1001}
"""Close codes of clients that mean to go: none, normal, and a page that is left."""


class Connection:
    """One WebSocket: the `Wire` of its session, which it may not have yet.

    `resumed`: its session is one that another connection began; `complete`: its client missed nothing of it. `grant`:
    what its token grants, None without one; `barred`: whether it may not send to others.
    """

    __slots__ = (
        *("_heard", "_outbox", "_pause", "_protocol", "_roomless_since", "_socket"),
        *("barred", "closed", "complete", "grant", "put", "resumed", "session"),
    )

    def __init__(
        self, socket: WebSocketHandler, protocol: WebSocketProtocol, *, max_frames: int, max_bytes: int
    ) -> None:
        self.closed = self.resumed = self.complete = False
        self.barred = False
        self.grant: Grant | None = None
        self.session: Session | None = None
        self._heard = True
        self._pause: asyncio.Future[None] | None = None
        self._roomless_since: float | None = None
        self._socket = socket
        self._protocol = protocol
        self._outbox = Outbox(self._writer(), self._too_slow, max_frames=max_frames, max_bytes=max_bytes)
        self.put: Callable[[bytes], bool] = self._outbox.put  # see `Wire`

    def _writer(self) -> Callable[[bytes], None]:
        if isinstance(self._protocol, FastWebSocket):
            return self._protocol.frame_loop.write_text
        return StockWriter(self._socket.write_message, self.on_writable).write

    async def pause(self, seconds: float) -> None:
        """Wait before the next message is read; no longer than the connection lasts."""
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        self._pause = loop.create_future()
        timer = loop.call_later(seconds, self._go_on)
        await self._pause
        timer.cancel()

    def _go_on(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None and not pause.done():
            pause.set_result(None)

    def roomless(self, now: float) -> float:
        """Seconds for which it has been in no room, as far as those who ask now and then can tell."""
        if self.session is not None and self.session.rooms():
            self._roomless_since = None
        elif self._roomless_since is None:
            self._roomless_since = now
        return 0.0 if self._roomless_since is None else now - self._roomless_since

    def joins(self) -> None:
        """Its client joins a room: who is in none afterwards has left it since."""
        self._roomless_since = None

    # --------------------------------------------------------------------------------------------------------- outgoing

    def say(self, frame: bytes) -> None:
        """Write a frame as part of the session, if there is one."""
        (self.put if self.session is None else self.session.put)(frame)

    def on_writable(self, writable: bool) -> None:
        """Hear whether the socket takes more, or has enough for now."""
        self._outbox.on_writable(writable)

    def ping(self) -> None:
        """Ask the client to show that it is there."""
        written = 0 if self.session is None else self.session.number - len(self._outbox)
        try:
            self._socket.ping(b"%d" % max(written, 0))  # the pong brings it back
        except WebSocketClosedError:
            self.end(LeaveReason.DISCONNECTED, final=False)

    def ask_to_reconnect(self, after: float) -> None:
        """Tell the client to go elsewhere; it is said of this connection, so it is no part of the session."""
        self.put(encode(Reconnect(payload=ReconnectPayload(int(after * 1000)))))

    def ponged(self, data: bytes) -> None:
        """The client is there, and has what was written before the ping that it answers."""
        self.heard = True
        if self.session is not None and data.isdigit():
            self.session.ponged(int(data))

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Send a close frame; see `Wire`."""
        if self.closed:
            return
        log.debug("closing", code=int(code), reason=code.reason, address=self._socket.request.remote_ip)
        self.end(leave, final=not code.resumable)
        self._socket.close(code, code.reason)

    @property
    def heard(self) -> bool:
        """Whether anything arrived since this was last set to False."""
        if isinstance(self._protocol, FastWebSocket):
            return self._protocol.frame_loop.heard
        return self._heard

    @heard.setter
    def heard(self, heard: bool) -> None:
        if isinstance(self._protocol, FastWebSocket):
            self._protocol.frame_loop.heard = heard
        self._heard = heard

    def abort(self) -> None:
        """Hang up at once."""
        self._protocol.on_connection_close()

    def forget(self) -> None:
        """Let go of the socket, which is gone: else they would keep each other for the garbage collector."""
        del self._socket, self._protocol

    def end(self, reason: LeaveReason, *, final: bool) -> None:
        """Write nothing more. The session ends with it if that is `final`; else it waits for another connection."""
        self.closed = True
        self._go_on()
        self._outbox.close()
        session, self.session = self.session, None
        if session is not None:
            session.lost(self, reason, final=final)

    def said_close(self, code: int | None) -> None:
        """The client closes."""
        self.end(LeaveReason.DISCONNECTED, final=code in CLEAN)

    def gone(self, code: int | None) -> None:
        """The socket is closed. Tornado does not tell a close frame without a code from none at all: that is none."""
        self.end(LeaveReason.DISCONNECTED, final=code is not None and code in CLEAN)

    def _too_slow(self) -> None:
        log.info("slow peer closed", address=self._socket.request.remote_ip)
        self.close(CloseCode.SLOW_PEER)
