"""How long groups of 2, 8 and 30 peers take to connect, and what that costs a server, in one process or two.

Each pair exchanges an offer, an answer and ten candidates each way, as in `mesh`. The CPU of a mesh includes that of
Redis. A server of several processes has the peers at all of them in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.scenarios.mesh import Meshes
from bench.scenarios.span import spread
from bench.spanning import PROCESSES

if TYPE_CHECKING:
    from bench.contender import Server
    from bench.plan import Plan
    from bench.scenarios.scenario import Options


class MeshSizes(Meshes):
    """Groups of several sizes; each variant is a number of peers."""

    name = "signaling-mesh"
    command = "signaling"
    processes = PROCESSES
    variants = ("2", "8", "30")
    columns = ("latency_p50_us", "latency_max_us", "latency_count", "mesh_cpu_ms", "cpu_us", "redis_cpu_us", "mesh_kib")

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """See `Scenario`."""
        plan = self._plan(server, variant, connections=int(variant), seconds=options.span(2, 0.2))
        return spread(plan, server)
