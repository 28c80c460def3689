"""When clients connect again, and when they do not."""

from __future__ import annotations

import asyncio
import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.checks.resuming import QUIET
from mcp_actors.conformance.clients.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.clients.scene import Scene

FINAL = (4501, 4510, 4599)
PASSING = (1001, 1012, 4099)
NORMAL = 1000
REFUSED = 2
SHORTEST = 0.5
"""The factor by which a random number may shorten a pause."""


@requirement("CLOSE-1", "After a close code from 4500 on a client MUST NOT connect again by itself.", "Closing")
async def final(scene: Scene) -> None:
    async def one(code: int, scene: Scene) -> None:
        await (await scene.joined()).close(code)
        await scene.server.no_connection(QUIET)

    await asyncio.gather(*[one(code, await scene.another()) for code in FINAL])


@requirement("CLOSE-2", "After a close code below 4500 a client MUST connect again.", "Closing")
async def passing(scene: Scene) -> None:
    async def one(code: int, scene: Scene) -> None:
        await (await scene.joined()).close(code)
        await scene.resumed(2)

    await asyncio.gather(*[one(code, await scene.another()) for code in PASSING])


@requirement("CLOSE-3", "A client that leaves for good MUST close with code 1000.", "Closing")
async def leaves(scene: Scene) -> None:
    connection = await scene.joined()
    await scene.tell("close")
    if (code := await connection.end()) != NORMAL:
        raise Failed(f"a close with 1000 was expected, not with {code}")


@requirement("CLOSE-4", "The application MUST be told when the connection is closed for good.", "Closing")
async def told(scene: Scene) -> None:
    await (await scene.joined()).close(FINAL[0])
    await scene.event("closed", "error")


@requirement("BACKOFF-1", "Attempts to connect MUST be made with pauses that grow from 0.5 seconds on.", "Closing")
async def pauses(scene: Scene) -> None:
    connection = await scene.joined()
    scene.server.refusals = [HTTPStatus.SERVICE_UNAVAILABLE] * REFUSED
    connection.cut()
    back, _ = await scene.resumed(2)
    found = [later - earlier for earlier, later in itertools.pairwise([*scene.server.refused_at, back.opened_at])]
    least = [SHORTEST * 2**number for number in range(-1, REFUSED)]
    if any(pause < short for pause, short in zip(found, least, strict=False)):
        raise Failed(
            f"pauses of at least {least[:REFUSED]} seconds were expected, not {[round(one, 2) for one in found]}"
        )
