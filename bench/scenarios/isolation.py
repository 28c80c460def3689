"""Whether loud neighbours move the latency of others.

Quiet pairs exchange candidates at a steady, low rate. `quiet`: alone. `loud`: in other rooms, one peer is sent offers
and never reads, and one floods another as fast as the server takes it. The loud ones are in a third process
(bench/loud.py). `elsewhere`: the same loud peers, at another server beside ours. That tells what the machine's two
cores do to latency when four processes share them, whatever the server; what is beyond it is the server's.

There no rate is limited, as in all other scenarios. `limited`: `loud`, with all limits at their defaults, but for the
patience with a flood, which is short: how many messages it was told to wait, and how often it was closed and came back.
`slow reader`: peers that never read are in the rooms of the quiet pairs, and are sent offers there: how many were
closed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from bench.loud import Loud
from bench.scenarios.relay import exchange
from bench.scenarios.scenario import Options, Scenario
from mcp_actors.config import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.contender import Contender, Server
    from bench.plan import Outcome, Plan

RATE = 1000.0
"""Messages per second of all quiet pairs together."""

ROOMS = 2
"""Quiet pairs that have a slow reader in their room."""

SLOW_READERS = tuple(f"room-{number:06d}" for number in range(ROOMS))

PATIENCE = 1
"""Seconds for which a flood is slowed before it is refused: a measurement shows both, and what comes after."""


def default_limits() -> Mapping[str, str]:
    """The settings that a bench lifts, as they are by themselves; loud peers come from addresses of their own."""
    names = [
        name for name in Settings.__struct_fields__ if name.startswith(("connection_", "address_", "max_address_"))
    ]
    limits = {PREFIX + name.upper(): f"{getattr(Settings(), name):.0f}" for name in names}
    return limits | {f"{PREFIX}MAX_SLOWED_SECONDS": str(PATIENCE), f"{PREFIX}TRUSTED_PROXIES": "127.0.0.1"}


LIMITS = default_limits()


class Isolation(Scenario):
    """Quiet pairs beside loud peers."""

    name = "isolation"
    operation = "quiet message"
    columns = (
        *("latency_p50_us", "latency_p95_us", "latency_p99_us", "latency_max_us", "latency_count", "rss_mib"),
        *("told_to_wait", "floods_closed", "slow_closed"),
    )
    variants = ("quiet", "elsewhere", "loud", "limited", "slow reader")

    def unfit(self, contender: Contender, variant: str) -> str | None:
        """See `Scenario`."""
        return None if contender.dialect == "peers" else "the loud peers speak our own protocol"

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """See `Scenario`."""
        return self._plan(
            server,
            variant,
            connections=2 * ROOMS if variant == "slow reader" else options.count(32, 32),
            rate=RATE,
            seconds=options.span(10, 2),
            warm_up=min(1.0, options.span(1, 0.5)),
        )

    def measure(self, contender: Contender, variant: str, options: Options) -> Outcome:
        """See `Scenario`."""
        limited = replace(contender, environment=LIMITS) if variant == "limited" else contender
        return super().measure(limited, variant, options)

    def carry_out(self, server: Server, plan: Plan) -> Outcome:
        """See `Scenario`."""
        if plan.variant == "quiet":
            return super().carry_out(server, plan)
        if plan.variant == "elsewhere":
            with server.contender.serve() as other, Loud(other.port):
                return super().carry_out(server, plan)
        with Loud(server.port, *(plan.variant == "slow reader") * SLOW_READERS) as loud:
            outcome = super().carry_out(server, plan)
        return msgspec.structs.replace(outcome, extra=outcome.extra | loud.heard)

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        return await exchange(plan, "candidate")
