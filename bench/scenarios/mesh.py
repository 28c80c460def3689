"""How long a group takes to connect: until each pair has exchanged an offer, an answer and ten candidates each way.

Peers connect to one room at once, in turn to each process of the server. Each sends an offer to those that joined
before it; they answer, and both send ten candidates. Latency is that of the whole mesh, from the first connection to
the last candidate; an operation is one relayed message. Meshes are built one after the other. Bytes are those of
WebSocket messages, both ways, without headers.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bench.client import TIMEOUT, Client, close_all, connect
from bench.dialects import DIALECTS
from bench.runner import LoadError
from bench.scenarios.scenario import Options, Scenario
from bench.scenarios.span import SpanWindow

if TYPE_CHECKING:
    from picows import WSFrame, WSTransport

    from bench.contender import Server
    from bench.payloads import Stamp
    from bench.plan import Outcome, Plan

KIB = 1024
CANDIDATES = 10
PER_PAIR = 2 + 2 * CANDIDATES


class Metered(Client):
    """A client that counts the bytes of the messages it sends and receives."""

    size = 0

    def send(self, frame: bytes) -> None:
        """See `Client`."""
        self.size += len(frame)
        super().send(frame)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """See `Client`."""
        self.size += len(frame.get_payload_as_memoryview())
        super().on_ws_frame(transport, frame)


class Mesh:
    """A group of peers that connect to each other."""

    def __init__(self, plan: Plan, name: str) -> None:
        self._urls = [plan.url, *(other.url for other in plan.others)]
        self._dialect = DIALECTS[plan.dialect]
        self._room = name
        self._clients = [Metered(self._dialect, name, self._member(index), index) for index in range(plan.connections)]
        self._present: list[Client] = []
        self._rosters: dict[int, list[int]] = {}
        self._arrived = 0
        self._complete = asyncio.Event()
        self.messages = plan.connections * (plan.connections - 1) // 2 * PER_PAIR

    def _member(self, index: int) -> str:
        return f"{self._room}-peer-{index:04d}"

    @property
    def size(self) -> int:
        """The bytes of all messages between the clients and the server."""
        return sum(client.size for client in self._clients)

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
        client.arrived, client.unstamped = self._take, self._learn
        await connect(self._urls[client.index % len(self._urls)], self._dialect, client)
        for other in self._rosters.get(client.index, [one.index for one in self._present]):
            self._send(client, "offer", other)
        self._present.append(client)

    def _learn(self, client: Client, frame: bytes) -> None:
        """Read the roster in a reply to a join: at several processes, only it says who joined before."""
        if self._dialect.joined in frame and b'"peers":' in frame:
            roster = [peer["peer_id"] for peer in json.loads(frame)["payload"]["peers"]]
            self._rosters[client.index] = [int(peer[-4:]) for peer in roster if peer != client.member]

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
        window = SpanWindow(plan)
        latencies: list[int] = []
        messages = size = 0
        deadline = time.monotonic() + plan.seconds
        window.begin()
        while not latencies or time.monotonic() < deadline:
            mesh = Mesh(plan, f"mesh-{len(latencies):05d}")
            latencies.append(await mesh.run())
            messages += mesh.messages
            size += mesh.size
        return _per_mesh(window.end(messages, latencies, peers=plan.connections), len(latencies), size)


def _per_mesh(outcome: Outcome, meshes: int, size: int) -> Outcome:
    """Add the CPU of a mesh, with that of Redis if there is one, and its bytes."""
    cpu_us = outcome.cpu_us + outcome.extra.get("redis_cpu_us", 0.0)
    costs = {"mesh_cpu_ms": cpu_us * outcome.operations / meshes / 1000, "mesh_kib": size / meshes / KIB}
    return replace(outcome, extra=outcome.extra | costs)
