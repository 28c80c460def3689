"""A WebSocket client on a raw socket, which can break every rule of the protocol."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

HOST = "127.0.0.1"
SINGLE_ADDRESS = "127.9.9.9"
"""The source address of attackers with `--addresses one`; bystanders use `HOST`."""

IP_BIND_ADDRESS_NO_PORT = 24
"""Linux's option of that name: the source port is chosen at connect, so that ports do not run out."""

BUFFER = 16_384
"""Bytes that the kernel keeps of what a client sends, and of what it should read: all else waits at the server, as the
kernel's memory is the server's and the attackers' together."""

TIMEOUT = 5.0
"""Seconds to wait for the server."""

TEXT, BINARY, PING, FINAL, COMPRESSED = 0x1, 0x2, 0x9, 0x80, 0x40
SMALL, MEDIUM = 125, 0xFFFF


def frame(payload: bytes, first: int = FINAL | TEXT) -> bytes:
    """Build a frame as clients send it, with an all-zero mask."""
    return frame_header(len(payload), first) + payload


def frame_header(length: int, first: int = FINAL | TEXT) -> bytes:
    """Build the header of a frame with a payload of `length` bytes."""
    if length <= SMALL:
        return struct.pack("!BB4x", first, 0x80 | length)
    if length <= MEDIUM:
        return struct.pack("!BBH4x", first, 0xFE, length)
    return struct.pack("!BBQ4x", first, 0xFF, length)


def get_request(port: int, path: str, *more: str) -> bytes:
    """Build an HTTP request with extra header lines."""
    return "\r\n".join((f"GET {path} HTTP/1.1", f"Host: {HOST}:{port}", *more, "", "")).encode("latin-1")


def handshake_request(port: int, *more: str) -> bytes:
    """Build a WebSocket handshake request with extra header lines."""
    return get_request(
        port,
        "/ws/signaling/",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *more,
    )


class Target:
    """The ports of a server's processes, and the source addresses: one, or a random one for each connection.

    `tls`: with which to connect, if the server has a certificate.
    """

    def __init__(self, ports: Sequence[int], random: Random, *, many: bool, tls: ssl.SSLContext | None = None) -> None:
        self.port = ports[0]
        self.tls = tls
        self._ports = tuple(ports)
        self._random = random
        self._many = many

    def at(self, number: int) -> Target:
        """Return the process of a number, counted round and round, as the target."""
        first = number % len(self._ports)
        return Target(self._ports[first:] + self._ports[:first], self._random, many=self._many, tls=self.tls)

    def source(self) -> str:
        """Return the source address of the next connection."""
        return (
            f"127.{self._random.randrange(10, 250)}.{self._random.randrange(256)}.1" if self._many else SINGLE_ADDRESS
        )


def trusting() -> ssl.SSLContext:
    """Return a context that accepts every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _connect(port: int, source: str) -> socket.socket:
    connecting = socket.socket()
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connecting.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        connecting.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(connecting, (HOST, port))
    except BaseException:
        connecting.close()
        raise
    return connecting


class RawClient:
    """A TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, target: Target) -> Self:
        """Connect. Raises OSError, including TimeoutError."""
        async with asyncio.timeout(TIMEOUT):
            connected = await _connect(target.port, target.source())
            server = None if target.tls is None else HOST
            return cls(*await asyncio.open_connection(sock=connected, ssl=target.tls, server_hostname=server))

    @classmethod
    async def upgrade(cls, target: Target, *more: str) -> Self:
        """Connect and perform the WebSocket handshake. Raises OSError."""
        client = await cls.open(target)
        await client.send(handshake_request(target.port, *more))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += (chunk := await client.receive(1))
            if not chunk:
                raise ConnectionError("no response to a handshake")
        if b" 101 " not in answer:
            raise ConnectionRefusedError(answer.partition(b"\r")[0].decode("latin-1"))
        return client

    async def send(self, data: bytes) -> None:
        """Send bytes and wait until the socket accepts more. Raises OSError if the server has closed the connection."""
        if self._writer.transport.is_closing():
            raise ConnectionResetError("the server has closed the connection")
        self._writer.write(data)
        async with asyncio.timeout(TIMEOUT):
            await self._writer.drain()
        await asyncio.sleep(0)

    async def receive(self, most: int = 65_536) -> bytes:
        """Return the next bytes, or b"" at the end of the stream. Raises TimeoutError."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self._reader.read(most)
            except ConnectionError:
                return b""

    async def wait_until_closed(self) -> None:
        """Read until the server closes the connection. Raises TimeoutError."""
        while await self.receive():
            pass

    async def send_slowly(self, data: bytes, pause: float, random: Random) -> None:
        """Send byte by byte, with random pauses around `pause` seconds. Raises OSError."""
        for byte in data:
            await self.send(bytes((byte,)))
            await asyncio.sleep(pause * (0.5 + random.random()))

    def close(self) -> None:
        """Abort the connection."""
        with suppress(OSError):
            self._writer.transport.abort()
