"""Wires the Model Context Protocol where the settings ask for it. The SDK is imported only then."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from mcp_actors import __version__

if TYPE_CHECKING:
    from mcp_actors.adapters.mcp.application import Application
    from mcp_actors.node import Node
    from mcp_actors.settings import Settings

log = structlog.get_logger("mcp_actors.mcp")

INSTALL = "pip install 'mcp_actors[mcp]'"


def mcp_application(settings: Settings, node: Node, *, is_open: bool) -> Application | None:
    """Return the application for agents; None if it is switched off, or its extra is not installed.

    `is_open`: whether the server takes no tokens and asks no application.
    """
    if not settings.mcp.enabled:
        return None
    if find_spec("mcp") is None:
        log.warning("the Model Context Protocol is off, as its extra is not installed", install=INSTALL)
        return None
    from mcp_actors.adapters.mcp.application import Application  # noqa: PLC0415 - slow to import

    return Application(node, version=__version__, is_open=is_open)
