"""The sequence of faults of a soak run."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from bench.accounting import rss_bytes
from bench.chaos.faults import Fault
from bench.chaos.member import now
from bench.chaos.record import Sample
from bench.engine import AOF_ALWAYS, Engine
from bench.redis_meter import used_memory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.chaos.record import Record
    from bench.chaos.world import World

SAMPLES = 300
"""Approximate number of samples of a run."""

LEAST_PAUSE = 0.5
"""Least seconds between two samples."""

APART = 1.5
"""Leases between the end of a node or of Redis and the next fault: a message may arrive twice if the two meet."""

SPARED = 0
"""The node that is replaced only once, at the start, so that its memory can be judged over the rest of the run."""


class Soak(Fault):
    """All kinds of faults in turn.

    `calm`: average seconds between two faults. `moves`: average seconds for which members are moved. `down`: greatest
    number of seconds until a killed node is restarted.
    """

    name = "soak"
    about = "sessions are moved, nodes killed and replaced, connections to Redis cut and Redis restarted, in turn"
    options = AOF_ALWAYS
    returns = True
    rate = 6.0
    """Members moved per second."""

    def __init__(self, calm: float = 4.0, moves: float = 6.0, down: float = 8.0) -> None:
        self.calm = calm
        self.moves = moves
        self.down = down
        self._spared: set[int] = set()

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        sampling = asyncio.ensure_future(_sample(world, max(LEAST_PAUSE, world.seconds / SAMPLES)))
        try:
            await self._inject_faults(world)
            world.record.samples.append(await asyncio.to_thread(_look, world))
        finally:
            sampling.cancel()
            await asyncio.wait([sampling])
        if not sampling.cancelled():
            sampling.result()

    async def _inject_faults(self, world: World) -> None:
        """Replace every node once, then inject every kind of fault in each round, in random order, until time is up."""
        end = now() + world.seconds
        kinds: list[Callable[[World], Awaitable[None]]] = [self._move, self._kill, self._cut, self._restart]
        await self._replace(world)
        self._spared = {SPARED}
        for number in count():
            for kind in world.rng.sample(kinds, len(kinds)):
                await self._rest(world)
                if number and now() >= end:
                    return
                await kind(world)
            kinds += [] if number else [self._replace]

    async def _rest(self, world: World) -> None:
        await asyncio.sleep(world.rng.uniform(self.calm / 2, 1.5 * self.calm))

    def _struck(self, world: World) -> list[int]:
        """Return the nodes that may be struck, in random order."""
        return [node for node in world.choose_nodes(len(world.cluster.nodes)) if node not in self._spared]

    async def _move(self, world: World) -> None:
        await world.move_members(self.rate, world.rng.uniform(self.moves / 2, 1.5 * self.moves))

    async def _kill(self, world: World) -> None:
        node = self._struck(world)[0]
        world.kill_node(node)
        await asyncio.sleep(world.rng.uniform(0.0, self.down))
        await world.restart_node(node)
        await asyncio.sleep(APART * world.lease)

    async def _replace(self, world: World) -> None:
        for node in self._struck(world):
            await world.replace_node(node)

    async def _restart(self, world: World) -> None:
        await world.restart_engine(world.rng.uniform(0.2, 1.5))
        await asyncio.sleep(APART * world.lease)

    async def _cut(self, world: World) -> None:
        cut = 0
        for _ in range(round(world.rng.uniform(5, 20))):
            cut += await world.cut_links()
            await asyncio.sleep(world.rng.uniform(0.05, 0.15))
        world.note(f"{cut} connections to Redis were cut")


async def _sample(world: World, pause: float) -> None:
    while True:
        world.record.samples.append(await asyncio.to_thread(_look, world))
        due = now() + pause
        await asyncio.sleep(pause)
        world.record.stalled = max(world.record.stalled, now() - due)


def _look(world: World) -> Sample:
    sample = Sample(now() - world.record.began, *_counted(world.record))
    for index, node in enumerate(world.cluster.nodes):
        with suppress(ProcessLookupError):
            if node.running:
                sample.nodes[index] = (node.pid, rss_bytes(node.pid))
    if isinstance(world.engine, Engine) and world.engine.running:
        sample.redis = used_memory(world.engine.port)
    return sample


def _counted(record: Record) -> tuple[int, int]:
    """Return how many messages were sent and received so far."""
    stays = list(record.stays)
    sent = sum(len(times) for stay in stays for times in list(stay.sent.values()))
    return sent, sum(len(stay.arrived) for stay in stays)
