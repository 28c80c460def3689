"""What it costs to relay a signal between peers at different server processes, and whether all of them arrive.

The two peers of a pair are at two processes, which share one Redis-protocol server. CPU per message is that of both
processes; the Redis server's is apart. `light`: candidates at a low rate, where none can share its way with another.
`in-process` is ours again, in one process without Redis. Every message is accounted for: lost, twice, or out of turn.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bench.accounting import Window
from bench.client import close_all
from bench.ledger import Ledger
from bench.plan import Process
from bench.redis_meter import RedisMeter
from bench.scenarios.relay import ClosedLoop, OpenLoop, Relay, Traffic, connect_pairs
from bench.spanning import PROCESSES

if TYPE_CHECKING:
    from bench.client import Client
    from bench.contender import Server
    from bench.payloads import Stamp
    from bench.plan import Outcome, Plan
    from bench.scenarios.scenario import Options

LIGHT_RATE = 200.0
"""Messages per second of all pairs together."""

SETTLING = 0.3
"""Seconds from the last join until all processes know of it, and from the last message until a second copy came."""


class Counted(Traffic):
    """Messages of which each is accounted for; one that reaches another than its target did not arrive."""

    def __init__(self, clients: list[Client]) -> None:
        super().__init__(clients)
        self.ledger = Ledger(len(clients))
        self.refused = 0
        for client in clients:
            client.unstamped = self._refuse

    def send(self, client: Client) -> None:
        """See `Traffic`."""
        self.sent += 1
        client.send(client.template.at(self.ledger.send(client.index, time.monotonic_ns())))

    def note(self, client: Client, stamp: Stamp) -> None:
        """See `Traffic`."""
        if client.index == stamp.sender ^ 1 and self.ledger.arrive(stamp.sender, stamp.time):
            super().note(client, stamp)

    def _refuse(self, _client: Client, frame: bytes) -> None:
        self.refused += b'"error"' in frame

    async def drained(self) -> None:
        """Wait for what is in flight, and for what should not come."""
        await self.settled()
        await asyncio.sleep(SETTLING)

    def balance(self) -> dict[str, float]:
        """What the ledger says, and how often a server refused a message with an error."""
        return self.ledger.balance() | {"refused": self.refused}


class CountedClosedLoop(Counted, ClosedLoop):
    """Each message is answered; what is lost leaves fewer in flight."""


class CountedOpenLoop(Counted, OpenLoop):
    """Messages leave at a rate, whatever is lost."""


class SpanWindow(Window):
    """Measures all processes of the server, and the Redis-protocol server if there is one."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.server, *(other.pid for other in plan.others))
        self._redis = RedisMeter(plan.redis) if plan.redis else None

    def begin(self) -> None:
        """See `Window`."""
        if self._redis:
            self._redis.begin()
        super().begin()

    def end(self, operations: int, latencies: list[int] | None = None, **extra: float) -> Outcome:
        """See `Window`."""
        outcome = super().end(operations, latencies, **extra)
        return replace(outcome, extra=outcome.extra | self._redis.end(operations)) if self._redis else outcome


class Span(Relay):
    """Candidates and offers between pairs of which each peer is at another process."""

    name = "relay-processes"
    command = "relay"
    processes = PROCESSES
    variants = ("candidate", "offer", "light")
    columns = (
        *("cpu_us", "cpu_us_1", "cpu_us_2", "redis_cpu_us", "redis_commands", "throughput"),
        *("latency_p50_us", "latency_p99_us", "delivered", "lost", "duplicated", "reordered", "refused"),
    )

    def plan(self, server: Server, variant: str, options: Options, rate: float = 0.0) -> Plan:
        """See `Scenario`."""
        plan = super().plan(server, variant, options, LIGHT_RATE if variant == "light" else rate)
        engine = server.engine
        return replace(
            plan,
            others=tuple(Process(node.url, node.pid) for node in server.nodes[1:]),
            redis=Process(engine.url, engine.pid) if engine else None,
        )

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        clients = await connect_pairs(plan, "offer" if plan.variant == "offer" else "candidate")
        await asyncio.sleep(SETTLING)
        traffic: CountedClosedLoop | CountedOpenLoop
        if plan.rate:
            traffic = CountedOpenLoop(clients)
            traffic.start(plan.rate)
        else:
            traffic = CountedClosedLoop(clients)
            traffic.start(plan.window)
        outcome = await traffic.measured(SpanWindow(plan), plan.warm_up, plan.seconds)
        traffic.stop()
        await traffic.drained()
        close_all(clients)
        return replace(outcome, extra=outcome.extra | traffic.balance())
