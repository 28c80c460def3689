"""Wires the Model Context Protocol where the settings ask for it. The SDK is imported only then."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from mcp_actors.adapters.http.readiness import Readiness
    from mcp_actors.adapters.mcp.application import Application
    from mcp_actors.auth.authorization import Authorizer
    from mcp_actors.auth.ice_servers import IceServerSource
    from mcp_actors.connection.environment import Environment
    from mcp_actors.node import Node
    from mcp_actors.sessions import Sessions
    from mcp_actors.settings import Settings

log = structlog.get_logger("mcp_actors.mcp")

INSTALL = "pip install '.[mcp]'"

ABSENT = "The Model Context Protocol is not served here; it needs MCP_ACTORS_MCP=true and the extra `mcp`."
"""What `/mcp` says where there is no way in."""


def mcp_application(
    settings: Settings,
    node: Node,
    sessions: Sessions,
    environment: Environment,
    authorizer: Authorizer | None,
    readiness: Readiness,
    ice_servers: IceServerSource,
) -> Application | None:
    """Return the application for agents; None if it is switched off, or its extra is not installed."""
    if not settings.mcp.enabled:
        return None
    if find_spec("mcp") is None:
        log.warning("the Model Context Protocol is off, as its extra is not installed", install=INSTALL)
        return None
    if not settings.sessions.resume_window:
        log.warning("the Model Context Protocol is off, as sessions of agents need MCP_ACTORS_RESUME_WINDOW above 0")
        return None
    from mcp_actors.mcp_parts import make_application  # noqa: PLC0415 - slow to import, and not always installed

    return make_application(settings, node, sessions, environment, authorizer, readiness, ice_servers)
