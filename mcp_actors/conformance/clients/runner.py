"""Runs checks, several at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.scene import scene
from mcp_actors.conformance.clients.server import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.conformance.clients.registry import Requirement
    from mcp_actors.conformance.clients.scene import Start

AT_A_TIME = 8
LONGEST = 60.0
"""Seconds that a check may take."""


class Verdict(NamedTuple):
    """A requirement, and whether the client keeps it. `why`: what was wrong; `transcript`: what both sides did."""

    id: str
    text: str
    section: str
    kept: bool
    why: str
    transcript: list[str]


async def judge(start: Start, requirements: Iterable[Requirement], patience: float = PATIENCE) -> list[Verdict]:
    """Run the checks of these requirements, and return a verdict for each, in their order.

    `patience`: seconds for which checks wait for what a client must do.
    """
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(requirement: Requirement) -> Verdict:
        async with gate:
            return await _judge(start, requirement, patience)

    return await asyncio.gather(*map(one, requirements))


async def _judge(start: Start, requirement: Requirement, patience: float) -> Verdict:
    why = ""
    async with scene(start, patience) as acting:
        try:
            async with asyncio.timeout(LONGEST):
                await requirement.check(acting)
        except Failed as failed:
            why = str(failed)
        except (TimeoutError, KeyError, TypeError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
    return Verdict(requirement.id, requirement.text, requirement.section, not why, why, acting.server.transcript)
