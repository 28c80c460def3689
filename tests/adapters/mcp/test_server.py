"""The tools as clients see them, with the official client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mcp import MCPError
from mcp_types import INVALID_PARAMS

from tests.support.agents import agent

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@MODES
async def test_tools_have_schemas_of_what_they_take_and_return(server: Server, mode: str) -> None:
    async with agent(server.app.mcp, mode=mode) as one:
        listed = (await one.client.list_tools()).tools
    assert listed[0].name == "list_rooms"
    for tool in listed:
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"


@MODES
async def test_a_tool_that_does_not_exist_is_an_error_of_the_protocol(server: Server, mode: str) -> None:
    async with agent(server.app.mcp, mode=mode) as one:
        with pytest.raises(MCPError, match="tools/list") as error:
            await one.result("fly")
    assert error.value.error.code == INVALID_PARAMS


@MODES
async def test_arguments_that_do_not_fit_are_an_error_of_the_protocol(server: Server, mode: str) -> None:
    async with agent(server.app.mcp, mode=mode) as one:
        with pytest.raises(MCPError, match="limit") as error:
            await one.result("list_rooms", limit=0)
    assert error.value.error.code == INVALID_PARAMS


async def test_a_bug_in_a_tool_is_logged_and_its_caller_is_told_so(
    server: Server, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.mcp", "tool call failed")

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    assert server.app.mcp is not None
    monkeypatch.setattr(server.app.mcp.rooms, "list", fail)
    async with agent(server.app.mcp) as one:
        assert await one.refusal("list_rooms") == "The server failed; its log says more."
