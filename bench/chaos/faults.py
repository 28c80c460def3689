"""The faults, one class each."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from itertools import accumulate
from typing import TYPE_CHECKING

from bench.chaos.member import now
from bench.chaos.network import BOTH
from bench.engine import AOF_ALWAYS, Engine, Flavor
from bench.engine_sets import ClusterSet, SentinelSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.chaos.network import Way
    from bench.chaos.world import AnyEngine, Side, World

CALM = 1.0
"""Seconds of undisturbed traffic before and after a fault."""

LONG_LEASE = 10.0
"""Twice the longest time for which a node stands still or is cut off without being dead, as a lease runs since the last
heartbeat."""


class Fault(ABC):
    """A fault. `seconds` is its default length."""

    name: str
    about: str
    seconds = 8.0
    options: Sequence[str] = ()
    announces = False
    """Whether it kills a node whose peers must be reported as gone in time."""
    loses_data = False
    """Whether the Redis server may lose acknowledged writes."""
    returns = False
    """Whether members resume their sessions when their connection breaks."""
    lease: float | None = None
    """Seconds after which a silent node is dead, if the fault needs a longer lease than usual."""
    uses_network = False
    """Whether it acts on the network between clients, nodes and Redis."""

    def engine(self, flavor: Flavor) -> AnyEngine:
        """Return the Redis server for this fault, not yet started."""
        return Engine(flavor, options=self.options)

    @abstractmethod
    async def strike(self, world: World) -> None:
        """Inject the fault while clients exchange messages."""


class Links(Fault):
    """Connections to Redis are cut."""

    name = "links"
    about = "a quarter of the connections to Redis is cut every 50 to 150 ms"

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        cut, end = 0, now() + world.seconds
        while now() < end:  # not a timeout: redis-py may swallow the cancellation
            await asyncio.sleep(world.rng.uniform(0.05, 0.15))
            cut += await world.cut_links()
        world.note(f"{cut} connections to Redis were cut")


class Restart(Fault):
    """The Redis server is killed and restarted."""

    seconds = 7.5
    times = 3
    away = 1.0

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        for _ in range(self.times):
            await asyncio.sleep(max(0.0, world.seconds / self.times - self.away))
            await world.restart_engine(self.away)


class RestartAof(Restart):
    """The Redis server is restarted with its data."""

    name = "restart-aof"
    about = "Redis is killed three times and restarted with its data"
    options = AOF_ALWAYS


class RestartEmpty(Restart):
    """The Redis server is restarted empty."""

    name = "restart-empty"
    about = "Redis is killed three times and restarted empty"
    loses_data = True


class Outage(Restart):
    """The Redis server is down for longer than any lease."""

    name = "outage"
    about = "Redis is down for 6 s, longer than the lease"
    seconds = 6.0
    times = 1
    away = 6.0
    options = AOF_ALWAYS


class KillNode(Fault):
    """A node is killed."""

    name = "kill"
    about = "a node is killed with SIGKILL and restarted later"
    announces = True

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        node = world.choose_node()
        world.kill_node(node)
        await asyncio.sleep(max(2.5 * world.lease, world.seconds / 2))
        await world.restart_node(node)
        await asyncio.sleep(CALM)


class FreezeNode(Fault):
    """A node is frozen for longer than its lease."""

    name = "freeze"
    about = "a node is frozen for longer than its lease, then continues"

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        await world.freeze_node(world.choose_node(), max(2.5 * world.lease, world.seconds / 2))
        await asyncio.sleep(2 * CALM)


class Moves(Fault):
    """Client connections break, and sessions are resumed on other nodes."""

    name = "moves"
    about = "client connections break with messages in flight, and sessions resume on any node"
    returns = True
    rate = 8.0

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        await world.move_members(self.rate, world.seconds)


class Drain(Fault):
    """A rolling deployment: every node in turn is replaced."""

    name = "drain"
    about = "each node in turn is stopped with SIGTERM and replaced by a new process"
    returns = True

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        for node in world.choose_nodes(len(world.cluster.nodes)):
            await world.replace_node(node)
            await asyncio.sleep(CALM)


class Recover(Fault):
    """A node is killed, and its members resume on other nodes."""

    name = "recover"
    about = "a node is killed with SIGKILL and its members resume on others; then another one"
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
    """A node is killed, and within its lease the Redis server, too."""

    name = "recover-restart"
    about = "a node is killed, and within its lease Redis is killed and restarted with its data; twice"
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


class SlowOwner(Fault):
    """A node is frozen for less than its lease, and meanwhile half of its sessions move to other nodes."""

    name = "slow-owner"
    about = "a node stands still for up to 5 s of a lease of 10 s, while half of its sessions move to other nodes"
    seconds = 17.0
    returns = True
    lease = LONG_LEASE
    lengths = (1.0, 5.0, 2.5, 4.0)

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        for length in self.lengths[: _fitting(world.seconds, self.lengths)]:
            await world.slow_node(world.choose_node(), length)
            await asyncio.sleep(CALM)


class Partition(Fault):
    """Packets are dropped in one or both directions for less than the lease, and meanwhile sessions move."""

    name = "partition"
    about = (
        "packets between a node and Redis, its clients or both are dropped for up to 5 s of a lease of 10 s, "
        "while half of its sessions move to other nodes"
    )
    seconds = 35.0
    returns = True
    lease = LONG_LEASE
    uses_network = True
    cuts: tuple[tuple[tuple[Side, ...], tuple[Way, ...], float], ...] = (
        (("Redis", "clients"), BOTH, 1.5),
        (("Redis", "clients"), BOTH, 5.0),
        (("Redis",), BOTH, 5.0),
        (("Redis",), ("down",), 4.0),
        (("Redis",), ("up",), 4.0),
        (("clients",), BOTH, 3.0),
        (("clients",), ("up",), 2.0),
        (("clients",), ("down",), 2.0),
    )

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        fitting = _fitting(world.seconds, (length for _, _, length in self.cuts))
        for sides, ways, length in self.cuts[:fitting]:
            await world.part_node(world.choose_node(), sides, ways, length)
            await asyncio.sleep(CALM)


class Lossy(Fault):
    """Packets are late and lost, and meanwhile sessions move."""

    name = "lossy"
    about = (
        "on every path packets take 100 ms, and 30 % are lost and sent again, while sessions move; the lease is 10 s"
    )
    returns = True
    lease = LONG_LEASE
    uses_network = True
    rate = 6.0
    latency, stall, share = 0.1, 0.2, 0.3

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        paths = [*world.redis_paths, *world.client_paths]
        for path in paths:
            path.delay(self.latency, self.stall, self.share)
        world.note("every path is slow and lossy")
        await world.move_members(self.rate, world.seconds)
        for path in paths:
            path.delay(0.0)
        world.note("every path is fast again")


def _fitting(seconds: float, lengths: Iterable[float]) -> int:
    """Return how many of these lengths fit into a time one after the other, with a pause after each; at least one."""
    ends = accumulate(length + CALM for length in lengths)
    return max(1, sum(end <= seconds for end in ends))


class Failover(Fault):
    """A primary is killed, and a replica that may lack some writes takes over."""

    loses_data = True

    async def strike(self, world: World) -> None:
        """See `Fault`."""
        assert not isinstance(world.engine, Engine)  # noqa: S101 - see `engine`
        killed = await asyncio.to_thread(world.engine.kill_primary)
        world.note(f"the primary on port {killed.port} was killed")
        await asyncio.to_thread(world.engine.wait_for_failover)
        world.note("a replica was promoted")
        await asyncio.sleep(2 * CALM)


class SentinelFailover(Failover):
    """Failover by Sentinel."""

    name = "sentinel"
    about = "the primary is killed, and Sentinel promotes its replica"

    def engine(self, flavor: Flavor) -> AnyEngine:
        """See `Fault`."""
        return SentinelSet(flavor)


class ClusterFailover(Failover):
    """Failover by Redis Cluster."""

    name = "cluster"
    about = "a primary of a Redis Cluster is killed, and its replica is promoted"

    def engine(self, flavor: Flavor) -> AnyEngine:
        """See `Fault`."""
        return ClusterSet(flavor)


class Mixed(Fault):
    """Several faults at the same time."""

    name = "mixed"
    about = (
        "connections to Redis are cut all the time, while Redis is restarted or paused and one node is killed or frozen"
    )
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
                await self._inject_one(world, victim)

    async def _inject_one(self, world: World, victim: int) -> None:
        match world.rng.choice(("restart", "pause", "kill", "freeze")):
            case "restart":
                await world.restart_engine(0.5)
            case "pause":
                await self._pause(world)
            case "kill":
                world.kill_node(victim)
                await asyncio.sleep(world.rng.uniform(0.0, 2 * world.lease))
                await world.restart_node(victim)
            case "freeze":
                await world.freeze_node(victim, world.rng.uniform(0.5, 2.0) * world.lease)

    async def _pause(self, world: World) -> None:
        assert isinstance(world.engine, Engine)  # noqa: S101 - see `engine`
        world.engine.pause()
        world.note("Redis was paused")
        await asyncio.sleep(world.lease / 2)
        world.engine.resume()
        world.note("Redis continued")


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
    SlowOwner(),
    Partition(),
    Lossy(),
    SentinelFailover(),
    ClusterFailover(),
    Mixed(),
)
FAULTS: dict[str, Fault] = {fault.name: fault for fault in ALL}
"""The faults by the name that --fault takes."""

CONTROL_FAULTS = ("links", "restart-aof", "restart-empty")
"""Faults in which the control, a relay on pub/sub, must lose messages."""
