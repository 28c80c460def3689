"""Whether loud neighbours move the latency of others.

Quiet pairs exchange candidates at a steady, low rate. `quiet`: alone. `loud`: in other rooms, one peer is sent offers
and never reads, and one floods another as fast as the server takes it. The loud ones are in a third process
(bench/loud.py). `elsewhere`: the same loud peers, at another server beside ours. That tells what the machine's two
cores do to latency when four processes share them, whatever the server; what is beyond it is the server's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.loud import Loud
from bench.scenarios.relay import exchange
from bench.scenarios.scenario import Options, Scenario

if TYPE_CHECKING:
    from bench.contender import Contender, Server
    from bench.plan import Outcome, Plan

RATE = 1000.0
"""Messages per second of all quiet pairs together."""


class Isolation(Scenario):
    """Quiet pairs beside loud peers."""

    name = "isolation"
    operation = "quiet message"
    columns = ("latency_p50_us", "latency_p95_us", "latency_p99_us", "latency_max_us", "latency_count", "rss_mib")
    variants = ("quiet", "elsewhere", "loud")

    def unfit(self, contender: Contender, variant: str) -> str | None:
        """See `Scenario`."""
        return None if contender.dialect == "peers" else "the loud peers speak our own protocol"

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """See `Scenario`."""
        return self._plan(
            server,
            variant,
            connections=options.count(32, 32),
            rate=RATE,
            seconds=options.span(10, 2),
            warm_up=min(1.0, options.span(1, 0.5)),
        )

    def carry_out(self, server: Server, plan: Plan) -> Outcome:
        """See `Scenario`."""
        if plan.variant == "quiet":
            return super().carry_out(server, plan)
        if plan.variant == "elsewhere":
            with server.contender.serve() as other, Loud(other.port):
                return super().carry_out(server, plan)
        with Loud(server.port):
            return super().carry_out(server, plan)

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        return await exchange(plan, "candidate")
