"""One of the connections that a resuming member has in turn."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from picows import WSCloseCode, WSError, WSListener, WSMsgType

from bench.chaos.member import decode, dial, encode, now

if TYPE_CHECKING:
    from picows import WSFrame, WSTransport

    from bench.chaos.record import Link, Role


class Owner(Protocol):
    """The member that a connection belongs to."""

    def on_connected(self, connection: Connection) -> None:
        """The connection is open."""

    def on_message(self, connection: Connection, message: dict[str, Any]) -> None:
        """A message arrived."""

    def on_closed(self, connection: Connection) -> None:
        """The connection is closed."""


class Connection(WSListener):
    """A connection that records its fate in its link. `name` is the id of the join request sent over it."""

    def __init__(self, owner: Owner, link: Link, name: str) -> None:
        self.link = link
        self.name = name
        self.ignored = False
        """Whether the member has abandoned it without closing it, as after a change of network."""
        self.muted = False
        """Whether messages sent over it are lost, as just before a connection breaks."""
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the join was answered or cannot be answered any more."""
        self._owner = owner
        self._transport: WSTransport | None = None
        self.gone = asyncio.Event()

    @property
    def open(self) -> bool:
        """Whether the connection is open."""
        return self._transport is not None and not self.gone.is_set()

    async def dial(self, role: Role, url: str, max_wait: float, access: str = "") -> None:
        """Connect and wait for the reply to the join; on failure, `link.refused` says why."""
        try:
            async with asyncio.timeout(max_wait):
                await dial(self, role, url, max_wait, access, answers_pings=False)
                await self.answered
        except (TimeoutError, OSError, WSError) as error:
            self.link.refused = self.link.refused or type(error).__name__
            self.cut()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message if the connection is open."""
        if self._transport is not None and self.open and not self.muted:
            self._transport.send(WSMsgType.TEXT, encode(message))

    def cut(self) -> None:
        """Abort the connection."""
        self.link.expected = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)
        elif self.link.ended_at is None:
            self.link.ended_at = now()

    def close_now(self) -> None:
        """Send a close frame with 1000 and abort without waiting for the reply."""
        if self._transport is not None and self.open:
            self._transport.send_close(WSCloseCode.OK)
        self.cut()

    async def close(self, max_wait: float) -> None:
        """Close with 1000, and abort if that is not answered in time, or at once if the connection was abandoned."""
        self.link.expected = True
        if self._transport is not None and self.open and not self.ignored:
            self._transport.send_close(WSCloseCode.OK)
            with suppress(TimeoutError):
                async with asyncio.timeout(max_wait):
                    await self.gone.wait()
        self.cut()

    def mark_answered(self) -> None:
        """Mark the join as answered."""
        if not self.answered.done():
            self.answered.set_result(None)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Let the member send its join, unless it has given up meanwhile."""
        self._transport = transport
        if self.link.ended_at is not None:
            transport.disconnect(graceful=False)
            return
        self._owner.on_connected(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass a message on."""
        if frame.msg_type == WSMsgType.TEXT:
            if not self.ignored:
                self._owner.on_message(self, decode(frame.get_payload_as_bytes()))
        elif frame.msg_type == WSMsgType.PING:
            if not self.ignored:  # a pong says that everything before the ping was received
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            reason = frame.get_close_reason() or ""
            self.link.closed = f"closed with {frame.get_close_code()} {reason}".rstrip()
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Record the end of the connection."""
        self.gone.set()
        self.link.ended_at = now()
        self.link.closed = self.link.closed or "cut"
        self.mark_answered()
        self._owner.on_closed(self)
