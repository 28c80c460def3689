"""The Model Context Protocol over standard input and output, carried to a running server by a WebSocket.

Hosts that start a command for each server use it. One message is one line here, and one text frame there.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from contextlib import suppress
from http import HTTPStatus
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from mcp_actors.protocol.identifiers import RequestId

if TYPE_CHECKING:
    from collections.abc import Callable

SUBPROTOCOL = "mcp"
ENDPOINT = "/ws/mcp/"

MAX_LINE = 16_777_216
"""Bytes of the longest message in both directions; the server has its own limit."""

CONNECT_TIMEOUT = 10.0
PING_INTERVAL = 20.0
"""Seconds between two pings; the connection is lost if one is not answered in as many."""

RETRY_DELAYS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the server is tried again after a lost connection; the last one is repeated."""

PATIENCE = 30.0
"""Seconds for which a request waits for the server to be there again, and, at the end of the input, for its answer."""

LOST = -32000
"""The JSON-RPC code of the answer to a request that was under way when the connection was lost."""


class ProxyError(Exception):
    """The server cannot be used; `str(error)` says why and what to do."""


class Line(msgspec.Struct):
    """What is read of a message. `params` of a notification may name a request that is cancelled."""

    id: RequestId | None = None
    method: str | None = None
    params: Any = None


_read = msgspec.json.Decoder(Line).decode


def websocket_url(url: str) -> str:
    """Return the URL of the WebSocket of a server, from that or from the one of its page or of `/mcp`."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ProxyError(f"{url!r} is no URL of a server. Example: http://localhost:8000")
    path = parts.path.rstrip("/")
    if not path.endswith(ENDPOINT.rstrip("/")):
        path = path.removesuffix("/mcp") + ENDPOINT.rstrip("/")
    return urlunsplit((scheme, parts.netloc, f"{path}/", parts.query, ""))


async def carry_stdio(url: str, token: str) -> None:
    """Carry messages between this process's standard input and output and a server. Raises `ProxyError`."""
    lines = asyncio.StreamReader(MAX_LINE)
    protocol = asyncio.StreamReaderProtocol(lines)
    if not _can_be_polled(sys.stdin.fileno()):
        raise ProxyError("standard input must be a pipe: hosts start this command, and talk to it there")
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await StdioProxy(websocket_url(url), token, lines, _write_out).run()


def _can_be_polled(descriptor: int) -> bool:
    """Whether the event loop can wait for input: uvloop aborts the process for a file and for /dev/null."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def _write_out(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


class StdioProxy:
    """Carries messages between a host and a server, and connects again when the connection is lost.

    A host that has begun with `initialize` does not notice that: it is repeated on the new connection. Requests that
    were under way are answered with an error. `write` takes whole lines for the host.
    """

    def __init__(self, url: str, token: str, lines: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
        self._url = url
        self._token = token
        self._lines = lines
        self._write = write
        self._socket: WebSocketClientConnection | None = None
        self._connected = asyncio.Event()
        self._pending: set[RequestId] = set()
        self._answered = asyncio.Event()
        self._opening: list[bytes] = []
        """The messages with which the host has begun, `initialize` and what follows it."""

    async def run(self) -> None:
        """Carry messages until the host ends its input. Raises `ProxyError` if the server cannot be used."""
        self._socket = await self._connect()
        self._connected.set()
        receiving = asyncio.ensure_future(self._receive())
        sending = asyncio.ensure_future(self._send())
        try:
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
            for done in (receiving, sending):
                if done.done():
                    done.result()
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)
            if self._socket is not None:
                self._socket.close()

    async def _connect(self) -> WebSocketClientConnection:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        request = HTTPRequest(self._url, headers=headers, connect_timeout=CONNECT_TIMEOUT)
        try:
            socket = await websocket_connect(
                request,
                subprotocols=[SUBPROTOCOL],
                ping_interval=PING_INTERVAL,
                max_message_size=MAX_LINE,
            )
        except HTTPClientError as error:
            raise _refused(self._url, error) from None
        except (OSError, ValueError, WebSocketClosedError) as error:
            raise ProxyError(f"cannot connect to {self._url}: {error}") from None
        if socket.selected_subprotocol != SUBPROTOCOL:
            socket.close()
            raise ProxyError(f"{self._url} does not serve agents; set MCP_ACTORS_MCP=true there")
        return socket

    async def _send(self) -> None:
        """Send what the host writes, to the end of its input and until that is answered."""
        while line := await self._lines.readline():
            if line.strip():
                await self._send_line(line.strip())
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._pending:
                    self._answered.clear()
                    await self._answered.wait()

    async def _send_line(self, line: bytes) -> None:
        message = _parsed(line)
        if message.method == "initialize":
            self._opening = [line]
        elif message.method == "notifications/initialized":
            self._opening = [*self._opening[:1], line]
        elif message.method == "notifications/cancelled" and isinstance(message.params, dict):
            self._settle(message.params.get("requestId"))
        if message.method is not None and message.id is not None:
            self._pending.add(message.id)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._connected.wait()
            assert self._socket is not None  # noqa: S101 - it is connected
            await self._socket.write_message(line.decode("utf-8", "replace"))
        except (TimeoutError, WebSocketClosedError):
            if message.id is not None and message.id in self._pending:
                self._answer_lost(message.id)

    async def _receive(self) -> None:
        """Write what the server sends; connect again whenever the connection is lost."""
        while True:
            assert self._socket is not None  # noqa: S101 - it is connected
            while (text := await self._socket.read_message()) is not None:
                self._received(text.encode() if isinstance(text, str) else text)
            self._socket.close()
            self._connected.clear()
            for request_id in tuple(self._pending):
                self._answer_lost(request_id)
            self._socket = await self._reconnect()
            self._connected.set()

    def _received(self, line: bytes) -> None:
        message = _parsed(line)
        if message.method is None:
            self._settle(message.id)
        self._write(line + b"\n")

    def _settle(self, request_id: RequestId | None) -> None:
        if request_id is not None:
            self._pending.discard(request_id)
        self._answered.set()

    def _answer_lost(self, request_id: RequestId) -> None:
        error = {"code": LOST, "message": "The connection to the server was lost; try again."}
        self._write(json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode() + b"\n")
        self._settle(request_id)

    async def _reconnect(self) -> WebSocketClientConnection:
        """Connect again, and begin as the host has. Raises `ProxyError` if the server refuses that."""
        delays = chain(RETRY_DELAYS, repeat(RETRY_DELAYS[-1]))
        while True:
            await asyncio.sleep(next(delays))
            try:
                socket = await self._connect()
            except Refused:
                raise
            except ProxyError:
                continue
            if await self._begin_again(socket):
                return socket

    async def _begin_again(self, socket: WebSocketClientConnection) -> bool:
        """Repeat how the host has begun, and drop the answer, which it has; False if the connection is lost again."""
        with suppress(WebSocketClosedError):
            for number, line in enumerate(self._opening):
                await socket.write_message(line.decode("utf-8", "replace"))
                if number == 0 and await socket.read_message() is None:
                    return False
            return True
        return False


class Refused(ProxyError):
    """The server is there, and does not let the agent in."""


def _refused(url: str, error: HTTPClientError) -> ProxyError:
    body = b"" if error.response is None else error.response.body
    reason = body.decode("utf-8", "replace").strip() or str(error)
    if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Refused(f"{url} refuses this agent: {reason}")
    return ProxyError(f"cannot connect to {url}: {reason}")


def _parsed(line: bytes) -> Line:
    """Return what a message says; nothing for one that the server is to complain about."""
    try:
        return _read(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Line()
