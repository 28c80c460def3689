"""Attacks on memory: messages that are sent to clients that do not read them, connected or away.

The server is given a small ceiling for this memory (`run.SETTINGS`), which is below the bound of every attack.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bench.attack.attack import Attack
from bench.attack.raw_client import FINAL, RawClient, frame, handshake_request

if TYPE_CHECKING:
    from random import Random

    from bench.attack.raw_client import Target

PONG = 0xA
ROOM = 40
"""Clients of one room, of which one sends."""

TEXT = "x" * 60_000
EVERY = 0.1
"""Seconds between two messages to a room, and between two signs of life."""


async def _open_user(target: Target, room: str) -> RawClient:
    """Connect to /ws/mcp/ and join a room. Raises OSError."""
    client = await RawClient.open(target)
    await client.send(handshake_request(target.port).replace(b"/ws/signaling/", b"/ws/mcp/", 1))
    if b" 101 " not in await client.receive():
        raise ConnectionRefusedError("the handshake was refused")
    await _say(client, "connect", None, user_id="mallory")
    await _say(client, "join-room", room)
    return client


async def _say(client: RawClient, kind: str, room: str | None, **payload: Any) -> None:
    message = {"type": kind, "payload": payload} | ({} if room is None else {"room": room})
    await client.send(frame(json.dumps(message).encode()))


async def _read(client: RawClient) -> None:
    """Read whatever comes, until the server closes the connection."""
    with suppress(OSError):
        while True:
            with suppress(TimeoutError):
                if not await client.receive():
                    return


class Unread(Attack):
    """Rooms in which one client sends large messages, and the others read nothing."""

    name, about = "unread", "rooms of 40 that are sent messages of 60 KB which nobody reads"
    clients, quick_clients = 240, 80
    pongs = False

    def __init__(self, target: Target, random: Random) -> None:
        super().__init__(target, random)
        self._opened = 0

    async def attack_once(self) -> None:
        """See `Attack`."""
        number, self._opened = self._opened, self._opened + 1
        room = f"unread-{number // ROOM}"
        client = await _open_user(self._target, room)
        try:
            if number % ROOM:
                await self._hold(client)
            else:
                await self._send(client, room)
        finally:
            client.close()

    async def _hold(self, client: RawClient) -> None:
        """Read nothing, until the server closes the connection."""
        while True:
            await asyncio.sleep(EVERY)
            await client.send(frame(b"", FINAL | PONG) if self.pongs else b"")

    async def _send(self, client: RawClient, room: str) -> None:
        reading = asyncio.create_task(_read(client))
        try:
            while True:
                await _say(client, "message", room, content=TEXT)
                await asyncio.sleep(EVERY)
        finally:
            reading.cancel()


class UnreadPongs(Unread):
    """The same, with pongs as if the clients were alive."""

    name, about = "unread-pongs", "the same, by clients that send pongs nobody asked for"
    pongs = True


class Away(Attack):
    """Sessions whose connections break, and messages that are kept for them."""

    name, about = "away", "sessions broken on purpose, each of which is sent 240 KB of its own"
    clients, quick_clients = 64, 16

    async def attack_once(self) -> None:
        """See `Attack`."""
        room = f"away-{self._random.random()}"
        lost, sender = await RawClient.upgrade(self._target), await RawClient.upgrade(self._target)
        try:
            for client, peer in ((sender, "sender"), (lost, "lost")):
                await _say(client, "join", room, peer_id=peer)
                await client.receive()
            lost.close()
            for _ in range(4):
                await _say(sender, "signal", room, target_peer_id="lost", data=TEXT)
        finally:
            lost.close()
            sender.close()
