"""Pairs of peers in calls of their own, whose latency an attack must not affect."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.client import Client, connect_all
from bench.dialects import DIALECTS
from bench.runner import LoadError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from bench.payloads import Stamp

PAIRS = 4
RATE = 200.0
"""Messages per second of all pairs together."""

FEWEST = 40
"""Messages that are exchanged in any case, on a machine that is too busy to send more in time."""

DRAIN = 30.0
"""Seconds to wait for the last messages, and until the peers of a pair know each other."""


class Bystanders:
    """A few pairs of peers, each pair in a room of its own."""

    def __init__(self) -> None:
        self.sent = self.arrived = 0
        self._clients: list[Client] = []
        self._latencies: list[int] = []
        self._introduced: set[Client] = set()

    async def join(self, urls: Sequence[str], tls: ssl.SSLContext | None) -> None:
        """Connect and join, the peers of a pair at one process after the other. Raises `LoadError`.

        A process hears of a join at the other one a moment later, and relays nothing to that peer before.
        """
        dialect = DIALECTS["peers"]
        for index in range(2 * PAIRS):
            client = Client(dialect, f"bystanders-{index // 2}", f"bystander-{index}", index)
            client.template = dialect.signal("candidate", client.room, index, f"bystander-{index ^ 1}")
            client.arrived, client.unstamped = self._note, self._meet
            self._clients.append(client)
        for number, url in enumerate(urls):
            await connect_all(url, dialect, self._clients[number :: len(urls)], tls=tls)
        until = time.monotonic() + DRAIN
        while len(self._introduced) < len(self._clients):
            if time.monotonic() > until:
                raise LoadError("not all bystanders heard of each other")
            await asyncio.sleep(0.01)

    def _meet(self, client: Client, frame: bytes) -> None:
        """Note that a peer knows the other one of its pair, from the roster or as that one joins."""
        if b'"bystander-%d"' % (client.index ^ 1) in frame:
            self._introduced.add(client)

    async def exchange(self, seconds: float) -> list[int]:
        """Exchange messages for some seconds. Return the latency of each in nanoseconds."""
        self._latencies, before, began = [], self.sent, time.monotonic()
        while (now := time.monotonic() - began) < seconds or self.sent < before + FEWEST:
            while self.sent < before + int(now * RATE):
                self._send()
            await asyncio.sleep(1 / RATE)
        await self.drain()
        return self._latencies

    def _send(self) -> None:
        client = self._clients[self.sent % len(self._clients)]
        self.sent += 1
        client.send(client.template.at(time.monotonic_ns()))

    def _note(self, _client: Client, stamp: Stamp) -> None:
        self.arrived += 1
        self._latencies.append(time.monotonic_ns() - stamp.time)

    async def drain(self) -> None:
        """Wait for messages in flight, up to a deadline."""
        until = time.monotonic() + DRAIN
        while self.arrived < self.sent and time.monotonic() < until:  # noqa: ASYNC110 - under a deadline
            await asyncio.sleep(0.01)

    def take_lost(self) -> int:
        """Return how many messages were lost since the last call."""
        lost, self.arrived = self.sent - self.arrived, self.sent
        return lost

    def broken(self) -> list[str]:
        """Describe the connections that the server closed."""
        return [f"{client.member} was {client.broken}" for client in self._clients if client.broken]

    async def close(self) -> None:
        """Close all connections. `broken` tells which the server had closed before."""
        for client in self._clients:
            client.close()
        with suppress(TimeoutError):  # they end with this process, too
            async with asyncio.timeout(DRAIN):
                await asyncio.gather(*(client.wait_disconnected() for client in self._clients))
