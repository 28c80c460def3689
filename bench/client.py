"""One connection of the load process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from picows import WSCloseCode, WSListener, WSMsgType, ws_connect

from bench.payloads import STAMP, read_stamp
from bench.runner import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from picows import WSFrame, WSTransport

    from bench.dialects import Dialect
    from bench.payloads import Stamp, Template

MARK = STAMP.encode()
PATIENCE = 30.0
"""Seconds a connection may take to join."""


class Client(WSListener):
    """A member of one room. `arrived` is called with each stamped message."""

    def __init__(self, dialect: Dialect, room: str, member: str, index: int = 0) -> None:
        self.room = room
        self.member = member
        self.index = index
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrived: Callable[[Client, Stamp], None] = lambda _client, _stamp: None
        self.unstamped: Callable[[Client, bytes], None] = lambda _client, _frame: None
        self.template: Template
        self.closing = False
        self.broken = ""
        self._dialect = dialect
        self._transport: WSTransport

    def send(self, frame: bytes) -> None:
        """Send one text."""
        self._transport.send(WSMsgType.TEXT, frame)

    def close(self) -> None:
        """Say good-bye, so that the server does not wait for it to come back, and hang up."""
        self.closing = True
        self._transport.send_close(WSCloseCode.OK)
        self._transport.disconnect()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Ask to join."""
        self._transport = transport
        for frame in self._dialect.opening(self.room, self.member):
            self.send(frame)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a message, or note that the server closes."""
        if frame.msg_type == WSMsgType.TEXT:
            self._read(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self.broken = f"closed by the server with {frame.get_close_code()} {frame.get_close_reason() or ''}"
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note a connection that was not closed by us."""
        if not self.closing and not self.broken:
            self.broken = "cut by the server"
        if not self.joined.done():
            self.joined.set_exception(LoadError(f"{self.member} could not join: {self.broken or 'closed'}"))

    def _read(self, frame: bytes) -> None:
        at = frame.find(MARK)
        if at >= 0:
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


async def connect(url: str, dialect: Dialect, client: Client) -> Client:
    """Connect and wait until the client is in its room. Raises `LoadError`."""
    try:
        async with asyncio.timeout(PATIENCE):
            await ws_connect(lambda: client, url + dialect.path(client.member), websocket_handshake_timeout=PATIENCE)
            await client.joined
    except TimeoutError:
        raise LoadError(f"{client.member} did not get in within {PATIENCE:.0f} s") from None
    except OSError as error:
        raise LoadError(f"{client.member} could not connect: {error}") from None
    return client


async def connect_all(url: str, dialect: Dialect, clients: Iterable[Client], at_once: int = 64) -> list[Client]:
    """Connect many, so many `at_once`. Raises `LoadError`."""
    gate = asyncio.Semaphore(at_once)

    async def one(client: Client) -> Client:
        async with gate:
            return await connect(url, dialect, client)

    return list(await asyncio.gather(*(one(client) for client in clients)))


def close_all(clients: Iterable[Client]) -> None:
    """Close all connections. Raises `LoadError` if one was broken before."""
    broken = [client for client in clients if client.broken]
    for client in clients:
        client.close()
    if broken:
        first = broken[0]
        raise LoadError(f"{len(broken)} connections broke; the first, {first.member}, was {first.broken}")
