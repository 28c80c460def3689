"""What agents can do, put together: one server object of the SDK for all ways in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.adapters.mcp.room_access import RoomAccess
from mcp_actors.adapters.mcp.room_tools import RoomTools
from mcp_actors.adapters.mcp.server import build_server

if TYPE_CHECKING:
    from mcp_actors.node import Node


class Application:
    """`server` is driven by whatever receives requests: HTTP, or a WebSocket."""

    def __init__(self, node: Node, *, version: str, is_open: bool) -> None:
        self.rooms = RoomAccess(node, is_open=is_open)
        self.server = build_server(RoomTools(self.rooms).tools(), version)

    async def start(self) -> None:
        """Start what runs in the background."""

    async def stop(self) -> None:
        """End the calls that wait."""
