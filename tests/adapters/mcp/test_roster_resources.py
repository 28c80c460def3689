"""The rosters of rooms as resources."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from mcp import MCPError
from mcp_types import INVALID_PARAMS

from mcp_actors.adapters.mcp.roster_resources import room_of, uri_of
from mcp_actors.protocol.identifiers import RoomId
from tests.support.agents import Agent, agent, holder

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)


async def _read(one: Agent, uri: str) -> Any:
    (found,) = (await one.client.read_resource(uri)).contents
    return json.loads(getattr(found, "text", ""))


@pytest.mark.parametrize("name", ["r", "a/b c?#%", "é", "x/roster"])
def test_a_uri_names_a_room_whatever_its_name(name: str) -> None:
    assert room_of(uri_of(RoomId(name))) == name


@pytest.mark.parametrize("uri", ["room://r", "room:///roster", "rooms://r/roster", "room://a/b/roster", "x", ""])
def test_other_uris_name_none(uri: str) -> None:
    assert room_of(uri) is None


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_open_rooms_have_rosters_at_all_processes(servers: list[Server], mode: str) -> None:
    here, there = servers
    person, again, peer = await here.user(), await here.user(), await here.peer()
    await person.enter("a b", "ada")
    await again.enter("a b", "ada")
    await peer.join("a b", "p", metadata={"name": "Grace"})
    async with agent(there.app.mcp, mode=mode) as bot:
        (resource,) = (await bot.client.list_resources()).resources
        assert (resource.uri, resource.name) == ("room://a%20b/roster", "a b")
        assert await _read(bot, resource.uri) == {
            "room": "a b",
            "locked": False,
            "roster": [
                {"kind": "peer", "id": "p", "verified": False, "metadata": {"name": "Grace"}},
                {"kind": "user", "id": "ada", "verified": False, "metadata": {}},
            ],
        }
        (template,) = (await bot.client.list_resource_templates()).resource_templates
        assert template.uri_template == "room://{room}/roster"


async def test_a_roster_is_not_found_where_the_room_is_closed_or_the_token_is_for_others(server: Server) -> None:
    person = await server.user()
    await person.enter("secret", "ada")
    async with agent(server.app.mcp, holder("bot", "team-*")) as bot:
        assert (await bot.client.list_resources()).resources == []
        for uri in ("room://secret/roster", "room://team-1/roster", "file:///etc/passwd"):
            with pytest.raises(MCPError) as error:
                await bot.client.read_resource(uri)
            assert error.value.error.code == INVALID_PARAMS


@pytest.mark.settings(mcp_call_burst=2, mcp_call_rate=0.001)
async def test_resources_are_read_as_often_as_tools_are_called(server: Server) -> None:
    async with agent(server.app.mcp) as bot:
        await bot.call("list_rooms")
        await bot.client.list_resources()
        with pytest.raises(MCPError, match="You call too often; try again in"):
            await bot.client.read_resource("room://r/roster")
