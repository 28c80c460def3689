"""The attacks, a class each. What one does is repeated by so many at once, until the time is up."""

from __future__ import annotations

import asyncio
import json
import zlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from bench.attack.wire import BINARY, COMPRESSED, FINAL, PING, TEXT, Wire, frame, handshake, head

if TYPE_CHECKING:
    from random import Random

    from bench.attack.wire import Target

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
ZEROS = 64 * 2**20
"""Bytes of what the compression bomb becomes."""


class Attack(ABC):
    """One kind of hostile client. `at_once`: how many of them; `few`: with --quick."""

    name: ClassVar[str]
    about: ClassVar[str]
    at_once: ClassVar[int] = 32
    few: ClassVar[int] = 8

    def __init__(self, target: Target, random: Random) -> None:
        self._target = target
        self._random = random

    @abstractmethod
    async def strike(self) -> None:
        """Do it once. Raises OSError, TimeoutError too, when the server hangs up before it is done."""


class Slowloris(Attack):
    """Handshakes that arrive in a byte now and then."""

    name, about = "slowloris", "handshakes that arrive byte by byte, and never whole"
    at_once, few = 500, 50

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.open(self._target)
        try:
            await wire.drip(handshake(self._target.port)[:-2] + b"X: y" * 1000, 0.2, self._random)
        finally:
            wire.close()


class HalfOpen(Attack):
    """Connections that say nothing."""

    name, about = "half-open", "thousands of connections that say nothing"
    at_once, few = 5000, 500

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.open(self._target)
        try:
            await wire.until_hung_up_on()
        finally:
            wire.close()


class Oversized(Attack):
    """Frames that say that they are huge."""

    name, about = "oversized", "frames of 1 MiB and more, or that say they are of 2^62 bytes"

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target)
        try:
            size = self._random.choice((2**20, 2**31, 2**62, 2**63 - 1))
            await wire.say(head(size))
            for _ in range(16):
                await wire.say(b"x" * 65_536)
            await wire.until_hung_up_on()
        finally:
            wire.close()


class Endless(Attack):
    """Messages of very many fragments, which never end."""

    name, about = "endless", "messages in fragments of a byte or of 16 KiB, which never end"

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target)
        try:
            piece = frame(b"x" * self._random.choice((0, 1, 16_384)), 0)
            await wire.say(frame(b"[", TEXT))
            while True:
                await wire.say(piece * max(1, 4096 // len(piece)))
        finally:
            wire.close()


class ByteByByte(Attack):
    """Frames that arrive in single bytes."""

    name, about = "byte-by-byte", "messages of 64 KiB that arrive in single bytes, a packet each"

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target)
        try:
            await wire.drip(frame(b" " * 65_000), 0.001, self._random)
        finally:
            wire.close()


class Bomb(Attack):
    """Compressed messages that become very large."""

    name, about = "bomb", f"compressed messages of 64 KiB that become {ZEROS // 2**20} MiB"
    at_once, few = 8, 4
    _packed: ClassVar[bytes] = b""

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target, DEFLATE)
        try:
            await wire.say(frame(self._bomb(), FINAL | COMPRESSED | TEXT))
            await wire.until_hung_up_on()
        finally:
            wire.close()

    @classmethod
    def _bomb(cls) -> bytes:
        if not cls._packed:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(bytes(ZEROS)) + packer.flush(zlib.Z_SYNC_FLUSH)
            cls._packed = packed.removesuffix(b"\x00\x00\xff\xff")
        return cls._packed


class Joins(Attack):
    """Joins and leaves of ever new rooms and ids, as fast as they are taken."""

    name, about = "joins", "joins and leaves as fast as they are taken, each of a new room and id"

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target)
        reading = asyncio.ensure_future(wire.until_hung_up_on())
        try:
            for _ in range(200):
                room, peer = f"{self._random.random()}", f"{self._random.random()}"
                join = {"type": "join", "room": room, "payload": {"peer_id": peer}}
                leave = {"type": "leave", "room": room}
                await wire.say(frame(json.dumps(join).encode()) + frame(json.dumps(leave).encode()))
        finally:
            reading.cancel()
            wire.close()


class Rejoins(Attack):
    """Connections that join one crowded room and are gone, without a word."""

    name, about = (
        "comings-and-goings",
        "connections that join one room and break, so that it fills with who may come back",
    )

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target)
        try:
            join = {"type": "join", "room": "crowd", "payload": {"peer_id": f"{self._random.random()}"}}
            await wire.say(frame(json.dumps(join).encode()))
            await wire.hear()
        finally:
            wire.close()


class BadMessages(Attack):
    """Messages that are none, as fast as they are taken."""

    name, about = "bad-messages", "messages that are none, until the server hangs up; and again"
    words: ClassVar = (b"", b"{", b"[" * 5000, b"\xff", b'{"type":"join","room":1}', b'{"type":"x"}', b"9" * 60_000)

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target)
        try:
            for _ in range(20):
                await wire.say(frame(self._random.choice(self.words)))
            await wire.until_hung_up_on()
        finally:
            wire.close()


class Pings(Attack):
    """Pings as fast as they are taken, whose answers nobody reads."""

    name, about = "pings", "pings as fast as they are taken, whose answers nobody reads"

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target)
        try:
            block = frame(b"x" * 125, FINAL | PING) * 100
            for _ in range(1000):
                await wire.say(block)
        finally:
            wire.close()


class Deaf(Attack):
    """Requests whose answers nobody reads."""

    name, about = "deaf", "requests as fast as they are taken, whose answers nobody reads"

    async def strike(self) -> None:
        """See `Attack`."""
        wire = await Wire.shake_hands(self._target)
        try:
            room = f"{self._random.random()}"
            join = {"type": "join", "room": room, "payload": {"peer_id": "deaf", "metadata": {"a": "x" * 900}}}
            block = frame(json.dumps(join).encode()) * 20
            while True:
                await wire.say(block)
        finally:
            wire.close()


class Garbage(Attack):
    """Requests that are no HTTP, or too much of it."""

    name, about = "garbage", "requests that are no HTTP, or too much of it, and frames of random bytes"

    async def strike(self) -> None:
        """See `Attack`."""
        noise = self._random.randbytes(self._random.randrange(2000))
        choice = self._random.randrange(6)
        wire = await (Wire.shake_hands if choice == 0 else Wire.open)(self._target)
        try:
            beginnings = (
                *(noise, b"GET /" + b"a" * 60_000, noise, b"\r\n"),
                *(handshake(self._target.port, *["X: y"] * lines) for lines in (2500, 3000)),
            )
            await wire.say(beginnings[choice])
            await wire.say(noise + frame(noise, FINAL | BINARY) + b"\r\n\r\n")
            await wire.hear()
        finally:
            wire.close()


ATTACKS: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (
        *(Slowloris, HalfOpen, Oversized, Endless, ByteByByte, Bomb),
        *(Joins, Rejoins, BadMessages, Pings, Deaf, Garbage),
    )
}
