"""Pairs who are in a call of their own, and how long their messages take."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench.client import Client, close_all, connect_all
from bench.dialects import DIALECTS

if TYPE_CHECKING:
    from bench.payloads import Stamp

PAIRS = 4
RATE = 200.0
"""Messages per second, of all together."""

DRAIN = 5.0
"""Seconds the last message may take."""


class Bystanders:
    """A few pairs; each in a room of its own."""

    def __init__(self) -> None:
        self.sent = self.arrived = 0
        self._clients: list[Client] = []
        self._latencies: list[int] = []

    async def gather(self, url: str) -> None:
        """Join. Raises `LoadError`."""
        dialect = DIALECTS["peers"]
        for index in range(2 * PAIRS):
            client = Client(dialect, f"bystanders-{index // 2}", f"bystander-{index}", index)
            client.template = dialect.signal("candidate", client.room, index, f"bystander-{index ^ 1}")
            client.arrived = self._note
            self._clients.append(client)
        await connect_all(url, dialect, self._clients)

    async def talk(self, seconds: float) -> list[int]:
        """Talk for so long; how long each message took, in nanoseconds."""
        self._latencies, before, began = [], self.sent, time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            while self.sent < before + int(now * RATE):
                self._send()
            await asyncio.sleep(1 / RATE)
        await self.rest()
        return self._latencies

    def _send(self) -> None:
        client = self._clients[self.sent % len(self._clients)]
        self.sent += 1
        client.send(client.template.at(time.monotonic_ns()))

    def _note(self, _client: Client, stamp: Stamp) -> None:
        self.arrived += 1
        self._latencies.append(time.monotonic_ns() - stamp.time)

    async def rest(self) -> None:
        """Wait until all has arrived, or will not."""
        until = time.monotonic() + DRAIN
        while self.arrived < self.sent and time.monotonic() < until:  # noqa: ASYNC110 - under a deadline
            await asyncio.sleep(0.01)

    def forget_lost(self) -> int:
        """How many messages did not arrive since this was asked last."""
        lost, self.arrived = self.sent - self.arrived, self.sent
        return lost

    def broken(self) -> list[str]:
        """Whose connection the server broke, and how."""
        return [f"{client.member} was {client.broken}" for client in self._clients if client.broken]

    def disperse(self) -> None:
        """Leave. Raises `LoadError` if a connection was broken."""
        close_all(self._clients)
