"""CPU and latency when all clients connect and join at once, as after a restart.

All clients connect at the same moment and join, four to a room. Latency is from that moment to the reply to the join.
The relays of bench/peers do not announce joins; mcp_actors announces each to the whole room.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench.accounting import Window
from bench.client import Client, close_all, connect, connect_all
from bench.dialects import DIALECTS
from bench.scenarios.idle import WARM_UP_CLIENTS, crowd
from bench.scenarios.scenario import Options, Scenario

if TYPE_CHECKING:
    from bench.contender import Server
    from bench.plan import Outcome, Plan


class Storm(Scenario):
    """All clients connect and join at once."""

    name = "storm"
    operation = "connection joined"

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """See `Scenario`."""
        return self._plan(server, variant, connections=options.count(1000, 300), warm_up=0.5, seconds=0)

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        dialect = DIALECTS[plan.dialect]
        close_all(await connect_all(plan.url, dialect, crowd(dialect, WARM_UP_CLIENTS, "before")))
        await asyncio.sleep(plan.warm_up)
        clients = crowd(dialect, plan.connections, "storm")
        window = Window(plan.server)
        window.begin()
        latencies = await asyncio.gather(*(self._timed(plan, client) for client in clients))
        outcome = window.end(len(clients), latencies)
        close_all(clients)
        return outcome

    async def _timed(self, plan: Plan, client: Client) -> int:
        began = time.monotonic_ns()
        await connect(plan.url, DIALECTS[plan.dialect], client)
        return time.monotonic_ns() - began
