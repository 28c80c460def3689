"""Peers on this project's Python client, which resumes sessions as PROTOCOL.md says."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from bench.signaling.clients.clients import ENTER_TIMEOUT, LEAVE_TIMEOUT, Clients, name_of, other, room_of
from mcp_actors.client import Signal, SignalingError, connect

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from bench.signaling.account import Account
    from mcp_actors.client import PeerRoom


class OurClients(Clients):
    """Each message is a request, whose error tells its sender that it was not delivered."""

    def __init__(self, urls: Sequence[str], account: Account) -> None:
        super().__init__(urls, account)
        self._rooms: list[PeerRoom] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients = AsyncExitStack()

    async def enter(self) -> None:
        """See `Clients`."""
        async with asyncio.timeout(ENTER_TIMEOUT):
            for peer, url in enumerate(self._urls):
                client = await self._clients.enter_async_context(connect(url))
                self._rooms.append(await client.join(room_of(peer), name_of(peer)))
                self._run(self._read(peer))

    async def leave(self) -> None:
        """See `Clients`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self._clients.aclose()

    def _write(self, peer: int, sent_at: int) -> None:
        self._run(self._request(peer, sent_at))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(self, peer: int, sent_at: int) -> None:
        try:
            await self._rooms[peer].signal(name_of(other(peer)), sent_at)
        except SignalingError:
            self._account.tell(peer, sent_at)

    async def _read(self, peer: int) -> None:
        async for event in self._rooms[peer]:
            if isinstance(event, Signal) and isinstance(event.data, int):
                self._account.arrive(other(peer), event.data)
