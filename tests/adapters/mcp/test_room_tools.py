"""The tool that lists rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.agents import agent, holder

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)


async def test_an_agent_lists_the_rooms_of_all_processes(servers: list[Server]) -> None:
    here, there = servers
    person, peer = await here.user(), await here.peer()
    await person.enter("a", "ada")
    await peer.join("b", "p")
    async with agent(there.app.mcp) as one:
        assert (await one.call("list_rooms"))["rooms"] == [
            {"room": "a", "users": 1, "peers": 0, "locked": False},
            {"room": "b", "users": 0, "peers": 1, "locked": False},
        ]
        assert [room["room"] for room in (await one.call("list_rooms", prefix="b"))["rooms"]] == ["b"]


async def test_rooms_are_listed_in_pages(server: Server) -> None:
    person = await server.user()
    await person.enter("a", "ada")
    await person.say("join-room", "b")
    await person.expect("room-joined")
    async with agent(server.app.mcp) as one:
        first = await one.call("list_rooms", limit=1)
        assert [room["room"] for room in first["rooms"]] == ["a"]
        second = await one.call("list_rooms", cursor=first["next"])
        assert ([room["room"] for room in second["rooms"]], second["next"]) == (["b"], None)


async def test_only_rooms_that_a_token_opens_are_listed(server: Server) -> None:
    person = await server.user()
    await person.enter("secret", "ada")
    async with agent(server.app.mcp, holder("bot", "team-*")) as one:
        assert (await one.call("list_rooms"))["rooms"] == []
