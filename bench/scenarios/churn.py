"""Whether creating and retiring rooms stays cheap, however many rooms there are.

`alone` and `among many`: peers join and leave one new room after the other, while no other room or 50,000 exist.
Latency is from the join to the reply to the leave; an operation is one room created and retired. Only mcp_actors takes
part, as the relays of bench/peers have no `leave`. `in process`: 100,000 rooms through the node without sockets; see
bench/rooms.py.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from bench.accounting import Window
from bench.client import Client, close_all, connect_all
from bench.contender import ROOT
from bench.dialects import DIALECTS
from bench.results import CHECKOUT, OURS
from bench.runner import run_module
from bench.scenarios.scenario import Options, Scenario

if TYPE_CHECKING:
    from bench.contender import Contender, Server
    from bench.plan import Outcome, Plan

MANY, MANY_QUICK = 50_000, 5_000
ROOMS_PER_CONNECTION = 1000
"""Rooms per connection; settings/bench.env allows it."""


class Holder:
    """A connection that is in many rooms."""

    def __init__(self, plan: Plan, index: int, rooms: int) -> None:
        self._dialect = DIALECTS[plan.dialect]
        self._rooms = [f"held-{index:04d}-{number:05d}" for number in range(1, rooms)]
        self._inside = 0
        self._all = asyncio.Event()
        self.client = Client(self._dialect, f"held-{index:04d}-00000", f"holder-{index:04d}", index)

    async def join(self, url: str) -> None:
        """Connect and join all rooms."""
        await connect_all(url, self._dialect, [self.client])
        self.client.unstamped = self._count
        for room in self._rooms:
            for frame in self._dialect.opening(room, self.client.member):
                self.client.send(frame)
        await self._all.wait()

    def _count(self, _client: Client, frame: bytes) -> None:
        self._inside += self._dialect.joined in frame
        if self._inside >= len(self._rooms):
            self._all.set()


class RoomHoppers:
    """Peers that join and leave one new room after the other."""

    def __init__(self, clients: list[Client]) -> None:
        self.visited = 0
        self.latencies: list[int] = []
        self._clients = clients
        self._since: dict[int, int] = {}
        self._room = 0

    def start(self) -> None:
        """Start by leaving the first room."""
        for client in self._clients:
            client.unstamped = self._next
            self._since[client.index] = time.monotonic_ns()
            client.send(_request("leave", client.room, {}))

    def stop(self) -> None:
        """Stop joining."""
        for client in self._clients:
            client.unstamped = lambda _client, _frame: None

    def _next(self, client: Client, frame: bytes) -> None:
        if b'"joined"' in frame:
            client.send(_request("leave", client.room, {}))
        elif b'"left"' in frame:
            now = time.monotonic_ns()
            self.visited += 1
            self.latencies.append(now - self._since[client.index])
            self._since[client.index] = now
            self._room += 1
            client.room = f"fresh-{self._room:09d}"
            client.send(_request("join", client.room, {"peer_id": client.member}))


def _request(kind: str, room: str, payload: dict[str, str]) -> bytes:
    message = {"type": kind, "room": room} | ({"payload": payload} if payload else {})
    return json.dumps(message, separators=(",", ":")).encode()


class Churn(Scenario):
    """Rooms that are created and retired."""

    name = "churn"
    operation = "room created and retired"
    columns = (
        *("cpu_us", "throughput", "latency_p99_us", "create_us_max", "create_last_to_first"),
        *("retire_us_max", "retire_last_to_first", "bytes_per_room", "rss_mib"),
    )
    variants = ("alone", "among many", "in process")

    def unfit(self, contender: Contender, variant: str) -> str | None:
        """See `Scenario`."""
        if contender.tree != ROOT and variant == "in process":
            return "it is measured with the modules of this checkout"
        ours = contender.name == OURS or contender.name.startswith(CHECKOUT)
        return None if ours else "only rooms of mcp_actors are measured"

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """See `Scenario`."""
        many = MANY_QUICK if options.quick else MANY
        return self._plan(
            server,
            variant,
            connections=options.count(32, 32),
            live=many if variant == "among many" else 0,
            seconds=options.span(5, 1),
            warm_up=options.warm_up,
        )

    def measure(self, contender: Contender, variant: str, options: Options) -> Outcome:
        """See `Scenario`."""
        if variant != "in process":
            return super().measure(contender, variant, options)
        return run_module("bench.rooms", str(MANY_QUICK if options.quick else MANY))

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        dialect = DIALECTS[plan.dialect]
        holders = [Holder(plan, index, ROOMS_PER_CONNECTION) for index in range(plan.live // ROOMS_PER_CONNECTION)]
        for holder in holders:
            await holder.join(plan.url)
        clients = [Client(dialect, f"first-{index}", f"hopper-{index:04d}", index) for index in range(plan.connections)]
        await connect_all(plan.url, dialect, clients)
        hoppers = RoomHoppers(clients)
        hoppers.start()
        await asyncio.sleep(plan.warm_up)
        before = hoppers.visited
        hoppers.latencies.clear()
        window = Window(plan.server)
        window.begin()
        await asyncio.sleep(plan.seconds)
        outcome = window.end(hoppers.visited - before, hoppers.latencies, live_rooms=plan.live)
        hoppers.stop()
        close_all([*clients, *(holder.client for holder in holders)])
        return outcome
