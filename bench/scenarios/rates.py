"""How long a candidate takes at fixed rates, and whether all arrive, in one process or two.

Each variant is a number of candidates per second of 32 pairs together. The peers of a pair are at different processes
if the server has several. A message that takes longer than three seconds counts as lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bench.scenarios.span import Span

if TYPE_CHECKING:
    from bench.contender import Server
    from bench.plan import Plan
    from bench.scenarios.scenario import Options


class FixedRates(Span):
    """Candidates at fixed rates."""

    name = "signaling-rate"
    command = "signaling"
    variants = ("200", "1000", "3000")
    columns = (
        *("latency_p50_us", "latency_p95_us", "latency_p99_us", "latency_max_us", "cpu_us", "redis_cpu_us"),
        *("delivered", "lost", "duplicated", "reordered", "refused"),
    )

    def plan(self, server: Server, variant: str, options: Options, rate: float = 0.0) -> Plan:
        """See `Scenario`."""
        plan = super().plan(server, variant, options, rate or float(variant))
        return replace(plan, seconds=options.span(3, 1))
