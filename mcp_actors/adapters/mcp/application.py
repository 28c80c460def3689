"""What agents can do, put together: one server object of the SDK for all ways in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.adapters.mcp.call_limits import CallLimits, CallRates
from mcp_actors.adapters.mcp.member_tools import MemberTools
from mcp_actors.adapters.mcp.memberships import MembershipLimits, Memberships
from mcp_actors.adapters.mcp.operator_tools import OperatorTools
from mcp_actors.adapters.mcp.room_access import RoomAccess
from mcp_actors.adapters.mcp.room_tools import RoomTools
from mcp_actors.adapters.mcp.server import ToolServer, build_server
from mcp_actors.counters.agents import AgentCounters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.admin.api import ApiParts
    from mcp_actors.adapters.mcp.entrance import Entrance
    from mcp_actors.connection.connection import Environment
    from mcp_actors.node import Node


class Application:
    """`server` is driven by whatever receives requests: HTTP, or a WebSocket."""

    def __init__(
        self,
        node: Node,
        environment: Environment,
        entrances: Mapping[str, Entrance],
        limits: MembershipLimits,
        rates: CallRates,
        operators: ApiParts,
        *,
        max_callers: int,
        version: str,
        is_open: bool,
    ) -> None:
        """Build the parts.

        `operators`: what operators may do. `max_callers`: whose calls are limited at once. `is_open`: see `RoomAccess`.
        """
        self.counters = AgentCounters()
        self.rooms = RoomAccess(node, is_open=is_open)
        self.memberships = Memberships(environment, entrances, limits, self.counters)
        members = MemberTools(self.memberships, limits.lease, self.counters)
        tools = [*RoomTools(self.rooms).tools(), *members.tools(), *OperatorTools(operators).tools()]
        self.tool_names = [tool.name for tool in tools]
        self.server = build_server(ToolServer(tools, CallLimits(rates, max_callers), self.counters), version)

    async def start(self) -> None:
        """Start what runs in the background."""

    async def stop(self) -> None:
        """End the calls that wait; other processes may go on with the memberships."""
        await self.memberships.stop()
