"""What it costs to relay one signal from a peer to another, and how long it takes.

Pairs of peers, each in a room of its own. In the closed loop each peer answers a message with one of its own, and so
many are in flight per pair; with a rate, messages leave at that rate whatever comes back. Latency is from the sender's
send to the receiver's read.
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
"""Seconds for what is in flight at the end to arrive."""

SLEEPY = 1000
"""Messages per second up to which a sender sleeps between them; beyond, sleeping is too coarse and it polls."""


class Traffic:
    """Messages between pairs: sent, arrived, and how long each took."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.sent = self.arrived = 0
        self.latencies: list[int] = []
        self._measuring = False

    async def measured(self, window: Window, warm_up: float, seconds: float) -> Outcome:
        """Let it run, measure, and wait until nothing is in flight. Raises `LoadError` if messages are lost."""
        await asyncio.sleep(warm_up)
        before = self.arrived
        self._measuring = True
        window.begin()
        await asyncio.sleep(seconds)
        outcome = window.end(self.arrived - before, self.latencies)
        self._measuring = False
        return outcome

    async def settled(self) -> None:
        """Wait for what is in flight, but not for ever."""
        deadline = time.monotonic() + DRAIN
        while self.arrived < self.sent and time.monotonic() < deadline:  # noqa: ASYNC110 - an event costs each message
            await asyncio.sleep(0.01)

    async def drained(self) -> None:
        """Wait for what is in flight. Raises `LoadError` if it does not come."""
        await self.settled()
        if self.arrived != self.sent:
            raise LoadError(f"{self.sent - self.arrived} of {self.sent} messages did not arrive within {DRAIN:.0f} s")

    def send(self, client: Client) -> None:
        """Send one message."""
        self.sent += 1
        client.send(client.template.at(time.monotonic_ns()))

    def note(self, client: Client, stamp: Stamp) -> None:
        """One message has arrived."""
        self.arrived += 1
        if self._measuring:
            self.latencies.append(time.monotonic_ns() - stamp.time)


class ClosedLoop(Traffic):
    """Each message is answered; `window` are in flight per pair."""

    def start(self, window: int) -> None:
        """Begin; the first messages come from both sides in turn."""
        self._going = True
        for client in self.clients:
            client.arrived = self._answer
        for number in range(window):
            for client in self.clients[number % 2 :: 2]:
                self.send(client)

    def stop(self) -> None:
        """Answer no more."""
        self._going = False

    def _answer(self, client: Client, stamp: Stamp) -> None:
        self.note(client, stamp)
        if self._going:
            self.send(client)


class OpenLoop(Traffic):
    """Messages leave at a rate, from all in turn."""

    def start(self, rate: float) -> None:
        """Begin."""
        for client in self.clients:
            client.arrived = self.note
        self._task = asyncio.create_task(self._run(rate))

    async def _run(self, rate: float) -> None:
        pause = 1 / rate if rate <= SLEEPY else 0
        began = time.monotonic()
        while True:
            due = int((time.monotonic() - began) * rate)
            while self.sent < due:
                self.send(self.clients[self.sent % len(self.clients)])
            await asyncio.sleep(pause)

    def stop(self) -> None:
        """Send no more."""
        self._task.cancel()


async def connect_pairs(plan: Plan, kind: str) -> list[Client]:
    """Pairs, each in its room and with its message for the other; of several processes, each at another."""
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
    """Let pairs talk, and measure."""
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
    """Candidates and offers between pairs."""

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
            warm_up=min(1.0, options.span(1, 0.5)),
        )

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        return await exchange(plan, plan.variant)
