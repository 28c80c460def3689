"""The ICE servers for connections of aiortc, which uses the first of each kind, and waits five seconds for it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from aiortc import RTCIceServer

from mcp_actors.client.errors import SignalingError
from mcp_actors.client.ice_server_check import (
    IceServerCheck,
    IceServerOutcome,
    check_ice_server,
    single_servers,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.client.events import Json
    from mcp_actors.client.peer_room import PeerRoom

logger = logging.getLogger(__name__)

FIRST_WAIT, RENEWAL_WAIT = 1.0, 0.3
"""Seconds that first connections wait for the check of servers; that an attempt to heal waits for new credentials."""

USABLE = frozenset({IceServerOutcome.WORKS, IceServerOutcome.UNKNOWN})


class IceServerPool:
    """Checks the servers of a room, and gives those that answer."""

    def __init__(self, room: PeerRoom) -> None:
        self._room = room
        self._found: dict[str, IceServerCheck] = {}
        self._checking: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def is_turn_refused(self) -> bool:
        """Whether a TURN server has refused an allocation."""
        return any(one.is_turn and one.outcome == IceServerOutcome.REFUSED for one in self._found.values())

    def servers(self) -> list[RTCIceServer]:
        """Those that have answered, with the newest credentials."""
        known = {url for url, found in self._found.items() if found.outcome in USABLE}
        return [RTCIceServer(**server) for server in self._servers() if server["urls"][0] in known]

    async def start(self) -> None:
        """Check all servers, and wait a moment for those that answer."""
        self.check()
        await _wait(self._checking, FIRST_WAIT)

    def renew(self) -> None:
        """Ask for new credentials, and check the servers with them, in the background."""
        has_turn = any(server["urls"][0].startswith("turn") for server in self._servers())
        if has_turn and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew())

    async def renewed(self) -> None:
        """Wait a moment for what was asked for."""
        await _wait(self._renewing, RENEWAL_WAIT)

    def check(self) -> None:
        """Check all servers in the background."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())

    async def close(self) -> None:
        """Check no more."""
        tasks = [task for task in (self._checking, self._renewing) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self) -> None:
        with suppress(SignalingError):
            await self._room.renew_ice_servers()
        if self._checking:
            await _wait(self._checking, None)
        await self._check()

    async def _check(self) -> None:
        servers = self._servers()
        wanted = {server["urls"][0] for server in servers}
        self._found = {url: found for url, found in self._found.items() if url in wanted}
        await asyncio.gather(*(self._check_one(server) for server in servers))

    async def _check_one(self, server: Json) -> None:
        found = self._found[server["urls"][0]] = await check_ice_server(server)
        if found.outcome not in USABLE:
            logger.info("%s is not used: %s", found.url, found.text)

    def _servers(self) -> list[Json]:
        return single_servers(self._room.ice_servers)


async def _wait(task: Awaitable[None] | None, seconds: float | None) -> None:
    """Wait for a task, which goes on."""
    if task:
        await asyncio.wait([asyncio.ensure_future(task)], timeout=seconds)
