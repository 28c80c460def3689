"""A connection that need not keep to any rule."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from random import Random

HOST = "127.0.0.1"
ONE = "127.9.9.9"
"""The address from which attackers come who have only one; bystanders have `HOST`. Linux lets loopback have many."""

BIND_WITHOUT_PORT = 24
"""Linux's `IP_BIND_ADDRESS_NO_PORT`: the port is chosen on connecting, so that there are enough for all."""

PATIENCE = 5.0
"""Seconds for what an honest server does at once."""

TEXT, BINARY, PING, FINAL, COMPRESSED = 0x1, 0x2, 0x9, 0x80, 0x40
SMALL, MEDIUM = 125, 0xFFFF


def frame(payload: bytes, first: int = FINAL | TEXT) -> bytes:
    """One frame as clients write it, with a mask of zeros."""
    return head(len(payload), first) + payload


def head(length: int, first: int = FINAL | TEXT) -> bytes:
    """The head of a frame that says it has so many bytes."""
    if length <= SMALL:
        return struct.pack("!BB4x", first, 0x80 | length)
    if length <= MEDIUM:
        return struct.pack("!BBH4x", first, 0xFE, length)
    return struct.pack("!BBQ4x", first, 0xFF, length)


def handshake(port: int, *more: str) -> bytes:
    """A request for a WebSocket, with more header lines."""
    lines = (
        "GET /ws/signaling/ HTTP/1.1",
        f"Host: {HOST}:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *more,
    )
    return "\r\n".join((*lines, "", "")).encode()


class Target:
    """The port of a server, and where who attacks it comes from: one address, or ever others."""

    def __init__(self, port: int, random: Random, *, many: bool) -> None:
        self.port = port
        self._random = random
        self._many = many

    def source(self) -> str:
        """The address of the next connection."""
        return f"127.{self._random.randrange(10, 250)}.{self._random.randrange(256)}.1" if self._many else ONE


async def _connect(port: int, source: str) -> socket.socket:
    connecting = socket.socket()
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_IP, BIND_WITHOUT_PORT, 1)
        connecting.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(connecting, (HOST, port))
    except BaseException:
        connecting.close()
        raise
    return connecting


class Wire:
    """A TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, target: Target) -> Self:
        """Connect. Raises OSError, TimeoutError too."""
        async with asyncio.timeout(PATIENCE):
            connected = await _connect(target.port, target.source())
            return cls(*await asyncio.open_connection(sock=connected))

    @classmethod
    async def shake_hands(cls, target: Target, *more: str) -> Self:
        """Connect and become a WebSocket. Raises OSError."""
        wire = await cls.open(target)
        await wire.say(handshake(target.port, *more))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += (more_of_it := await wire.hear(1))
            if not more_of_it:
                raise ConnectionError("no answer to a handshake")
        if b" 101 " not in answer:
            raise ConnectionRefusedError(answer.partition(b"\r")[0].decode("latin-1"))
        return wire

    async def say(self, data: bytes) -> None:
        """Write, as fast as it is taken. Raises OSError when the server has hung up."""
        if self._writer.transport.is_closing():
            raise ConnectionResetError("the server has hung up")
        self._writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()
        await asyncio.sleep(0)

    async def hear(self, most: int = 65_536) -> bytes:
        """What there is next; b"" at the end. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._reader.read(most)
            except ConnectionError:
                return b""

    async def until_hung_up_on(self) -> None:
        """Read until the server hangs up. Raises TimeoutError when it falls silent instead."""
        while await self.hear():
            pass

    async def drip(self, data: bytes, pause: float, random: Random) -> None:
        """Write byte by byte, with pauses around this long. Raises OSError."""
        for byte in data:
            await self.say(bytes((byte,)))
            await asyncio.sleep(pause * (0.5 + random.random()))

    def close(self) -> None:
        """Be gone."""
        with suppress(OSError):
            self._writer.transport.abort()
