"""What is done to a server in a trial, and to the connections of its clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.chaos.network import Path
    from bench.contender import Server

CUTS = 3
AWAY = 1.0
"""Seconds that a process, or Redis, is away."""


class Target:
    """A running server, and the path to each of its processes. `seconds`: how long there is traffic."""

    def __init__(self, server: Server, paths: Sequence[Path], seconds: float) -> None:
        self.server = server
        self.paths = paths
        self.seconds = seconds


async def cut(target: Target) -> None:
    """Abort all connections, several times."""
    for _ in range(CUTS):
        await asyncio.sleep(target.seconds / (CUTS + 1))
        for path in target.paths:
            path.cut()


async def kill(target: Target) -> None:
    """Kill the last process with SIGKILL, and start it again.

    Its clients find another process meanwhile, as behind a load balancer, if there is one.
    """
    await asyncio.sleep(target.seconds / (CUTS + 1))
    node = target.server.nodes[-1]
    target.paths[-1].redirect(target.server.nodes[0].port)
    node.kill()
    await asyncio.sleep(AWAY)
    await asyncio.to_thread(node.start)


async def redis(target: Target) -> None:
    """Stop Redis, which has no persistence, and start it again."""
    engine = target.server.engine
    if engine is None:
        return
    await asyncio.sleep(target.seconds / (CUTS + 1))
    await asyncio.to_thread(engine.stop)
    await asyncio.sleep(AWAY)
    await asyncio.to_thread(engine.start)


FAULTS: dict[str, Callable[[Target], Awaitable[None]]] = {"cut": cut, "kill": kill, "redis": redis}
