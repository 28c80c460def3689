"""Counts of what agents do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mcp import MCPError

from mcp_actors.counters.agents import CallOutcome
from tests.support.agents import agent

if TYPE_CHECKING:
    from tests.support.server import Server


@pytest.mark.settings(mcp=True, mcp_call_burst=4, mcp_call_rate=0.001)
async def test_calls_are_counted_by_tool_and_outcome(server: Server) -> None:
    assert server.app.mcp is not None
    async with agent(server.app.mcp) as bot:
        await bot.call("list_rooms")
        await bot.refusal("leave_room", membership="unknown")
        with pytest.raises(MCPError):
            await bot.result("list_rooms", limit=0)
        await bot.call("join_room", room="r")
        assert "You call too often; try again in" in await bot.refusal("join_room", room="r")
    counters = server.app.mcp.counters
    assert dict(counters.calls) == {
        ("list_rooms", CallOutcome.DONE): 1,
        ("leave_room", CallOutcome.FAILED): 1,
        ("list_rooms", CallOutcome.INVALID): 1,
        ("join_room", CallOutcome.DONE): 1,
        ("join_room", CallOutcome.LIMITED): 1,
    }
    assert counters.joined == 1
