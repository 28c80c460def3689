"""One membership: its lease, and the order of its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.agents import agent
from tests.support.loop import until

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)


@pytest.mark.settings(mcp_lease=1.0)
async def test_each_call_begins_the_lease_anew(server: Server) -> None:
    application = server.app.mcp
    assert application is not None
    async with agent(application) as bot:
        joined = await bot.call("join_room", room="r")
        for _ in range(3):
            waited = await bot.result(
                "receive_messages", membership=joined["membership"], after=joined["last_seq"], wait_seconds=0.7
            )
            assert not waited.is_error
    await until(lambda: application.counters.expired == 1, "the end of the lease")
    assert len(application.memberships) == 0


@pytest.mark.settings(mcp_lease=86400, ping_interval=0.1)
async def test_a_quiet_membership_outlives_many_heartbeats(server: Server) -> None:
    person = await server.user()
    await person.enter("r", "ada")
    async with agent(server.app.mcp) as bot:
        joined = await bot.call("join_room", room="r")
        await person.expect("user-joined")
        await person.say("message", "r", {"content": 1})
        quiet = await bot.call(
            "receive_messages", membership=joined["membership"], after=joined["last_seq"], wait_seconds=25
        )
        await bot.call("receive_messages", membership=joined["membership"], after=quiet["last_seq"], wait_seconds=2)
        again = await bot.call("receive_messages", membership=joined["membership"], after=quiet["last_seq"])
        assert not again["missed"]
