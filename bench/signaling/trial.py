"""What is lost, duplicated and reordered while connections are cut, a process is killed, and Redis restarts.

Peers in rooms of two send each other messages at a fixed rate, over proxies. Every message is accounted for: an
undelivered one is lost silently, or its sender knows it. Clients do what those of their library do.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING

from bench.chaos.network import Network
from bench.plan import Outcome
from bench.runner import LoadError
from bench.scenarios.scenario import Measurement
from bench.signaling.account import Account
from bench.signaling.clients import CLIENTS
from bench.signaling.faults import FAULTS, Target
from bench.spanning import Spanning

if TYPE_CHECKING:
    from bench.contender import Contender
    from bench.scenarios.scenario import Options
    from bench.signaling.clients.clients import Clients

PEERS, QUICK_PEERS = 16, 6
PAUSE = 0.05
"""Seconds between two messages of a peer."""

CALM = 1.0
"""Seconds from the last join until traffic begins, and in which second copies may arrive at the end."""

QUIET, MOST_SETTLING = 6.0, 25.0
"""Seconds without an arrival, and in all, after which missing messages count as undelivered. Clients need up to five
seconds to reconnect."""


class Trial:
    """Traffic of clients while something breaks."""

    def __init__(self, clients: Clients, account: Account, peers: int) -> None:
        self._clients = clients
        self._account = account
        self._peers = peers

    async def run(self, fault: str, target: Target) -> None:
        """Join, send, break and settle. Raises TimeoutError if the peers cannot join."""
        try:
            await self._clients.enter()
            await asyncio.sleep(CALM)
            async with asyncio.TaskGroup() as tasks:
                breaking = tasks.create_task(_awaited(fault, target))
                tasks.create_task(self._send(target.seconds, breaking))
            await self._settle()
        finally:
            await self._clients.leave()

    async def _send(self, seconds: float, breaking: asyncio.Task[None]) -> None:
        """Send for a time, and at least until what breaks is back."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or not breaking.done():
            for peer in range(self._peers):
                self._clients.send(peer)
            await asyncio.sleep(PAUSE)

    async def _settle(self) -> None:
        began = changed = time.monotonic()
        before = -1
        while self._account.lost and time.monotonic() - changed < QUIET and time.monotonic() - began < MOST_SETTLING:
            if (now := self._account.delivered) != before:
                before, changed = now, time.monotonic()
            await asyncio.sleep(PAUSE)
        await asyncio.sleep(CALM)


async def _awaited(fault: str, target: Target) -> None:
    await FAULTS[fault](target)


class Faults(Measurement):
    """Traffic while something breaks. It is made in this process, which also does the breaking."""

    name = "signaling-faults"
    operation = "message"
    variants = tuple(FAULTS)
    columns = ("sent", "delivered", "lost", "told", "duplicated", "reordered")

    def unfit(self, contender: Contender, variant: str) -> str | None:
        """See `Measurement`."""
        if variant == "redis" and not isinstance(contender, Spanning):
            return "as they have no Redis"
        return None

    def measure(self, contender: Contender, variant: str, options: Options) -> Outcome:
        """See `Measurement`."""
        peers, seconds = QUICK_PEERS if options.quick else PEERS, options.span(8, 3)
        account = Account(peers)
        with ExitStack() as stack:
            server = stack.enter_context(contender.serve())
            network = stack.enter_context(Network(Random(1)))  # noqa: S311 - no secret
            paths = [network.path(node.port) for node in server.nodes]
            urls = [f"ws://127.0.0.1:{paths[peer % len(paths)].port}" for peer in range(peers)]

            async def run() -> None:
                clients = CLIENTS[contender.name](urls, account)
                await Trial(clients, account, peers).run(variant, Target(server, paths, seconds))

            try:
                asyncio.run(run())
            except TimeoutError:
                raise LoadError(f"not all peers could join; {server.said()}") from None
        return Outcome(operations=0, seconds=seconds, cpu_ns=0, rss_bytes=0, extra=account.balance())
