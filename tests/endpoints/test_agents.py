"""The endpoint of agents: what differs from that of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.agents import agent

if TYPE_CHECKING:
    from tests.support.server import Server


@pytest.mark.settings(mcp=True)
async def test_agents_are_marked_in_rosters(server: Server) -> None:
    person = await server.user()
    async with agent(server.app.mcp) as bot:
        await bot.call("join_room", room="r", name="bot")
        users = (await person.enter("r", "ada"))["users"]
    assert {"user_id": "bot", "metadata": {"agent": True}} in users
    assert {"user_id": "ada"} in users


@pytest.mark.settings(mcp=True)
async def test_the_first_token_of_a_session_stays_good(server: Server) -> None:
    application = server.app.mcp
    assert application is not None
    async with agent(application) as bot:
        joined = await bot.call("join_room", room="r")
        for _ in range(3):
            await application.memberships.stop()  # the session waits, and the next call resumes it
            received = await bot.call("receive_messages", membership=joined["membership"], after=joined["last_seq"])
            assert not received["missed"]
    assert application.counters.resumed == 3
