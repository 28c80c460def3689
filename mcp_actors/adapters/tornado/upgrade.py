"""Upgrades an HTTP request to a WebSocket, and moves its socket from Tornado to the frame loop."""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from tornado.iostream import SSLIOStream, StreamClosedError
from tornado.util import _websocket_mask  # a C function; see FrameLoops.unmask

from mcp_actors.adapters.http.exchange import no_websocket
from mcp_actors.adapters.http.refusal import Refusal
from mcp_actors.adapters.tornado.refusal import client_closed, close_frame
from mcp_actors.adapters.tornado.safe_handler import SafeHandler
from mcp_actors.adapters.tornado.stream_transport import StreamTransport
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.ws.fair_scheduler import FairScheduler
from mcp_actors.ws.frame_loop import FrameLoop, FrameLoops
from mcp_actors.ws.handshake import NO_HANDSHAKE, VERSION, HandshakeProblem, accept_key, handshake_problem
from mcp_actors.ws.write_coalescer import WriteCoalescer

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection
    from tornado.iostream import IOStream

    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.ws.frame_loop import ConnectionReceiver

MAX_FLOODING = 8
"""Flooding clients that are served in one round of the event loop, at most."""

CHUNK = 65_536
MAX_EARLY = 1_048_576
"""Bytes that a client may send before it has read the answer to its handshake."""

REFUSED_TIMEOUT = 5.0
"""Seconds for a client to answer the close frame that refuses its handshake."""


def frame_loops(receive_buffer: int = 0) -> FrameLoops:
    """Return what the frame loops of this process share."""
    return FrameLoops(WriteCoalescer(), FairScheduler(MAX_FLOODING), _websocket_mask, receive_buffer)


class UpgradeHandler(SafeHandler):
    """A handler whose requests become WebSockets. Nothing of it is kept once the handshake is done."""

    policy: OriginPolicy
    loops: FrameLoops
    max_message: int
    """Bytes of the longest message that is read."""

    refuse_with_close = False
    """Whether a handshake is refused by accepting it and closing at once, as browsers show pages nothing else."""

    _refused: Refusal | None = None

    @abstractmethod
    def connect(self, frame_loop: FrameLoop) -> ConnectionReceiver:
        """Return what receives the frames of the new connection."""

    def refusal(self) -> Refusal | None:
        """Return why the handshake is refused, or None."""
        reason = self.policy.refusal(self.request.headers)
        return None if reason is None else Refusal(403, reason, CloseCode.FORBIDDEN)

    def prepare(self) -> None:
        """Refuse the handshake if there is a reason to; `get` refuses it with a close frame."""
        refusal = self.refusal()
        if refusal is not None:
            self.refuse(refusal)

    @property
    def is_handshake(self) -> bool:
        """Whether the request is a handshake that is not refused."""
        request = self.request
        is_handshake = request.method == "GET" and handshake_problem(request.version, request.headers) is None
        return is_handshake and self._refused is None

    def refuse(self, refusal: Refusal) -> None:
        """Answer with the reason, or have `get` refuse the handshake with a close frame."""
        if self.refuse_with_close and self.is_handshake:
            self._refused = refusal
        else:
            self.respond(no_websocket(refusal.status, refusal.reason, **refusal.headers))

    def select_subprotocol(self, offered: list[str]) -> str | None:
        """Choose one of the subprotocols that the client offers, or none."""
        return None

    def head(self) -> None:
        """Say that a WebSocket client must ask."""
        self.no_handshake(HandshakeProblem(400, NO_HANDSHAKE))

    async def get(self) -> None:
        """Answer the handshake and hand the connection over."""
        headers = self.request.headers
        problem = handshake_problem(self.request.version, headers)
        if problem is not None:
            self.no_handshake(problem)
            return
        subprotocol = self.select_subprotocol(
            [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",")]
        )
        self.set_status(101)
        self.clear_header("Content-Type")
        self.set_header("Upgrade", "websocket")
        self.set_header("Connection", "Upgrade")
        self.set_header("Sec-WebSocket-Accept", accept_key(headers["Sec-WebSocket-Key"]))
        if subprotocol is not None:
            self.set_header("Sec-WebSocket-Protocol", subprotocol)
        if self._refused is not None:
            await self._close_at_once(self._refused)
            return
        self.finish()
        stream = self.detach()
        try:
            await self._hand_over(stream)
        except BaseException:
            stream.close()
            raise

    def no_handshake(self, problem: HandshakeProblem) -> None:
        """Say what is wrong, and what a handshake must have (RFC 6455, section 4.4; RFC 9110, section 7.8)."""
        self.set_header("Sec-WebSocket-Version", VERSION)
        self.set_header("Upgrade", "websocket")
        self.set_header("Connection", "Upgrade")
        self.respond(no_websocket(*problem))

    async def _close_at_once(self, refusal: Refusal) -> None:
        """Send the answer and a close frame together, and hang up when the client has answered, or after a time.

        Until then the connection counts as a handshake.
        """
        stream = cast("HTTP1Connection", self.request.connection).stream
        with suppress(StreamClosedError, TimeoutError):
            async with asyncio.timeout(REFUSED_TIMEOUT):
                self.write(close_frame(refusal))
                await self.flush()
                await client_closed(stream)
        self.detach()
        stream.close()

    async def _hand_over(self, stream: IOStream) -> None:
        frame_loop = FrameLoop(self.loops, self.max_message)
        frame_loop.serve(self.connect(frame_loop))
        protocol = cast("asyncio.Protocol", frame_loop)
        try:
            stream.set_nodelay(True)  # else a candidate behind an offer may wait 40 ms for an acknowledgement
            await stream.write(b"")  # until the handshake is written
            if isinstance(stream, SSLIOStream):
                StreamTransport(stream, protocol)  # TLS stays with the stream that has begun it
                return
            moved, frame_loop.early = take_socket(stream)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, moved)
        except (StreamClosedError, OSError):
            frame_loop.connection_lost(None)


def take_socket(stream: IOStream) -> tuple[socket.socket, bytes]:
    """Take the socket out of a Tornado stream, with the bytes that the stream has read ahead, and close the stream.

    Nothing is lost: as long as the stream or its socket has bytes, a read of it is done at once. Raises OSError, or
    StreamClosedError when the client is gone or sent more than `MAX_EARLY`.
    """
    early = bytearray()
    while (read := asyncio.ensure_future(stream.read_bytes(CHUNK, partial=True))).done():
        early += read.result()
        if len(early) > MAX_EARLY:
            stream.close()
            raise StreamClosedError
    read.add_done_callback(lambda closed: closed.exception())
    stream.io_loop.remove_handler(stream.fileno())
    moved = socket.socket(fileno=stream.socket.detach())
    moved.setblocking(False)
    stream.close()
    return moved, bytes(early)
