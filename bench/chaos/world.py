"""What a fault can strike: the engine, the nodes, and the crowd that is there meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bench.chaos.member import now
from bench.engine import Engine
from bench.engine_sets import ClusterSet, SentinelSet

if TYPE_CHECKING:
    from random import Random

    from bench.chaos.crowd import Crowd
    from bench.chaos.record import Record
    from bench.chaos.returning import Returning
    from bench.cluster import Cluster

AnyEngine = Engine | SentinelSet | ClusterSet


@dataclass
class World:
    """One run."""

    engine: AnyEngine
    cluster: Cluster
    crowd: Crowd
    record: Record
    rng: Random
    lease: float
    seconds: float
    """How long the fault may take."""

    def note(self, what: str) -> None:
        """Put it into the record's timeline."""
        self.record.timeline.append(f"{now() - self.record.began:7.3f} s  {what}")

    async def restart_engine(self, away: float) -> None:
        """Kill the engine and start it again after so many seconds."""
        assert isinstance(self.engine, Engine)  # noqa: S101 - faults of sets have other ways
        self.engine.kill()
        self.note("the engine is killed")
        await asyncio.sleep(away)
        await asyncio.to_thread(self.engine.start)
        self.note("the engine is back")

    async def cut_links(self) -> int:
        """Cut a quarter of the engine's connections, two at least, chosen at random; how many that were."""
        assert isinstance(self.engine, Engine)  # noqa: S101 - the same
        retry = Retry(NoBackoff(), 0)
        try:
            async with redis.asyncio.Redis(port=self.engine.port, socket_timeout=1, retry=retry) as connection:
                own = await connection.client_id()
                found = [int(one["id"]) for one in await connection.client_list() if int(one["id"]) != own]
                chosen = self.rng.sample(sorted(found), min(max(2, len(found) // 4), len(found)))
                for client in chosen:
                    await connection.client_kill_filter(_id=str(client))
        except (redis.RedisError, OSError):
            return 0
        return len(chosen)

    def choose_node(self) -> int:
        """One of the nodes, at random."""
        return self.rng.choice(range(len(self.cluster.nodes)))

    def choose_nodes(self, count: int) -> list[int]:
        """So many of the nodes, or all there are, in random order."""
        nodes = range(len(self.cluster.nodes))
        return self.rng.sample(nodes, min(count, len(nodes)))

    def kill_node(self, node: int) -> None:
        """SIGKILL."""
        self.crowd.strike(node, killed=True)
        self.cluster.nodes[node].kill()
        self.note(f"node {node} is killed")

    async def restart_node(self, node: int) -> None:
        """Start a killed node again."""
        self.cluster.nodes[node].start()
        await asyncio.to_thread(self.cluster.nodes[node].wait_until_ready)
        self.crowd.away.discard(node)
        self.note(f"node {node} is back")

    async def replace_node(self, node: int) -> None:
        """Stop a node as a deployment does, and start another process in its place."""
        self.crowd.away.add(node)
        self.note(f"node {node} is asked to stop")
        status = await asyncio.to_thread(self.cluster.nodes[node].stop)
        if status:
            self.record.bugs.append(f"node {node} ended with {status}")
        self.note(f"node {node} has stopped")
        await self.restart_node(node)

    async def move_members(self, rate: float, seconds: float) -> None:
        """Have so many members per second lose their connection, in various ways, and come back at any node."""
        moved, end = 0, now() + seconds
        while now() < end:
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) / rate)
            stayers = self.crowd.stayers()
            if stayers:
                self._move(self.rng.choice(stayers))
                moved += 1
        self.note(f"{moved} members were moved")

    def _move(self, member: Returning) -> None:
        if member.stay.role == "peer":
            for _ in range(self.rng.choice((0, 1, 8))):
                self.crowd.speak(member)  # what is under way when the connection breaks
            member.fade()
            for _ in range(self.rng.choice((0, 1, 4))):
                self.crowd.speak(member)
        rivals = self.rng.choice((1, 1, 1, 2))
        (member.switch if self.rng.random() < 1 / 3 else member.cut)(rivals)

    async def freeze_node(self, node: int, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        self.crowd.strike(node, killed=False)
        self.cluster.nodes[node].freeze()
        self.note(f"node {node} is frozen")
        await asyncio.sleep(seconds)
        self.cluster.nodes[node].thaw()
        self.note(f"node {node} goes on")
        await asyncio.to_thread(self.cluster.nodes[node].wait_until_ready)
        self.crowd.away.discard(node)
        self.note(f"node {node} is ready")
