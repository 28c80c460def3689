"""How long a group takes to connect: until each pair has exchanged an offer, an answer and ten candidates each way.

Peers connect to one room at once. Each sends an offer to those that joined before it; they answer, and both send ten
candidates. Latency is that of the whole mesh, from the first connection to the last candidate; an operation is one
relayed message. Meshes are built one after the other.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench.accounting import Window
from bench.client import TIMEOUT, Client, close_all, connect
from bench.dialects import DIALECTS
from bench.runner import LoadError
from bench.scenarios.scenario import Options, Scenario

if TYPE_CHECKING:
    from bench.contender import Server
    from bench.payloads import Stamp
    from bench.plan import Outcome, Plan

CANDIDATES = 10
PER_PAIR = 2 + 2 * CANDIDATES


class Mesh:
    """A group of peers that connect to each other."""

    def __init__(self, plan: Plan, name: str) -> None:
        self._url = plan.url
        self._dialect = DIALECTS[plan.dialect]
        self._room = name
        self._clients = [Client(self._dialect, name, self._member(index), index) for index in range(plan.connections)]
        self._present: list[Client] = []
        self._arrived = 0
        self._complete = asyncio.Event()
        self.messages = plan.connections * (plan.connections - 1) // 2 * PER_PAIR

    def _member(self, index: int) -> str:
        return f"{self._room}-peer-{index:04d}"

    async def run(self) -> int:
        """Connect, exchange all messages and close. Return the time it took in ns. Raises `LoadError`."""
        began = time.monotonic_ns()
        try:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*(self._enter(client) for client in self._clients))
                await self._complete.wait()
        except TimeoutError:
            text = f"{self._arrived} of {self.messages} messages of a mesh arrived within {TIMEOUT:.0f} s"
            raise LoadError(text) from None
        took = time.monotonic_ns() - began
        close_all(self._clients)
        return took

    async def _enter(self, client: Client) -> None:
        client.arrived = self._take
        await connect(self._url, self._dialect, client)
        for other in self._present:
            self._send(client, "offer", other.index)
        self._present.append(client)

    def _take(self, client: Client, stamp: Stamp) -> None:
        self._arrived += 1
        if stamp.kind == "o":
            self._send(client, "answer", stamp.sender)
        if stamp.kind in "oa":
            for _ in range(CANDIDATES):
                self._send(client, "candidate", stamp.sender)
        if self._arrived == self.messages:
            self._complete.set()

    def _send(self, client: Client, kind: str, target: int) -> None:
        template = self._dialect.signal(kind, self._room, client.index, self._member(target))
        client.send(template.at(time.monotonic_ns()))


class Meshes(Scenario):
    """Groups that connect, one after the other."""

    name = "mesh"
    operation = "message"

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """See `Scenario`."""
        return self._plan(server, variant, connections=options.count(30, 8), seconds=options.span(5, 1))

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        await Mesh(plan, "warm").run()
        window = Window(plan.server)
        latencies: list[int] = []
        messages = 0
        deadline = time.monotonic() + plan.seconds
        window.begin()
        while not latencies or time.monotonic() < deadline:
            mesh = Mesh(plan, f"mesh-{len(latencies):05d}")
            latencies.append(await mesh.run())
            messages += mesh.messages
        return window.end(messages, latencies, peers=plan.connections)
