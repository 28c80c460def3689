"""A client that speaks WebSocket by hand, byte for byte: what a library would hide."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from tests.support.server import Server

JOIN = b'{"type":"join","room":"r","payload":{"peer_id":"%s"}}'
HANDSHAKE = (
    b"GET /ws/signaling/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Socket:
    """A TCP connection that speaks WebSocket by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: Server, early: bytes = b"") -> Self:
        """Shake hands, with frames right behind the request."""
        socket = cls(*await asyncio.open_connection("127.0.0.1", server.port, ssl=server.trusting))
        socket.writer.write(HANDSHAKE + early)
        answer = await asyncio.wait_for(socket.reader.readuntil(b"\r\n\r\n"), DEADLINE)
        assert answer.startswith(b"HTTP/1.1 101")
        return socket

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its first byte and its payload."""
        async with asyncio.timeout(DEADLINE):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            return first, await self.reader.readexactly(length)

    async def ended(self) -> bool:
        """Whether the server hangs up, having nothing more to say."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read(1) == b""

    async def close(self) -> None:
        """Send what waits to be sent, then hang up."""
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    async def vanish(self) -> None:
        """Cut the connection at once: nothing more is sent."""
        self.writer.transport.abort()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)
