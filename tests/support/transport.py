"""Connections without sockets: a transport double, its client, a server made of both, and a clock that a test turns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.connection.connection import Connection
from mcp_actors.connection.connections import Connections
from mcp_actors.connection.environment import Environment
from mcp_actors.connection.heartbeat import CLIENT_FRAME_HEADER
from mcp_actors.endpoints.messaging import MessagingEndpoint
from mcp_actors.endpoints.signaling import SignalingEndpoint
from mcp_actors.environment import load
from mcp_actors.limits import connection_bounds, ip_limits
from mcp_actors.node import Node
from mcp_actors.protocol.codec import Limits, peer_decoder, user_decoder
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.identifiers import NodeId
from mcp_actors.sessions import SessionLimits, Sessions
from mcp_actors.site_setup import terms
from mcp_actors.ws.socket_state import SocketState
from tests.support.client import Client, Closed
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from pathlib import Path


class FakeTransport:
    """Records what a connection sends, and hands it frames while it is not paused."""

    connection: Connection
    has_pings = True

    def __init__(self) -> None:
        self.received = self.written = 0
        self.buffered = SocketState(0, waiting=False, taken=None)
        self.sent: list[bytes] = []
        self.pings: list[bytes] = []
        self.closed: tuple[int | None, str] | None = None
        self.paused = False
        self.answers_pings = True
        self._unread: list[bytes] = []

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> None:
        self.sent.append(prefix + body)
        self.written += len(prefix) + len(body)

    def ping(self, data: bytes) -> None:
        self.pings.append(data)
        if self.answers_pings:
            asyncio.get_running_loop().call_soon(self._pong, data)

    def close(self, code: int, reason: str) -> None:
        self._lose(code, reason)

    def abort(self) -> None:
        self._lose(None, "")

    def state(self) -> SocketState:
        return self.buffered

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        while self._unread and not self.paused:
            self.connection.frame_received(self._unread.pop(0))

    def receive(self, frame: bytes) -> None:
        """Have a frame arrive from the client."""
        self.received += len(frame)
        self._unread.append(frame)
        if not self.paused:
            self.resume()

    def hang_up(self, code: int | None) -> None:
        """Have the client close, with a close frame if there is a code."""
        if code is not None:
            self.connection.closing(code)
        self._lose(code, "")

    def _pong(self, data: bytes) -> None:
        if self.closed is None:
            self.received += CLIENT_FRAME_HEADER + len(data)
            self.connection.pong_received(data)
            self.connection.control_frame_received(len(data))

    def _lose(self, code: int | None, reason: str) -> None:
        if self.closed is None:
            self.closed = code, reason
            asyncio.get_running_loop().call_soon(self.connection.lost, code)


class FakeClient(Client):
    """A client whose connection is a transport double."""

    def __init__(self, transport: FakeTransport) -> None:
        self.received = 0
        self._transport = transport
        self._heard = 0

    async def send(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            self._transport.receive(frame.encode())
        else:
            self._transport.connection.binary_received(frame)
        await asyncio.sleep(0)

    async def hear_text(self) -> str:
        transport = self._transport
        await until(lambda: len(transport.sent) > self._heard or transport.closed, "a message or the end")
        if len(transport.sent) == self._heard:
            assert transport.closed is not None
            raise Closed(*transport.closed)
        self._heard += 1
        return transport.sent[self._heard - 1].decode()

    def stop_reading(self) -> None:
        self._transport.answers_pings = False
        self._transport.connection.writable(False)

    def vanish(self) -> None:
        self._transport.hang_up(None)

    async def close(self, code: int = 1000) -> None:
        self._transport.hang_up(code)

    async def end(self) -> None:
        self._transport.hang_up(None)


class FakeServer:
    """Both endpoints and everything below them, on transport doubles. Settings are given by field name."""

    def __init__(self, directory: Path, **changed: Any) -> None:
        settings = load(overrides=changed, environ={}, directory=directory)
        self._clients: list[FakeClient] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._node = Node(
            NodeId("n"), MemoryBroker(), room_capacity=100, max_rooms=100, max_inbox=4096, max_pending_acks=100
        )
        self.connections = Connections(100, settings.connections.ping_interval)
        session_limits = SessionLimits(window=30, max_frames=100, max_bytes=100_000, max_rooms=10, max_detached=100)
        self._sessions = Sessions(self._node, b"s" * 32, session_limits)
        each = settings.connections
        self._environment = Environment(self.connections, ip_limits(each, settings.addresses), connection_bounds(each))
        limits = Limits(each.max_message_bytes, each.max_metadata_bytes, each.max_id_length)
        parts = self._node, self._sessions, self.connections, None
        self._peers = SignalingEndpoint(*parts, peer_decoder(limits).decode, terms=terms(settings))
        self._users = MessagingEndpoint(*parts, user_decoder(limits).decode, terms=terms(settings))

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self.connections.run())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.connections.close_all(CloseCode.GOING_AWAY, 1.0)
        await self._sessions.stop()
        await self._node.broker.stop()

    async def peer(self) -> Client:
        """A connection to /ws/signaling/."""
        return self._open(self._peers)

    async def user(self) -> Client:
        """A connection to /ws/mcp/."""
        return self._open(self._users)

    def _open(self, endpoint: SignalingEndpoint | MessagingEndpoint) -> Client:
        transport = FakeTransport()
        loop = asyncio.get_running_loop()
        transport.connection = Connection(self._environment, endpoint, transport, "192.0.2.1", loop)
        transport.connection.opened(None)
        return FakeClient(transport)


class FakeLoop:
    """An event loop whose clock stands still until a test advances it. Tasks run on the real one."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.loop = cast("asyncio.AbstractEventLoop", self)
        self._timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(self.now + delay, callback, args, self.loop, context)
        self._timers.append(timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle in self._timers:
            self._timers.remove(handle)

    def create_task(self, work: Any, **how: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, **how)

    def advance(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, and make the calls that become due, late by a step at most."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + step, end)
            for timer in sorted(timer for timer in self._timers if timer.when() <= self.now):
                self._timers.remove(timer)
                timer._run()
