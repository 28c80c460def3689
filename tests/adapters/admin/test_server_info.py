"""The process in the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors import __version__
from tests.support.admin import get
from tests.support.tokens import OPTIONAL, SECRET

if TYPE_CHECKING:
    from tests.support.server import Server


@pytest.mark.settings(**OPTIONAL, redis_password="secret", max_connections=77, resume_window=30)  # noqa: S106
async def test_a_process_tells_what_it_does_and_no_secrets(server: Server) -> None:
    a, _ = await server.pair()
    a.vanish()
    info = await get(server, "/server")
    assert (info["version"], info["node"], info["problem"]) == (__version__, server.app.node.id, None)
    assert (info["sessions"], info["rooms"], info["broker"]["broker"]) == (2, 1, "memory")
    assert info["connections"] + info["detached"] == 2
    assert info["uptime_seconds"] > 0
    settings = info["settings"]
    assert (settings["MCP_ACTORS_MAX_CONNECTIONS"], settings["MCP_ACTORS_AUTH"]) == (77, "optional")
    assert not {"MCP_ACTORS_SECRET_KEY", "MCP_ACTORS_REDIS_PASSWORD", "MCP_ACTORS_REDIS_URL"} & set(settings)
    assert SECRET not in str(info)
