"""How agents get into rooms: under the id of a token, or one of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.mcp.caller import Caller
from mcp_actors.auth.authorization import Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import Grant
from mcp_actors.environment import load
from mcp_actors.signaling_server import SignalingServer
from tests.support.agents import agent, holder
from tests.support.tokens import REQUIRED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)


def _deciding(who: Grant | None, directory: Path) -> SignalingServer:
    """A server whose application lets users into rooms that begin with their ids."""

    async def authorize(request: Handshake | JoinRequest) -> Grant | None:
        if isinstance(request, Handshake):
            return who
        if not request.room.startswith("bot"):
            raise Refused("Not this room.")
        return Grant("bot", metadata={"name": "Robbie"})

    return SignalingServer(load(overrides={"mcp": True}, environ={}, directory=directory), authorize=authorize)


async def _admitted(signaling: SignalingServer) -> Caller:
    """A caller as the application has admitted it."""
    authorizer = signaling.app.authorizer
    assert authorizer is not None
    admission = await authorizer.admit(Handshake("user", {}, {}, "127.0.0.1"))
    return Caller("127.0.0.1", grant=admission.grant, admission=admission)


async def test_the_application_is_asked_about_each_room_and_says_what_others_see(tmp_path: Path) -> None:
    async with _deciding(Grant("bot"), tmp_path) as signaling:
        application = signaling.app.mcp
        assert application is not None
        async with agent(application, await _admitted(signaling)) as bot:
            joined = await bot.call("join_room", room="bot-1")
            (entry,) = joined["roster"]
            assert (entry["id"], entry["metadata"]) == ("bot", {"name": "Robbie", "agent": True})
            assert await bot.refusal("join_room", room="other") == "Not this room."
            assert (await bot.call("list_rooms"))["rooms"] == []
            await application.memberships.stop()  # the next call resumes it, and asks again
            bot.caller = await _admitted(signaling)
            assert (await bot.call("send_message", membership=joined["membership"], content=1))["sent"]


async def test_an_application_that_leaves_the_user_to_the_join_has_no_agents(tmp_path: Path) -> None:
    async with _deciding(None, tmp_path) as signaling, agent(signaling.app.mcp, await _admitted(signaling)) as bot:
        assert "did not say who you are" in await bot.refusal("join_room", room="bot-1")


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
