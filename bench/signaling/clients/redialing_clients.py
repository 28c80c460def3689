"""Peers of protocols without a client that runs here: plain WebSockets that are dialled again after a pause."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from picows import WSError

from bench.client import Client, connect
from bench.runner import LoadError
from bench.signaling.clients.clients import ENTER_TIMEOUT, Clients, name_of, other, room_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.dialects import Dialect
    from bench.payloads import Stamp
    from bench.signaling.account import Account


class RedialingClients(Clients):
    """A message without a connection is not sent, which its sender knows.

    `pause`: how many seconds to wait after this many attempts in a row have failed.
    """

    def __init__(
        self, urls: Sequence[str], account: Account, *, dialect: Dialect, pause: Callable[[int], float]
    ) -> None:
        super().__init__(urls, account)
        self._dialect = dialect
        self._pause = pause
        self._connected: dict[int, Client] = {}
        self._entered = [asyncio.Event() for _ in urls]
        self._tasks: list[asyncio.Task[None]] = []
        self._templates = [
            dialect.signal("candidate", room_of(peer), peer, name_of(other(peer))) for peer in range(len(urls))
        ]

    async def enter(self) -> None:
        """See `Clients`."""
        self._tasks = [asyncio.create_task(self._stay(peer)) for peer in range(len(self._urls))]
        async with asyncio.timeout(ENTER_TIMEOUT):
            for entered in self._entered:
                await entered.wait()

    async def leave(self) -> None:
        """See `Clients`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._connected.values():
            client.close()

    def _write(self, peer: int, sent_at: int) -> None:
        client = self._connected.get(peer)
        if client is None:
            self._account.tell(peer, sent_at)
        else:
            client.send(self._templates[peer].at(sent_at))

    async def _stay(self, peer: int) -> None:
        failures = 0
        while True:
            client = Client(self._dialect, room_of(peer), name_of(peer), peer)
            client.arrived = self._arrive
            try:
                await connect(self._urls[peer], self._dialect, client)
            except (LoadError, WSError):
                failures += 1
            else:
                failures = 0
                await self._use(peer, client)
            await asyncio.sleep(self._pause(failures))

    async def _use(self, peer: int, client: Client) -> None:
        self._connected[peer] = client
        self._entered[peer].set()
        await client.wait_disconnected()
        del self._connected[peer]

    def _arrive(self, client: Client, stamp: Stamp) -> None:
        if stamp.sender == other(client.index):
            self._account.arrive(stamp.sender, stamp.time)
