"""Checks become verdicts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mcp_actors.conformance.clients.registry import Requirement
from mcp_actors.conformance.clients.runner import judge
from tests.conformance.clients.faulty_client import FaultyClient

if TYPE_CHECKING:
    from mcp_actors.conformance.clients.scene import Scene


async def kept(scene: Scene) -> None:
    await scene.joined()


async def with_an_error(_scene: Scene) -> None:
    raise KeyError("payload")


async def test_verdicts_are_in_the_order_of_the_requirements_and_say_why() -> None:
    requirements = [Requirement("B-1", "b", "B", with_an_error), Requirement("A-1", "a", "A", kept)]
    broken, right = await judge(partial(FaultyClient, ""), requirements)
    assert (broken.id, broken.kept, broken.why) == ("B-1", False, "KeyError: 'payload'")
    assert (right.id, right.kept, right.why) == ("A-1", True, "")
    assert 'event   {"event": "joined", "room": "room"}' in right.transcript
