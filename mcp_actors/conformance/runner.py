"""Runs checks, several at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import uuid4

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import Requirement, ordered

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mcp_actors.conformance.target import Target

AT_A_TIME = 8
LONGEST = 30.0
"""Seconds that a check may take."""


class Outcome(StrEnum):
    """The result of a check."""

    KEPT = "kept"
    BROKEN = "BROKEN"
    SKIPPED = "skipped"


@dataclass
class Verdict:
    """A requirement, and whether the server keeps it.

    `why`: what was wrong, or what the check needs. `transcript`: what each client sent and received.
    """

    id: str
    text: str
    outcome: Outcome
    why: str = ""
    transcript: list[list[str]] = field(default_factory=list)


def chosen(only: Collection[str]) -> list[Requirement]:
    """The requirements with these ids, or subjects of ids such as JOIN; all of them if there are none."""
    return [one for one in ordered() if not only or one.id in only or one.id.partition("-")[0] in only]


async def judge(target: Target, requirements: Iterable[Requirement]) -> list[Verdict]:
    """Run the checks of these requirements, and return a verdict for each, in their order."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(requirement: Requirement) -> Verdict:
        async with gate:
            return await _judge(target, requirement)

    return await asyncio.gather(*map(one, requirements))


async def _judge(target: Target, requirement: Requirement) -> Verdict:
    verdict = Verdict(requirement.id, requirement.text, Outcome.KEPT)
    if requirement.needs and requirement.needs not in target.has:
        verdict.outcome, verdict.why = Outcome.SKIPPED, f"needs {requirement.needs}"
        return verdict
    async with target.for_one_check() as one:
        try:
            async with asyncio.timeout(LONGEST):
                await requirement.check(one, f"conformance-{uuid4().hex}")
        except (Failed, TimeoutError, KeyError, TypeError, ValueError) as error:
            verdict.outcome, verdict.transcript = Outcome.BROKEN, [client.transcript for client in one.clients]
            verdict.why = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
    return verdict
