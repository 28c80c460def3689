"""Memory of an idle connection, and CPU for its heartbeat.

Clients join, four to a room. Memory is the growth of the server divided by their number, after it has settled. Other
clients connect and leave before, so that what the server loads for its first clients is not counted. An operation is
one connection kept open for one second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bench.accounting import Window, rss_bytes
from bench.client import Client, close_all, connect_all
from bench.dialects import DIALECTS
from bench.scenarios.scenario import Options, Scenario

if TYPE_CHECKING:
    from bench.contender import Server
    from bench.dialects import Dialect
    from bench.plan import Outcome, Plan

ROOM_SIZE = 4
WARM_UP_CLIENTS = 100
SETTLING = 2.0
HEARTBEAT = 20.0
"""Seconds between two pings of a connection; CPU is reported only if each was pinged at least once."""


def crowd(dialect: Dialect, count: int, name: str) -> list[Client]:
    """Return clients, four to a room, that are not yet connected."""
    return [
        Client(dialect, f"{name}-{index // ROOM_SIZE:06d}", f"{name}-peer-{index:06d}", index) for index in range(count)
    ]


class Idle(Scenario):
    """Joined connections that send nothing."""

    name = "idle"
    operation = "connection and second"
    columns = ("cpu_us", "bytes_per_connection", "rss_mib")

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """Measure for one interval of the heartbeat by default."""
        connections = options.count(2000, 500)
        return self._plan(
            server, variant, connections=connections, seconds=options.span(HEARTBEAT, 1), warm_up=SETTLING
        )

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        dialect = DIALECTS[plan.dialect]
        close_all(await connect_all(plan.url, dialect, crowd(dialect, WARM_UP_CLIENTS, "before")))
        await asyncio.sleep(plan.warm_up)
        before = rss_bytes(plan.server)
        clients = await connect_all(plan.url, dialect, crowd(dialect, plan.connections, "idle"))
        await asyncio.sleep(plan.warm_up)
        grown = rss_bytes(plan.server) - before
        heartbeat = plan.seconds >= HEARTBEAT
        if heartbeat:  # the first round of pings finds all connections at once, or none
            await asyncio.sleep(HEARTBEAT)
        window = Window(plan.server)
        window.begin()
        await asyncio.sleep(plan.seconds)
        outcome = window.end(
            round(plan.connections * plan.seconds) if heartbeat else 0,
            connections=plan.connections,
            bytes_per_connection=grown / plan.connections,
        )
        close_all(clients)
        return outcome
