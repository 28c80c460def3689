"""Draining: before this node stops, its clients are asked to go to another one, and are served until they have gone."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from mcp_actors.transports.connections import Connections

log = structlog.get_logger("mcp_actors.drain")

SPREAD = 0.8
"""The part of the time over which clients are spread; the rest is for the last of them to connect and come back."""

BATCH = 200
"""Clients asked in one turn of the loop: some milliseconds, in which it does nothing else."""


async def drain(connections: Connections, seconds: float) -> None:
    """Take no more, ask all clients to go elsewhere, and wait until they have gone; no longer than so many seconds."""
    log.info("draining", connections=len(connections), seconds=seconds)
    try:
        async with asyncio.timeout(seconds):
            await _ask_all(connections, seconds)
            await connections.all_gone()
    except TimeoutError:
        log.info("not all clients have gone; they are closed", connections=len(connections))


async def _ask_all(connections: Connections, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    last = loop.time() + SPREAD * seconds
    for number, connection in enumerate(connections.take_no_more(), 1):
        connection.ask_to_reconnect(max(0.0, last - loop.time()) * random.random())  # noqa: S311 - no secret
        if number % BATCH == 0:
            await asyncio.sleep(0)
