"""/echo, for conformance suites and for measuring a path: sends every message back. Off unless asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from mcp_actors.transports.access import refuse
from mcp_actors.transports.site import SafeHandler
from mcp_actors.transports.upgrade import FastWebSocket, fast_or_stock, understood

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tornado.websocket import WebSocketProtocol

    from mcp_actors.transports.access import AccessPolicy
    from mcp_actors.transports.turns import Turns
    from mcp_actors.transports.writes import Writes

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message: what conformance suites send."""


class EchoHandler(SafeHandler, WebSocketHandler):
    """Sends back what it gets, text as text and binary as binary, no faster than it is read."""

    def initialize(self, policy: AccessPolicy, writes: Writes | None, turns: Turns, *, compression: bool) -> None:
        """Take what the route gives; no writes means Tornado's own loop."""
        self._policy = policy
        self._writes = writes
        self._turns = turns
        self._compression = compression
        self._writable = asyncio.Event()
        self._writable.set()

    def prepare(self) -> None:
        """Refuse whom the policy refuses."""
        refusal = self._policy.refusal(self.request.headers)
        if refusal is not None:
            refuse(self, 403, refusal)

    def check_origin(self, origin: str) -> bool:
        """Origins were checked in `prepare`."""
        return True

    @property
    def max_message_size(self) -> int:
        """Bytes of one message."""
        return MAX_MESSAGE

    def get_compression_options(self) -> dict[str, Any] | None:
        """Compress if the operator wants it, and the client offers it in words that are understood."""
        offer = self.request.headers.get("Sec-WebSocket-Extensions", "")
        return {} if self._compression and understood(offer) else None

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """The frame loop the operator chose."""
        return fast_or_stock(self, super().get_websocket_protocol(), self._writes, self._turns)

    def open(self, *_args: str, **_kwargs: str) -> None:
        """The handshake is done."""
        self.set_nodelay(True)

    def on_message(self, message: str | bytes) -> Awaitable[Any] | None:
        """Send a message back."""
        try:
            written = self.write_message(message, binary=isinstance(message, bytes))
        except WebSocketClosedError:
            return None
        if isinstance(self.ws_connection, FastWebSocket):
            return None if self._writable.is_set() else self._writable.wait()
        return written

    def on_frame(self, frame: bytes) -> Awaitable[Any] | None:
        """Send a text message back."""
        return self.on_message(frame.decode())

    def on_extra(self, _size: int) -> None:
        """Nothing is counted here."""

    def on_closing(self, code: int | None) -> None:
        """Write nothing more; the fast frame loop sees to that by itself."""

    def on_writable(self, writable: bool) -> None:
        """The fast frame loop says whether the socket takes more."""
        if writable:
            self._writable.set()
        else:
            self._writable.clear()
