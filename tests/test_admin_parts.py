"""What the admin API is given of a node; tests/adapters/admin asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.admin_parts import admin_parts
from mcp_actors.app import App
from mcp_actors.environment import load

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_parts_are_those_of_the_node(tmp_path: Path) -> None:
    settings = load(overrides={"max_ban_seconds": 7, "max_id_length": 9}, environ={}, directory=tmp_path)
    app = App(settings)
    parts = admin_parts(settings, app.node, app.sessions, app.connections, app.readiness)
    assert (parts.node, parts.max_ban_seconds, parts.id_length) == (app.node.id, 7, 9)
    assert parts.figures()["problem"] is None
    app.connections.stop_accepting()
    assert parts.figures()["problem"] == "draining"
