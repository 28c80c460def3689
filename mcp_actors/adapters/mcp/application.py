"""What agents can do, put together: one server object of the SDK for all ways in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.adapters.mcp.call_limits import CallLimits, CallRates
from mcp_actors.adapters.mcp.listening import Listening
from mcp_actors.adapters.mcp.member_tools import MemberTools
from mcp_actors.adapters.mcp.memberships import MembershipLimits, Memberships
from mcp_actors.adapters.mcp.operator_tools import OperatorTools
from mcp_actors.adapters.mcp.room_access import RoomAccess
from mcp_actors.adapters.mcp.room_tools import RoomTools
from mcp_actors.adapters.mcp.room_watch import RoomWatch
from mcp_actors.adapters.mcp.roster_resources import RosterResources
from mcp_actors.adapters.mcp.server import ToolServer, build_server
from mcp_actors.adapters.mcp.signal_tools import SignalTools
from mcp_actors.background import BackgroundTasks
from mcp_actors.counters.agents import AgentCounters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.admin.api import ApiParts
    from mcp_actors.adapters.mcp.entrance import Entrance
    from mcp_actors.connection.environment import Environment
    from mcp_actors.node import Node


class ListenLimits(NamedTuple):
    """Rooms that all streams of updates watch, and notices that wait for the client of one."""

    most_rooms: int
    most_notices: int


class Application:
    """`server` is driven by whatever receives requests: HTTP, or a WebSocket."""

    def __init__(
        self,
        node: Node,
        environment: Environment,
        entrances: Mapping[str, Entrance],
        limits: MembershipLimits,
        rates: CallRates,
        listens: ListenLimits,
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
        peers = SignalTools(self.memberships, limits.lease, self.counters)
        tools = [
            *(*RoomTools(self.rooms).tools(), *members.tools(), *peers.tools()),
            *OperatorTools(operators).tools(),
        ]
        self.tool_names = [tool.name for tool in tools]
        self.watch = RoomWatch(self.rooms, listens.most_rooms)
        self._listening = Listening(self.rooms, self.watch, listens.most_notices)
        self._background = BackgroundTasks()
        calls = CallLimits(rates, max_callers)
        served = ToolServer(tools, calls, self.counters)
        self.server = build_server(served, RosterResources(self.rooms, calls), self._listening, version)

    async def start(self) -> None:
        """Start what runs in the background."""
        self._background.start(self.watch.run, "rooms that agents watch")

    async def stop(self) -> None:
        """End streams and calls that wait; other processes may go on with the memberships."""
        self._listening.close()
        await self._background.stop()
        await self.memberships.stop()
