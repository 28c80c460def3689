"""The tools of operators, which others do not see."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from mcp import MCPError

from mcp_actors.adapters.mcp.caller import Caller
from mcp_actors.line_limit import AUDIT
from tests.support.agents import agent, holder

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)
OPERATOR = holder("ops", can=("admin",))
TOOLS = ["kick", "lock_room", "server_info"]


async def test_only_operators_have_them(server: Server) -> None:
    async with agent(server.app.mcp, OPERATOR) as ops, agent(server.app.mcp, holder("bot")) as bot:
        assert (await ops.tools())[-3:] == TOOLS
        assert not set(await bot.tools()) & set(TOOLS)
        with pytest.raises(MCPError, match="There is no tool 'kick'"):
            await bot.result("kick", room="r", id="ada")


async def test_an_operator_kicks_a_member_of_any_process(
    servers: list[Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", AUDIT)
    here, there = servers
    person, peer = await here.user(), await here.peer()
    await person.enter("r", "ada")
    await peer.join("r", "p")
    async with agent(there.app.mcp, OPERATOR) as ops:
        kicked = await ops.call("kick", room="r", id="ada", message="Bye.", ban_seconds=60)
        assert (kicked["removed"], kicked["banned"]) == (True, True)
        await person.expect_close(4504)
        assert (await ops.call("kick", room="r", id="p", kind="peer"))["removed"]
        await peer.expect_close(4504)
        assert not (await ops.call("kick", room="r", id="p", kind="peer"))["removed"]
        assert "must not be empty" in await ops.refusal("kick", room="r", id="")
        assert "MCP_ACTORS_MAX_BAN_SECONDS" in await ops.refusal("kick", room="r", id="p", ban_seconds=10**10)
    assert "member kicked by operator" in caplog.text
    assert "by=ops" in caplog.text


async def test_an_operator_locks_a_room_and_unlocks_it(servers: list[Server]) -> None:
    here, there = servers
    person = await here.user()
    await person.enter("r", "ada")
    async with agent(there.app.mcp, OPERATOR) as ops, agent(here.app.mcp, Caller("127.0.0.1")) as bot:
        assert await ops.call("lock_room", room="r") == {"room": "r", "locked": True, "changed": True}
        await person.expect("room-locked")
        assert "locked" in await bot.refusal("join_room", room="r")
        assert (await ops.call("lock_room", room="r", locked=False))["changed"]
        await person.expect("room-unlocked")
        await bot.call("join_room", room="r")


async def test_an_operator_on_this_machine_sees_the_server(server: Server) -> None:
    async with agent(server.app.mcp, replace(Caller("127.0.0.1"), is_operator=True)) as ops:
        info = await ops.call("server_info")
    assert info["node"] == server.app.node.id
    assert info["settings"]["MCP_ACTORS_MCP"] is True
