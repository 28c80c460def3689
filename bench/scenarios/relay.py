"""CPU and latency of relaying a signal from one peer to another.

Pairs of peers, each in a room of its own. In the closed loop a peer answers each message with one of its own, with
several in flight per pair; with a rate, messages are sent at that rate. Latency is from the send to the read by the
receiver.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench.accounting import Window
from bench.client import Client, close_all, connect_all
from bench.dialects import DIALECTS
from bench.runner import LoadError
from bench.scenarios.scenario import Options, Scenario

if TYPE_CHECKING:
    from bench.contender import Server
    from bench.payloads import Stamp
    from bench.plan import Outcome, Plan

DRAIN = 3.0
"""Seconds to wait for messages in flight at the end."""

MAX_SLEEP_RATE = 1000
"""Messages per second up to which a sender sleeps between them; above, sleeping is too coarse and it polls."""


class Traffic:
    """Messages between pairs: how many were sent and arrived, and the latency of each."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.sent = self.arrived = 0
        self.latencies: list[int] = []
        self._measuring = False

    async def measured(self, window: Window, warm_up: float, seconds: float) -> Outcome:
        """Warm up, measure, and return the outcome."""
        await asyncio.sleep(warm_up)
        before = self.arrived
        self._measuring = True
        window.begin()
        await asyncio.sleep(seconds)
        outcome = window.end(self.arrived - before, self.latencies)
        self._measuring = False
        return outcome

    async def settled(self) -> None:
        """Wait for messages in flight, up to a deadline."""
        deadline = time.monotonic() + DRAIN
        while self.arrived < self.sent and time.monotonic() < deadline:  # noqa: ASYNC110 - an event costs each message
            await asyncio.sleep(0.01)

    async def drained(self) -> None:
        """Wait for messages in flight. Raises `LoadError` if some do not arrive."""
        await self.settled()
        if self.arrived != self.sent:
            raise LoadError(f"{self.sent - self.arrived} of {self.sent} messages did not arrive within {DRAIN:.0f} s")

    def send(self, client: Client) -> None:
        """Send a message."""
        self.sent += 1
        client.send(client.template.at(time.monotonic_ns()))

    def note(self, client: Client, stamp: Stamp) -> None:
        """Record the arrival of a message."""
        self.arrived += 1
        if self._measuring:
            self.latencies.append(time.monotonic_ns() - stamp.time)


class ClosedLoop(Traffic):
    """Each message is answered with another, so that `window` are in flight per pair."""

    def start(self, window: int) -> None:
        """Start; the first messages come from both sides in turn."""
        self._going = True
        for client in self.clients:
            client.arrived = self._answer
        for number in range(window):
            for client in self.clients[number % 2 :: 2]:
                self.send(client)

    def stop(self) -> None:
        """Stop answering."""
        self._going = False

    def _answer(self, client: Client, stamp: Stamp) -> None:
        self.note(client, stamp)
        if self._going:
            self.send(client)


class OpenLoop(Traffic):
    """Messages are sent at a rate, by all clients in turn."""

    def start(self, rate: float) -> None:
        """Start sending."""
        for client in self.clients:
            client.arrived = self.note
        self._task = asyncio.create_task(self._run(rate))

    async def _run(self, rate: float) -> None:
        pause = 1 / rate if rate <= MAX_SLEEP_RATE else 0
        began = time.monotonic()
        while True:
            due = int((time.monotonic() - began) * rate)
            while self.sent < due:
                self.send(self.clients[self.sent % len(self.clients)])
            await asyncio.sleep(pause)

    def stop(self) -> None:
        """Stop sending."""
        self._task.cancel()


async def connect_pairs(plan: Plan, kind: str) -> list[Client]:
    """Connect pairs, each in a room of its own; if there are several processes, each peer of a pair to another one."""
    dialect = DIALECTS[plan.dialect]
    clients = []
    for index in range(plan.connections // 2 * 2):
        room = f"room-{index // 2:06d}"
        client = Client(dialect, room, f"peer-{index:06d}", index)
        client.template = dialect.signal(kind, room, index, f"peer-{index ^ 1:06d}")
        clients.append(client)
    urls = [plan.url, *(other.url for other in plan.others)]
    for number, url in enumerate(urls):
        await connect_all(url, dialect, clients[number :: len(urls)])
    return clients


async def exchange(plan: Plan, kind: str) -> Outcome:
    """Let pairs exchange messages, and measure."""
    clients = await connect_pairs(plan, kind)
    window = Window(plan.server)
    traffic: ClosedLoop | OpenLoop
    if plan.rate:
        traffic = OpenLoop(clients)
        traffic.start(plan.rate)
    else:
        traffic = ClosedLoop(clients)
        traffic.start(plan.window)
    outcome = await traffic.measured(window, plan.warm_up, plan.seconds)
    traffic.stop()
    await traffic.drained()
    close_all(clients)
    return outcome


class Relay(Scenario):
    """Candidates and offers between pairs of peers."""

    name = "relay"
    operation = "message"
    variants: tuple[str, ...] = ("candidate", "offer")

    def plan(self, server: Server, variant: str, options: Options, rate: float = 0.0) -> Plan:
        """See `Scenario`."""
        return self._plan(
            server,
            variant,
            connections=options.count(64, 64),
            window=options.window,
            rate=rate,
            seconds=options.span(5, 1),
            warm_up=options.warm_up,
        )

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        return await exchange(plan, plan.variant)
