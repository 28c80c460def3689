"""A client of the load process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from picows import WSCloseCode, WSListener, WSMsgType, ws_connect

from bench.payloads import STAMP, read_stamp
from bench.runner import LoadError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from picows import WSFrame, WSTransport

    from bench.dialects import Dialect
    from bench.payloads import Stamp, Template

MARK = STAMP.encode()
TIMEOUT = 30.0
"""Seconds a client may take to connect and join."""


class Client(WSListener):
    """A member of one room. `arrived` is called with each stamped message for it, `unstamped` with others."""

    def __init__(self, dialect: Dialect, room: str, member: str, index: int = 0) -> None:
        self.room = room
        self.member = member
        self.index = index
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrived: Callable[[Client, Stamp], None] = lambda _client, _stamp: None
        self.unstamped: Callable[[Client, bytes], None] = lambda _client, _frame: None
        self.template: Template
        self.opened = False
        self.closing = False
        self.broken = ""
        self._dialect = dialect
        self._mark = dialect.mark(member)
        self._transport: WSTransport

    def send(self, frame: bytes) -> None:
        """Send a text message."""
        self._transport.send(WSMsgType.TEXT, frame)

    def close(self) -> None:
        """Close with 1000, so that the server does not keep the session, and disconnect."""
        self.closing = True
        self._transport.send_close(WSCloseCode.OK)
        self._transport.disconnect()

    async def wait_disconnected(self) -> None:
        """Wait until the connection is closed to the last byte."""
        await self._transport.wait_disconnected()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Send the opening messages."""
        self._transport = transport
        self.opened = True
        for frame in self._dialect.opening(self.room, self.member):
            self.send(frame)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle a message or the server's close frame."""
        if frame.msg_type == WSMsgType.TEXT:
            self._read(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self.broken = f"closed by the server with {frame.get_close_code()} {frame.get_close_reason() or ''}"
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Record a connection that the server closed."""
        if not self.closing and not self.broken:
            self.broken = "cut by the server"
        if not self.joined.done():
            self.joined.set_exception(LoadError(f"{self.member} could not join: {self.broken or 'closed'}"))

    def _read(self, frame: bytes) -> None:
        at = frame.find(MARK)
        if at >= 0:
            if self._mark in frame:
                self.arrived(self, read_stamp(frame, at))
            return
        if not self.joined.done():
            self._join(frame)
        elif (answer := self._dialect.reply(frame, self.room, self.member)) is not None:
            self.send(answer)
        self.unstamped(self, frame)

    def _join(self, frame: bytes) -> None:
        answer = self._dialect.reply(frame, self.room, self.member)
        if answer is not None:
            self.send(answer)
        elif self._dialect.joined in frame:
            self.joined.set_result(None)
        elif b"error" in frame:
            self.joined.set_exception(LoadError(f"{self.member} could not join: {frame.decode()}"))


async def connect(
    url: str, dialect: Dialect, client: Client, tls: ssl.SSLContext | None = None, source: str | None = None
) -> Client:
    """Connect, from the address `source` if there is one, and join. Raises `LoadError`."""
    try:
        async with asyncio.timeout(TIMEOUT):
            target = url + dialect.target(client.room, client.member)
            place = None if source is None else (source, 0)
            await ws_connect(
                lambda: client, target, ssl_context=tls, websocket_handshake_timeout=TIMEOUT, local_addr=place
            )
            if not client.opened:  # picows returns all the same
                raise LoadError(f"{client.member} could not connect: closed during the handshake")
            await client.joined
    except TimeoutError:
        raise LoadError(f"{client.member} did not join within {TIMEOUT:.0f} s") from None
    except OSError as error:
        raise LoadError(f"{client.member} could not connect: {error}") from None
    return client


async def connect_all(
    url: str, dialect: Dialect, clients: Iterable[Client], at_once: int = 64, tls: ssl.SSLContext | None = None
) -> list[Client]:
    """Connect many clients, `at_once` at a time. Raises `LoadError`."""
    gate = asyncio.Semaphore(at_once)

    async def one(client: Client) -> Client:
        async with gate:
            return await connect(url, dialect, client, tls)

    return list(await asyncio.gather(*(one(client) for client in clients)))


def close_all(clients: Iterable[Client]) -> None:
    """Close all connections. Raises `LoadError` if one was broken before."""
    broken = [client for client in clients if client.broken]
    for client in clients:
        client.close()
    if broken:
        first = broken[0]
        raise LoadError(f"{len(broken)} connections broke; the first, {first.member}, was {first.broken}")
