"""Whether noisy neighbours affect the latency of other clients.

Quiet pairs exchange candidates at a low, steady rate. `quiet`: without neighbours. `loud`: in other rooms, one peer is
sent offers and never reads, and one floods another as fast as possible; these loud peers are in a process of their own
(bench/loud.py). `elsewhere`: the same loud peers use a second server, which shows the effect of the shared machine;
what `loud` adds to it is the effect on the server.

These variants lift all rate limits, as the other scenarios do. `limited`: as `loud`, with default limits, but floods
are refused after a shorter time; reports how often the flooder was told to wait, and how often it was closed and
reconnected. `slow reader`: peers that never read are sent offers in the rooms of the quiet pairs; reports how many were
refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from bench.loud import Loud
from bench.scenarios.relay import exchange
from bench.scenarios.scenario import Options, Scenario

if TYPE_CHECKING:
    from bench.contender import Contender, Server
    from bench.plan import Outcome, Plan

RATE = 1000.0
"""Messages per second of all quiet pairs together."""

ROOMS = 2
"""Number of rooms with a quiet pair and a slow reader."""

SLOW_READERS = tuple(f"room-{number:06d}" for number in range(ROOMS))

SLOWED_SECONDS = 1
"""How long a flood is slowed before it is refused; short, so that a measurement covers the reconnect, too."""

LIFTED = (
    *("MCP_ACTORS_CONNECTION_", "MCP_ACTORS_ADDRESS_", "MCP_ACTORS_MAX_ADDRESS_"),
    *("MCP_ACTORS_MAX_DELIVERY_", "MCP_ACTORS_MAX_COMEBACK_"),
)
"""Prefixes of the settings with which settings/bench.env lifts limits."""


def with_default_limits(contender: Contender) -> Contender:
    """Return a contender without the settings that lift its limits for the bench.

    Floods are slowed for a shorter time than by default. Loud peers say in X-Forwarded-For that each has an address of
    its own.
    """
    kept = {name: value for name, value in contender.environment.items() if not name.startswith(LIFTED)}
    more = {"MCP_ACTORS_MAX_SLOWED_SECONDS": str(SLOWED_SECONDS), "MCP_ACTORS_TRUSTED_PROXIES": "127.0.0.1"}
    return replace(contender, environment=kept | more)


class Isolation(Scenario):
    """Quiet pairs beside loud peers."""

    name = "isolation"
    operation = "quiet message"
    columns = (
        *("latency_p50_us", "latency_p95_us", "latency_p99_us", "latency_max_us", "latency_count", "rss_mib"),
        *("told_to_wait", "floods_closed", "slow_refused"),
    )
    variants = ("quiet", "elsewhere", "loud", "limited", "slow reader")

    def unfit(self, contender: Contender, variant: str) -> str | None:
        """See `Scenario`."""
        return None if contender.dialect == "peers" else "the loud peers speak the protocol of mcp_actors"

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """See `Scenario`."""
        return self._plan(
            server,
            variant,
            connections=2 * ROOMS if variant == "slow reader" else options.count(32, 32),
            rate=RATE,
            seconds=options.span(10, 2),
            warm_up=options.warm_up,
        )

    def measure(self, contender: Contender, variant: str, options: Options) -> Outcome:
        """See `Scenario`."""
        limited = with_default_limits(contender) if variant == "limited" else contender
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
