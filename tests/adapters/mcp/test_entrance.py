"""How agents get into rooms: under the id of a token, or one of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.agents import agent, holder
from tests.support.tokens import REQUIRED

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)


async def test_an_agent_without_a_token_has_a_name_of_its_own_or_one_made_up(server: Server) -> None:
    async with agent(server.app.mcp) as bot:
        named = await bot.call("join_room", room="r", name="bot")
        assert [one["id"] for one in named["roster"]] == ["bot"]
        unnamed = await bot.call("join_room", room="other")
        assert unnamed["roster"][0]["id"].startswith("agent-")
        assert "must not start or end with a space" in await bot.refusal("join_room", room="r", name=" bot")
        assert "printable" in await bot.refusal("join_room", room="r\n")


@pytest.mark.settings(**REQUIRED)
async def test_an_agent_with_a_token_has_its_id_whatever_it_asks_for(server: Server) -> None:
    async with agent(server.app.mcp, holder("bot")) as bot:
        joined = await bot.call("join_room", room="r", name="ada")
        assert [one["id"] for one in joined["roster"]] == ["bot"]
