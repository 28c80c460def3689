"""What can go wrong, one class each."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.engine import AOF_ALWAYS, Engine, Flavor
from bench.engine_sets import ClusterSet, SentinelSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.chaos.world import AnyEngine, World

CALM = 1.0
"""Seconds of undisturbed traffic before a fault and after it."""


class Fault(ABC):
    """One way to break things. `seconds` is how long it takes by itself."""

    name: str
    about: str
    seconds = 8.0
    options: Sequence[str] = ()
    announces = False
    """Whether it kills a node whose peers must be seen to leave in time."""
    loses_data = False
    """Whether the engine may forget what it had acknowledged."""
    returns = False
    """Whether members come back to where they were when their connection breaks."""

    def engine(self, flavor: Flavor) -> AnyEngine:
        """The engine it is about, not started."""
        return Engine(flavor, options=self.options)

    @abstractmethod
    async def strike(self, world: World) -> None:
        """Do it, while the crowd talks."""


class Links(Fault):
    """Connections to the engine that break."""

    name = "links"
    about = "a quarter of the connections to the engine is cut, every 50 to 150 ms"

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        cut = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(world.seconds):
                while True:
                    await asyncio.sleep(world.rng.uniform(0.05, 0.15))
                    cut += await world.cut_links()
        world.note(f"{cut} connections were cut")


class Restart(Fault):
    """An engine that is killed and comes back."""

    seconds = 7.5
    times = 3
    away = 1.0

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        for _ in range(self.times):
            await asyncio.sleep(max(0.0, world.seconds / self.times - self.away))
            await world.restart_engine(self.away)


class RestartAof(Restart):
    """... with what it wrote to disk."""

    name = "restart-aof"
    about = "the engine is killed three times and comes back with its data"
    options = AOF_ALWAYS


class RestartEmpty(Restart):
    """... with nothing."""

    name = "restart-empty"
    about = "the engine is killed three times and comes back empty"
    loses_data = True


class Outage(Restart):
    """An engine that is away for longer than any lease."""

    name = "outage"
    about = "the engine is away for 6 s, longer than the lease"
    seconds = 6.0
    times = 1
    away = 6.0
    options = AOF_ALWAYS


class KillNode(Fault):
    """A node that dies."""

    name = "kill"
    about = "kill -9 of a node, which is started again later"
    announces = True

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        node = world.choose_node()
        world.kill_node(node)
        await asyncio.sleep(max(2.5 * world.lease, world.seconds / 2))
        await world.restart_node(node)
        await asyncio.sleep(CALM)


class FreezeNode(Fault):
    """A node that stops for longer than its lease, and goes on as if nothing had happened."""

    name = "freeze"
    about = "a node is stopped for longer than its lease, then goes on"

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        await world.freeze_node(world.choose_node(), max(2.5 * world.lease, world.seconds / 2))
        await asyncio.sleep(2 * CALM)


class Moves(Fault):
    """Connections of clients that break, and sessions that go on at another node."""

    name = "moves"
    about = "connections of clients are cut or given up, with messages under way, and come back at any node, some twice"
    returns = True
    rate = 8.0

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        await world.move_members(self.rate, world.seconds)


class Drain(Fault):
    """A deployment: one node after the other is replaced."""

    name = "drain"
    about = "each node in turn is asked to stop, and another process is started in its place"
    returns = True

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        for node in world.choose_nodes(len(world.cluster.nodes)):
            await world.replace_node(node)
            await asyncio.sleep(CALM)


class Recover(Fault):
    """A node that dies, whose members come back elsewhere."""

    name = "recover"
    about = "kill -9 of a node, whose members come back at others; it is started again, and another is killed"
    returns = True
    times = 2

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        for node in world.choose_nodes(self.times):
            world.kill_node(node)
            await asyncio.sleep(max(2.5 * world.lease, world.seconds / 2))
            await world.restart_node(node)
            await asyncio.sleep(CALM)


class RecoverTwice(Fault):
    """A node that dies, and the engine with it: two faults at once."""

    name = "recover-restart"
    about = "kill -9 of a node, and within its lease the engine is killed, too, and comes back with its data; twice"
    options = AOF_ALWAYS
    returns = True
    times = 2

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        for node in world.choose_nodes(self.times):
            world.kill_node(node)
            await asyncio.sleep(world.rng.uniform(0.0, world.lease))
            await world.restart_engine(world.rng.uniform(0.2, 1.5))
            await asyncio.sleep(2.5 * world.lease)
            await world.restart_node(node)
            await asyncio.sleep(CALM)


class Failover(Fault):
    """A primary that dies and is replaced, by a replica that may not have had all of it."""

    loses_data = True

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        assert not isinstance(world.engine, Engine)  # noqa: S101 - see `engine`
        killed = await asyncio.to_thread(world.engine.kill_primary)
        world.note(f"the primary on port {killed.port} is killed")
        await asyncio.to_thread(world.engine.wait_for_failover)
        world.note("another has taken its place")
        await asyncio.sleep(2 * CALM)


class SentinelFailover(Failover):
    """... by Sentinel."""

    name = "sentinel"
    about = "the primary is killed, and Sentinel puts its replica in its place"

    def engine(self, flavor: Flavor) -> AnyEngine:
        """See `Fault`."""
        return SentinelSet(flavor)


class ClusterFailover(Failover):
    """... by Redis Cluster."""

    name = "cluster"
    about = "a primary of a Redis Cluster is killed, and its replica takes over"

    def engine(self, flavor: Flavor) -> AnyEngine:
        """See `Fault`."""
        return ClusterSet(flavor)


class Mixed(Fault):
    """Several at once."""

    name = "mixed"
    about = "connections are cut all the time, while the engine restarts or halts and one node is killed or frozen"
    seconds = 20.0
    options = AOF_ALWAYS

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        victim = world.choose_node()
        end = asyncio.get_running_loop().time() + world.seconds - 2 * world.lease
        async with asyncio.TaskGroup() as both:
            both.create_task(Links().strike(world))
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(world.rng.uniform(0.5, 1.5))
                await self._blow(world, victim)

    async def _blow(self, world: World, victim: int) -> None:
        match world.rng.choice(("restart", "halt", "kill", "freeze")):
            case "restart":
                await world.restart_engine(0.5)
            case "halt":
                await self._halt(world)
            case "kill":
                world.kill_node(victim)
                await asyncio.sleep(world.rng.uniform(0.0, 2 * world.lease))
                await world.restart_node(victim)
            case "freeze":
                await world.freeze_node(victim, world.rng.uniform(0.5, 2.0) * world.lease)

    async def _halt(self, world: World) -> None:
        assert isinstance(world.engine, Engine)  # noqa: S101 - see `engine`
        world.engine.pause()
        world.note("the engine halts")
        await asyncio.sleep(world.lease / 2)
        world.engine.resume()
        world.note("the engine goes on")


ALL = (
    Links(),
    RestartAof(),
    RestartEmpty(),
    Outage(),
    KillNode(),
    FreezeNode(),
    Moves(),
    Drain(),
    Recover(),
    RecoverTwice(),
    SentinelFailover(),
    ClusterFailover(),
    Mixed(),
)
FAULTS: dict[str, Fault] = {fault.name: fault for fault in ALL}
"""By the name that --fault takes."""

OF_THE_CONTROL = ("links", "restart-aof", "restart-empty")
"""Those in which a relay on pub/sub must lose messages."""
