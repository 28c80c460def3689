"""Attacks on the effort of the server: small requests that make it send much, to many, or to clients that read slowly.

Each is bounded as all attacks are: the bystanders must not notice.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from bench.attack.attack import Attack
from bench.attack.raw_client import RawClient, frame, handshake_request

if TYPE_CHECKING:
    from random import Random

    from bench.attack.raw_client import Target

METADATA = {"text": "x" * 900}
TOKEN = re.compile(rb'"resume":"([^"]+)"')
LARGE = "x" * 60_000

SENDERS = 10
"""One of so many members of a crowd sends, as fast as it may; the others only read."""

SECONDS = 3.0
"""How long a client attacks before it makes way for another one."""

SLOWLY = 0.1
"""Seconds between two reads of a client that reads slowly."""


async def _open_user(target: Target) -> RawClient:
    """Connect to /ws/mcp/. Raises OSError."""
    client = await RawClient.open(target)
    await client.send(handshake_request(target.port).replace(b"/ws/signaling/", b"/ws/mcp/", 1))
    if b" 101 " not in await client.receive():
        raise ConnectionRefusedError("the handshake was refused")
    return client


def _message(kind: str, room: str | None, **payload: Any) -> bytes:
    message = {"type": kind, "payload": payload} | ({} if room is None else {"room": room})
    return frame(json.dumps(message).encode())


async def _token(client: RawClient) -> str:
    """Read until the server tells a resume token. Raises OSError if it closes the connection first."""
    got = b""
    while (found := TOKEN.search(got)) is None:
        more = await client.receive()
        if not more:
            raise ConnectionResetError("the server has closed the connection")
        got = got[-200:] + more
    return found[1].decode()


async def _read(client: RawClient, pause: float = 0.0) -> None:
    """Read whatever comes, until the server closes the connection."""
    with suppress(OSError):
        while await client.receive():  # noqa: ASYNC110 - it waits for the server
            await asyncio.sleep(pause)


class Rosters(Attack):
    """Joins that ask for the roster of a large room again and again, after the client has come back once."""

    name, about = "rosters", "joins of a few bytes that ask for a large roster again, after a comeback"
    clients, quick_clients = 64, 16

    async def attack_once(self) -> None:
        """See `Attack`."""
        client, peer = await RawClient.upgrade(self._target), f"{self._random.random()}"
        try:
            await client.send(_message("join", "rosters", peer_id=peer, metadata=METADATA))
            token = await _token(client)
            client.close()
            client = await RawClient.upgrade(self._target)
            again = _message("join", "rosters", peer_id=peer, resume=token)
            reading = asyncio.ensure_future(_read(client))
            try:
                async with asyncio.timeout(SECONDS):
                    while not reading.done():
                        await client.send(again * 10)
            except TimeoutError:
                pass
            finally:
                reading.cancel()
        finally:
            client.close()


class FanOut(Attack):
    """Messages to all users of a room, small ones and large ones."""

    name, about = "fan-out", "messages to a crowd, as fast as possible, most of them small and some of 60 KB"
    clients, quick_clients = 100, 20

    def __init__(self, target: Target, random: Random) -> None:
        super().__init__(target, random)
        self._numbers = count()

    async def attack_once(self) -> None:
        """See `Attack`."""
        client = await _open_user(self._target)
        reading = asyncio.ensure_future(_read(client))
        try:
            await client.send(_message("connect", None, user_id="mallory") + _message("join-room", "crowd"))
            if next(self._numbers) % SENDERS:
                await asyncio.wait([reading], timeout=SECONDS)
                return
            block = _message("message", "crowd", content="x" * 100) * 20
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    while not reading.done():
                        await client.send(block)
                        if self._random.randrange(20) == 0:
                            await client.send(_message("message", "crowd", content=LARGE))
        finally:
            reading.cancel()
            client.close()


class SlowTargets(Attack):
    """Large messages to a peer that reads slowly."""

    name, about = "slow-targets", "large messages of several peers to one that reads slowly"
    clients, quick_clients = 16, 4

    async def attack_once(self) -> None:
        """See `Attack`."""
        room = f"{self._random.random()}"
        members = [await RawClient.upgrade(self._target) for _ in range(4)]
        readings = [asyncio.ensure_future(_read(member, 0.0 if i else SLOWLY)) for i, member in enumerate(members)]
        try:
            for number, member in enumerate(members):
                await member.send(_message("join", room, peer_id=f"{number}"))
            message = _message("signal", room, target_peer_id="0", data=LARGE)
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    while not all(reading.done() for reading in readings):
                        await asyncio.gather(*(member.send(message) for member in members[1:]))
        finally:
            for reading in readings:
                reading.cancel()
            for member in members:
                member.close()


class Comebacks(Attack):
    """Sessions in many rooms that are broken and resumed at once."""

    name, about = "comebacks", "sessions in 32 rooms, broken and resumed at once, again and again"

    async def attack_once(self) -> None:
        """See `Attack`."""
        client, user = await _open_user(self._target), f"{self._random.random()}"
        try:
            joins = b"".join(_message("join-room", f"comebacks-{number}") for number in range(32))
            await client.send(_message("connect", None, user_id=user) + joins)
            token = await _token(client)
            for number in range(20):
                client.close()
                client = await _open_user(self._target.at(number + 1))
                await client.send(_message("connect", None, user_id=user, resume=token, received=0))
                token = await _token(client)
        finally:
            client.close()


class Moves(Comebacks):
    """The same at the other one of two processes each time, to which the session moves."""

    name, about = "moves", "sessions in 32 rooms, broken and resumed at the other one of two processes each time"
    clients, quick_clients, processes = 12, 4, 2
