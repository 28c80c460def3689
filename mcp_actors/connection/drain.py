"""Draining: before this process stops, clients are asked to reconnect elsewhere, and served until they have gone."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from mcp_actors.connection.connections import BATCH

if TYPE_CHECKING:
    from mcp_actors.connection.connections import Connections

log = structlog.get_logger("mcp_actors.drain")

SPREAD = 0.8
"""The part of the time over which clients are spread; in the rest the last of them reconnect."""


async def drain(connections: Connections, seconds: float) -> None:
    """Accept no more connections, ask all clients to reconnect, and wait until they have gone, at most `seconds`."""
    log.info("draining", connections=len(connections), seconds=seconds)
    try:
        async with asyncio.timeout(seconds):
            await _ask_all(connections, seconds)
            await connections.all_gone()
    except TimeoutError:
        log.info("drain timed out, closing the remaining connections", connections=len(connections))


async def _ask_all(connections: Connections, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    last = loop.time() + SPREAD * seconds
    for number, connection in enumerate(connections.stop_accepting(), 1):
        connection.ask_to_reconnect(max(0.0, last - loop.time()) * random.random())  # noqa: S311 - no secret
        if number % BATCH == 0:
            await asyncio.sleep(0)
