"""CPU per delivery of a message to a room of 200, and its latency.

One user broadcasts; the next message is sent when one has reached all others, with several in flight. The server has
its default settings, so sessions are on and every delivery is numbered and kept until the client confirms it. An
operation is one delivery.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench.accounting import Window
from bench.client import Client, close_all, connect_all
from bench.dialects import DIALECTS
from bench.scenarios.relay import Traffic
from bench.scenarios.scenario import Options, Scenario

if TYPE_CHECKING:
    from bench.contender import Contender, Server
    from bench.payloads import Stamp
    from bench.plan import Outcome, Plan


class FanOut(Traffic):
    """One client broadcasts, all others receive. `sent` counts deliveries."""

    def start(self, window: int) -> None:
        """Start with `window` messages in flight."""
        self._others = len(self.clients) - 1
        self._ahead = window * self._others
        for client in self.clients:
            client.arrived = self._take
        self._going = True
        self._fill()

    def stop(self) -> None:
        """Stop sending."""
        self._going = False

    def _take(self, client: Client, stamp: Stamp) -> None:
        self.note(client, stamp)
        self._fill()

    def _fill(self) -> None:
        while self._going and self.sent - self.arrived <= self._ahead - self._others:
            self.sent += self._others
            speaker = self.clients[0]
            speaker.send(speaker.template.at(time.monotonic_ns()))


class Broadcast(Scenario):
    """Messages from one user to all others."""

    name = "broadcast"
    operation = "delivery"

    def unfit(self, contender: Contender, variant: str) -> str | None:
        """See `Scenario`."""
        return None if contender.users else "it has no broadcast"

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """See `Scenario`."""
        return self._plan(
            server,
            variant,
            dialect=server.contender.users,
            connections=options.count(200, 200),
            window=options.window,
            seconds=options.span(5, 1),
            warm_up=options.warm_up,
        )

    async def load(self, plan: Plan) -> Outcome:
        """See `Scenario`."""
        dialect = DIALECTS[plan.dialect]
        room = "room-large"
        clients = [Client(dialect, room, f"user-{index:06d}", index) for index in range(plan.connections)]
        await connect_all(plan.url, dialect, clients)
        await asyncio.sleep(plan.warm_up / 2)
        clients[0].template = dialect.broadcast(room, 0)
        traffic = FanOut(clients)
        traffic.start(plan.window)
        outcome = await traffic.measured(Window(plan.server), plan.warm_up, plan.seconds)
        traffic.stop()
        await traffic.drained()
        close_all(clients)
        return outcome
