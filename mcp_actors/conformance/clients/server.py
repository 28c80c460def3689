"""A server that does what a check tells it to."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mcp_actors.conformance.client import Failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from http import HTTPStatus
    from types import TracebackType

    from websockets.http11 import Request, Response

PATIENCE = 15.0
"""Seconds for which a check waits for what a client must do."""

PROTOCOL = "mcp-actors"


class Connection:
    """A connection of the client. `answers_pings`: with a `pong`; if not, they are dropped."""

    def __init__(self, socket: ServerConnection, transcript: list[str], patience: float) -> None:
        self._socket, self._transcript, self._patience = socket, transcript, patience
        self._requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answers_pings = True
        self.closed = asyncio.Event()
        self.opened_at = time.monotonic()

    @property
    def path(self) -> str:
        """The path and the query of the handshake."""
        return self._socket.request.path if self._socket.request else ""

    def header(self, name: str) -> str:
        """A header of the handshake."""
        return ", ".join(self._socket.request.headers.get_all(name)) if self._socket.request else ""

    @property
    def close_code(self) -> int | None:
        """The code with which it was closed."""
        return self._socket.close_code

    async def read(self) -> None:
        """Take requests until the connection ends."""
        with suppress(ConnectionClosed):
            async for frame in self._socket:
                self._transcript.append(f"> {frame!s}")
                await self._take(json.loads(frame))
        self._transcript.append(f"closed with {self.close_code}")
        self.closed.set()

    async def _take(self, request: dict[str, Any]) -> None:
        self._requests.put_nowait(request)
        if request.get("type") == "ping" and self.answers_pings:
            await self.say("pong", **{name: request[name] for name in ("id",) if name in request})

    async def expect(self, kind: str) -> dict[str, Any]:
        """The next request of a type; others before it are passed over."""
        try:
            async with asyncio.timeout(self._patience):
                while (request := await self._requests.get()).get("type") != kind:
                    pass
        except TimeoutError:
            raise Failed(f"a request `{kind}` was expected within {self._patience:g} seconds") from None
        return request

    def requests(self, kind: str) -> list[dict[str, Any]]:
        """The requests of a type that have come since the last one that was expected."""
        waiting = [self._requests.get_nowait() for _ in range(self._requests.qsize())]
        return [one for one in waiting if one.get("type") == kind]

    async def say(self, kind: str, payload: dict[str, Any] | None = None, **more: Any) -> None:
        """Send a message; `more` are further fields beside `type`."""
        await self.send({"type": kind, **({} if payload is None else {"payload": payload}), **more})

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message as it is."""
        text = json.dumps(message)
        self._transcript.append(f"< {text}")
        with suppress(ConnectionClosed):
            await self._socket.send(text)

    async def pong(self) -> None:
        """Send a ping of WebSockets, and wait for its pong."""
        try:
            async with asyncio.timeout(self._patience):
                await (await self._socket.ping(b"conformance"))
        except (TimeoutError, ConnectionClosed):
            raise Failed("a pong with the data of the ping was expected") from None

    async def close(self, code: int) -> None:
        """Close with a code."""
        self._transcript.append(f"the server closes with {code}")
        await self._socket.close(code)

    def cut(self) -> None:
        """Break the connection, without a close frame."""
        self._transcript.append("the server cuts the connection")
        self._socket.transport.abort()

    async def end(self) -> int | None:
        """Wait until the client closes; the code."""
        try:
            async with asyncio.timeout(self._patience):
                await self.closed.wait()
        except TimeoutError:
            raise Failed("the client was expected to close the connection") from None
        return self.close_code


class ScriptedServer:
    """Keeps all connections for a check.

    `patience`: seconds for which the check waits. `refusals`: the statuses of the next handshakes.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.refusals: list[HTTPStatus] = []
        self.refused_at: list[float] = []
        self.transcript: list[str] = []
        self._connections: asyncio.Queue[Connection] = asyncio.Queue()
        self._server: Server

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle,
            "127.0.0.1",
            0,
            process_request=self._judge,
            select_subprotocol=_select,
            compression=None,
            ping_interval=None,
        )
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The address of its endpoint for peers."""
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/ws/signaling/"

    async def connection(self) -> Connection:
        """The next connection."""
        try:
            async with asyncio.timeout(self.patience):
                return await self._connections.get()
        except TimeoutError:
            raise Failed(f"a new connection was expected within {self.patience:g} seconds") from None

    async def no_connection(self, seconds: float) -> None:
        """No connection comes for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._connections.get()
                raise Failed("no further connection was expected")

    async def _handle(self, socket: ServerConnection) -> None:
        self.transcript.append("a connection")
        connection = Connection(socket, self.transcript, self.patience)
        self._connections.put_nowait(connection)
        await connection.read()

    def _judge(self, socket: ServerConnection, request: Request) -> Response | None:
        if not self.refusals:
            return None
        status = self.refusals.pop(0)
        self.transcript.append(f"a handshake is refused with {int(status)}")
        self.refused_at.append(time.monotonic())
        return socket.respond(status, "Try again later.\n")


def _select(_socket: ServerConnection, offered: Sequence[Any]) -> Any:
    return PROTOCOL if PROTOCOL in offered else None
