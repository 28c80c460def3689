"""Running checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.conformance import checks  # noqa: F401 - they register themselves
from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import REQUIREMENTS, Requirement
from mcp_actors.conformance.runner import Outcome, chosen, judge
from mcp_actors.conformance.target import Target
from tests.support.tokens import OPTIONAL, SECRET

if TYPE_CHECKING:
    from tests.support.server import Server


async def fail(target: Target, room: str) -> None:
    await (await target.peer()).join(room, "ada")
    raise Failed("it does not")


@pytest.mark.settings(**OPTIONAL)
@pytest.mark.parametrize("servers", [2], indirect=True)
async def test_this_server_keeps_all_requirements(servers: list[Server]) -> None:
    url, other = (server.url("", "http") for server in servers)
    verdicts = await judge(Target(url, other, SECRET), chosen([]))
    assert len(verdicts) == len(REQUIREMENTS)
    assert {one.id: one.why for one in verdicts if one.outcome is not Outcome.KEPT} == {}


async def test_what_the_server_cannot_do_is_skipped(server: Server) -> None:
    [verdict] = await judge(Target(server.url("", "http")), chosen(["TOKEN-1"]))
    assert (verdict.outcome, verdict.why) == (Outcome.SKIPPED, "needs tokens")


async def test_a_broken_requirement_shows_what_was_said(server: Server) -> None:
    [verdict] = await judge(Target(server.url("", "http")), [Requirement("X-1", "It does.", fail, "")])
    assert (verdict.outcome, verdict.why) == (Outcome.BROKEN, "it does not")
    [transcript] = verdict.transcript
    assert [line[0] for line in transcript] == [">", "<"]


async def test_a_server_that_is_not_there_breaks_everything() -> None:
    verdicts = await judge(Target("http://127.0.0.1:1"), chosen(["MSG", "JOIN-1"]))
    assert {one.outcome for one in verdicts} == {Outcome.BROKEN}
    assert "a WebSocket at ws://127.0.0.1:1/ws/signaling/ was expected" in verdicts[0].why


def test_requirements_are_chosen_by_their_ids_or_subjects() -> None:
    assert [one.id for one in chosen(["JOIN-2", "BEAT"])] == ["BEAT-1", "BEAT-2", "JOIN-2"]
    assert chosen(["NOTHING"]) == []
