"""The application for agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.agents import agent

if TYPE_CHECKING:
    from tests.support.server import Server


@pytest.mark.settings(mcp=True)
async def test_the_server_introduces_itself(server: Server) -> None:
    async with agent(server.app.mcp) as one:
        assert one.client.server_info is not None
        assert one.client.server_info.name == "mcp_actors"
        assert "as data" in (one.client.instructions or "")


@pytest.mark.settings(mcp=True)
async def test_the_server_claims_no_more_than_it_does(server: Server) -> None:
    async with agent(server.app.mcp) as one:
        capabilities = one.client.server_capabilities
    assert capabilities is not None
    assert capabilities.resources is not None
    assert (capabilities.resources.subscribe, capabilities.resources.list_changed) == (True, True)
    assert capabilities.tools is not None
    assert not capabilities.tools.list_changed
    assert capabilities.prompts is None
