"""WebSockets of the simulated network: whole messages instead of bytes.

The node's side is the port `Transport`, as the adapters implement it. The client's side behaves as picows does for the
clients of the bench suite, with the heartbeat that PROTOCOL.md asks for.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from picows import WSError, WSMsgType

from mcp_actors.connection.connection import Connection
from mcp_actors.ws.socket_state import SocketState

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Callable

    from mcp_actors.connection.connection import Endpoint
    from mcp_actors.connection.environment import Environment
    from tests.simulation.loop import Process, SimulationLoop
    from tests.simulation.network import End, Network, Wire

HIGH_WATER, LOW_WATER = 131_072, 32_768
"""Bytes on their way at which a sender is told to wait, and to go on: the buffers of both kernels."""

CLOSE_TIMEOUT = 5.0
"""Seconds for a client to answer a close frame."""

FRAME = 6
"""Bytes of a frame beside its content."""

Item = tuple[Any, ...]


class NodeTransport:
    """The node's side of a connection."""

    has_pings = True

    def __init__(
        self, loop: SimulationLoop, end: End, environment: Environment, endpoints: dict[str, Endpoint]
    ) -> None:
        self.received = self.written = 0
        self._loop = loop
        self._end = end
        self._environment = environment
        self._endpoints = endpoints
        self._connection: Connection | None = None
        self._closing = self._full = self._deaf = False
        self._code: int | None = None
        self._timer: TimerHandle | None = None
        end.receiver = self
        end.out.on_taken = self._taken

    def arrived(self, item: Item) -> None:
        """See `Receiver`."""
        kind, *rest = item
        if kind == "open":
            self._open(*rest)
            return
        connection = self._connection
        if connection is None or self._deaf:
            return
        self.received += FRAME + (len(rest[0]) if rest and isinstance(rest[0], bytes) else 0)
        match kind:
            case "close":
                self._close_received(rest[0])
            case _ if self._closing:
                pass
            case "text":
                connection.frame_received(rest[0])
            case "pong":
                connection.pong_received(rest[0])
                connection.control_frame_received(len(rest[0]))

    def ended(self, _error: Exception | None) -> None:
        """See `Receiver`."""
        self._end.out.on_taken = None
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.lost(self._code)

    def _open(self, path: str, address: str, token: str | None) -> None:
        refusal = self._environment.connections.refusal
        if refusal is not None:
            self._end.send(("refused", refusal))
            self._end.close()
            return
        self._end.send(("accepted",))
        self._connection = Connection(self._environment, self._endpoints[path], self, address, self._loop)
        self._connection.opened(token)

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> None:
        """See `Transport`."""
        if not self._closing:
            data = prefix + body
            self._end.send(("text", data), FRAME + len(data))
            if not self._full and self._end.out.unread > HIGH_WATER:
                self._full = True
                self._loop.call_soon(self._tell_writable)

    def ping(self, data: bytes) -> None:
        """See `Transport`."""
        if not self._closing:
            self._end.send(("ping", data), FRAME + len(data))

    def close(self, code: int, reason: str) -> None:
        """See `Transport`."""
        if not self._closing:
            self._closing = True
            self._end.send(("close", code, reason), FRAME)
            self._timer = self._loop.call_later(CLOSE_TIMEOUT, self.abort)

    def abort(self) -> None:
        """See `Transport`."""
        self._closing = True
        self._end.close(ConnectionResetError("the server aborted"))

    def state(self) -> SocketState:
        """See `Transport`."""
        pipe = self._end.out
        return SocketState(pipe.unread, pipe.unread > 0, pipe.taken)

    def pause(self) -> None:
        """See `Transport`."""
        self._end.pause()

    def resume(self) -> None:
        """See `Transport`."""
        self._end.resume()

    def _close_received(self, code: int | None) -> None:
        self._code = code
        if not self._closing and self._connection is not None:
            self._closing = True
            self._end.send(("close", 1000 if code is None else code, ""), FRAME)
            self._connection.closing(code)
        self._end.close()

    def _taken(self) -> None:
        if self._full and self._end.out.unread <= LOW_WATER:
            self._full = False
            self._loop.at(self._loop.now, self._end.process, self._tell_writable)

    def _tell_writable(self) -> None:
        if self._connection is not None and not self._closing:
            self._connection.writable(not self._full)


class Frame:
    """A frame as picows shows it."""

    def __init__(self, kind: WSMsgType, data: bytes = b"", code: int | None = None, reason: str = "") -> None:
        self.msg_type = kind
        self._data = data
        self._code = code
        self._reason = reason

    def get_payload_as_bytes(self) -> bytes:
        """See picows."""
        return self._data

    def get_close_code(self) -> int | None:
        """See picows."""
        return self._code

    def get_close_reason(self) -> str:
        """See picows."""
        return self._reason


class ClientSocket:
    """The client's side of a connection. `disturbed`: the world has meddled with it, so that it may end."""

    def __init__(self, world: Sockets, wire: Wire, listener: Any, host: str) -> None:
        self.wire = wire
        self.host = host
        self.listener = listener
        self.disturbed = False
        self.open = False
        self._world = world
        self._end = wire.client
        self._refused = ""
        self._heard = self._pinged = world.loop.now
        self._waiter = world.loop.create_future()
        self._beat: TimerHandle | None = None
        self._end.receiver = self

    async def shake_hands(self, path: str, address: str, token: str | None) -> None:
        """Wait for the node to accept. Raises `WSError`."""
        self._end.send(("open", path, address, token))
        await self._waiter
        if self._refused:
            raise WSError(self._refused)

    def arrived(self, item: Item) -> None:
        """See `Receiver`."""
        kind, *rest = item
        self._heard = self._world.loop.now
        self._world.trace(self, "<", item)
        match kind:
            case "accepted":
                self.open = True
                self._beat = self._world.loop.call_later(self._world.interval, self._heartbeat)
                self._settle()
                self.listener.on_ws_connected(self)
            case "refused":
                self._refused = rest[0]
                self._settle()
                self._end.close()
            case "text":
                if not rest[0].startswith(b'{"type":"pong"'):
                    self.listener.on_ws_frame(self, Frame(WSMsgType.TEXT, rest[0]))
            case "ping":
                self.listener.on_ws_frame(self, Frame(WSMsgType.PING, rest[0]))
            case "close":
                self._end.send(("close", rest[0]))
                self.listener.on_ws_frame(self, Frame(WSMsgType.CLOSE, code=rest[0], reason=rest[1]))

    def ended(self, _error: Exception | None) -> None:
        """See `Receiver`."""
        if self._beat is not None:
            self._beat.cancel()
        self._refused = self._refused or "the connection broke"
        self._world.trace(self, "|", ("ended", _error))
        self._settle()
        self._world.forget(self)
        if self.open:
            self.open = False
            if self.disturbed and hasattr(self.listener, "link"):
                self.listener.link.expected = True
            self.listener.on_ws_disconnected(self)

    def send(self, _kind: Any, data: bytes) -> None:
        """See picows."""
        self._world.trace(self, ">", ("text", data))
        self._end.send(("text", data), FRAME + len(data))

    def send_pong(self, data: bytes) -> None:
        """See picows."""
        self._end.send(("pong", data), FRAME)

    def send_close(self, code: Any) -> None:
        """See picows."""
        self._end.send(("close", int(code)), FRAME)

    def disconnect(self, *, graceful: bool = True) -> None:
        """See picows."""
        self._world.trace(self, "|", ("disconnect", graceful))
        self._end.close(None if graceful else ConnectionResetError("the client aborted"))

    def _settle(self) -> None:
        if not self._waiter.done():
            self._waiter.set_result(None)

    def _heartbeat(self) -> None:
        """Send a ping after an interval of silence, and give up after another."""
        now, interval = self._world.loop.now, self._world.interval
        silent = now - self._heard
        if silent >= 2 * interval:
            self.disturbed = True
            self.disconnect(graceful=False)
            return
        if silent >= interval and now - self._pinged >= interval:
            self._pinged = now
            self.send(None, b'{"type":"ping"}')
        self._beat = self._world.loop.call_later(interval / 2, self._heartbeat)


class Sockets:
    """All client sockets. `interval`: of the heartbeat."""

    def __init__(self, loop: SimulationLoop, network: Network, clients: Process) -> None:
        self.loop = loop
        self.interval = 10.0
        self.all: dict[ClientSocket, None] = {}
        self.trace: Callable[[ClientSocket, str, Item], None] = lambda _socket, _way, _item: None
        self._network = network
        self._clients = clients
        self._addresses = deque(f"192.0.2.{number}" for number in range(1, 250))

    async def connect(
        self, listener: Any, url: str, *, extra_headers: dict[str, str] | None = None, **_how: Any
    ) -> tuple[Any, Any]:
        """Connect as `picows.ws_connect` does: ws://host/path."""
        host, _, path = url.removeprefix("ws://").partition("/")
        found = listener()
        wire = await self._network.dial(self._clients, host)
        socket = ClientSocket(self, wire, found, host)
        self.all[socket] = None
        self._addresses.rotate()
        token = extra_headers["Authorization"].removeprefix("Bearer ") if extra_headers else None
        try:
            await socket.shake_hands("/" + path, self._addresses[0], token)
        except BaseException:
            socket.disconnect(graceful=False)
            raise
        return socket, found

    def forget(self, socket: ClientSocket) -> None:
        """Forget a socket that is closed."""
        self.all.pop(socket, None)
