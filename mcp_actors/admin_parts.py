"""The parts of one node that the admin API shows and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors import __version__
from mcp_actors.adapters.admin.api import ApiParts
from mcp_actors.settings import shown

if TYPE_CHECKING:
    from mcp_actors.adapters.http.readiness import Readiness
    from mcp_actors.connection.connections import Connections
    from mcp_actors.node import Node
    from mcp_actors.sessions import Sessions
    from mcp_actors.settings import Settings


def admin_parts(
    settings: Settings, node: Node, sessions: Sessions, connections: Connections, readiness: Readiness
) -> ApiParts:
    """Return the parts of the API."""

    def figures() -> dict[str, Any]:
        return {
            "problem": readiness.problem,
            "connections": len(connections),
            "sessions": len(sessions.by_id),
            "detached": len(sessions.detached),
            "rooms": len(node.rooms()),
            "broker": dict(node.broker.health()),
        }

    return ApiParts(
        version=__version__,
        node=node.id,
        administration=node.broker.administration,
        revocations=node.broker.revocations,
        figures=figures,
        settings=shown(settings),
        id_length=settings.connections.max_id_length,
        max_ban_seconds=settings.rooms.max_ban_seconds,
        max_message_bytes=settings.connections.max_message_bytes,
    )
