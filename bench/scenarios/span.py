"""CPU and latency of relaying a signal between peers at different processes, and whether every message arrives.

The peers of a pair connect to two processes that share a Redis server. CPU per message is that of both processes; that
of Redis is reported separately. `light`: candidates at a low rate, so that messages are not batched. `in-process`: this
server in one process without Redis. Every message is accounted for: lost, duplicated or reordered. `affinity`: clients
name their room in the URL, and the two processes of one port keep it together; with `no-affinity` they do not.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bench.accounting import Window
from bench.client import close_all
from bench.ledger import Ledger
from bench.message_metrics import remote_messages
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
"""Seconds to wait until all processes know of the last join, and for second copies of the last messages."""


class Counted(Traffic):
    """Traffic that accounts for every message. A message that reaches another client than its target does not count."""

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
        """Wait for messages in flight, and for copies that should not arrive."""
        await self.settled()
        await asyncio.sleep(SETTLING)

    def balance(self) -> dict[str, float]:
        """Return the counts of the ledger, and of messages that a server refused with an error."""
        return self.ledger.balance() | {"refused": self.refused}


class CountedClosedLoop(Counted, ClosedLoop):
    """A closed loop in which a lost message leaves fewer in flight."""


class CountedOpenLoop(Counted, OpenLoop):
    """An open loop that goes on whatever is lost."""


class SpanWindow(Window):
    """An interval over all processes of the server, and the Redis server if there is one."""

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


def spread(plan: Plan, server: Server) -> Plan:
    """Return a plan that also names the other processes of the server, and the Redis server they share."""
    engine = server.engine
    return replace(
        plan,
        others=tuple(Process(node.url, node.pid) for node in server.nodes[1:]),
        redis=Process(engine.url, engine.pid) if engine else None,
    )


async def share_together(plan: Plan, arrived: int) -> dict[str, float]:
    """Return the share of messages whose sender was at the process of its target, if the server counts that."""
    urls = [plan.url, *(other.url for other in plan.others)]
    counts = [await asyncio.to_thread(remote_messages, url) for url in urls]
    known = [count for count in counts if count is not None]
    return {"together": 1 - sum(known) / arrived} if known and arrived else {}


class Span(Relay):
    """Candidates and offers between pairs whose peers are at different processes."""

    name = "relay-processes"
    command = "relay"
    processes = PROCESSES
    variants = ("candidate", "offer", "light")
    columns: tuple[str, ...] = (
        *("cpu_us", "cpu_us_1", "cpu_us_2", "redis_cpu_us", "redis_commands", "together", "throughput"),
        *("latency_p50_us", "latency_p99_us", "delivered", "lost", "duplicated", "reordered", "refused"),
    )

    def plan(self, server: Server, variant: str, options: Options, rate: float = 0.0) -> Plan:
        """See `Scenario`."""
        return spread(super().plan(server, variant, options, LIGHT_RATE if variant == "light" else rate), server)

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
        together = await share_together(plan, traffic.arrived)
        close_all(clients)
        return replace(outcome, extra=outcome.extra | together | traffic.balance())
