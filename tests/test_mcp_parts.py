"""The parts that serve agents: where they are found."""

from __future__ import annotations

import pytest

from mcp_actors.adapters.http.request_target import request_target
from mcp_actors.app import App
from mcp_actors.environment import load


@pytest.mark.parametrize("has_admin_port", [False, True])
async def test_agents_are_served_on_the_port_of_clients_alone(*, has_admin_port: bool) -> None:
    app = App(load(overrides={"mcp": True}, environ={}), has_admin_port=has_admin_port)
    served = [
        site.find("POST", request_target("/mcp"), "127.0.0.1", 4).serves
        for site in (app.site, app.admin_site)
        if site is not None
    ]
    assert [one is app.mcp_page for one in served] == [True, False][: len(served)]
