"""The parts of a run that faults act on: the Redis server, the nodes and the clients."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bench.chaos.member import now
from bench.chaos.record import Cut
from bench.engine import Engine
from bench.engine_sets import ClusterSet, SentinelSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from bench.chaos.crowd import Crowd
    from bench.chaos.network import Path, Way
    from bench.chaos.record import Record
    from bench.chaos.resuming import ResumingMember
    from bench.cluster import Cluster

SIGNAL_PAUSE = 0.1

Side = Literal["Redis", "clients"]
"""The side that a node is cut off from."""

AnyEngine = Engine | SentinelSet | ClusterSet


@dataclass
class World:
    """The parts of one run."""

    engine: AnyEngine
    cluster: Cluster
    crowd: Crowd
    record: Record
    rng: Random
    lease: float
    seconds: float
    """How long the fault may take."""
    redis_paths: Sequence[Path] = ()
    """The path from each node to Redis, and that from clients to each node, for faults of the network."""
    client_paths: Sequence[Path] = ()

    def note(self, what: str) -> None:
        """Add an entry to the timeline of the record."""
        self.record.timeline.append(f"{now() - self.record.began:7.3f} s  {what}")

    async def restart_engine(self, away: float) -> None:
        """Kill the Redis server and start it again after some seconds."""
        assert isinstance(self.engine, Engine)  # noqa: S101 - other faults handle sets of servers
        self.engine.kill()
        self.note("Redis was killed")
        await asyncio.sleep(away)
        await asyncio.to_thread(self.engine.start)
        self.note("Redis was restarted")

    async def cut_links(self) -> int:
        """Cut a random quarter of the connections to Redis, at least two. Return how many were cut."""
        assert isinstance(self.engine, Engine)  # noqa: S101 - see above
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
        """Return a random node."""
        return self.rng.choice(range(len(self.cluster.nodes)))

    def choose_nodes(self, count: int) -> list[int]:
        """Return up to `count` nodes in random order."""
        nodes = range(len(self.cluster.nodes))
        return self.rng.sample(nodes, min(count, len(nodes)))

    def kill_node(self, node: int) -> None:
        """Kill a node with SIGKILL."""
        self.crowd.strike(node, killed=True)
        self.cluster.nodes[node].kill()
        self.note(f"node {node} was killed")

    async def restart_node(self, node: int) -> None:
        """Start a killed node again."""
        self.cluster.nodes[node].start()
        await asyncio.to_thread(self.cluster.nodes[node].wait_until_ready)
        self.crowd.away.discard(node)
        self.note(f"node {node} was restarted")

    async def replace_node(self, node: int) -> None:
        """Stop a node with SIGTERM, as a deployment does, and start another process in its place."""
        self.crowd.away.add(node)
        self.note(f"node {node} was sent SIGTERM")
        status = await asyncio.to_thread(self.cluster.nodes[node].stop)
        if status:
            self.record.bugs.append(f"node {node} ended with {status}")
        self.note(f"node {node} stopped")
        await self.restart_node(node)

    async def move_members(self, rate: float, seconds: float) -> None:
        """Make `rate` members per second lose their connection in various ways and resume on any node."""
        moved, end = 0, now() + seconds
        while now() < end:
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) / rate)
            residents = self.crowd.residents()
            if residents:
                self._move(self.rng.choice(residents))
                moved += 1
        self.note(f"{moved} sessions were moved")

    def _move(self, member: ResumingMember) -> None:
        if member.stay.role == "peer":
            self._send_some(member)
            member.mute()
            for _ in range(self.rng.choice((0, 1, 4))):
                self.crowd.send_signal(member)
        attempts = self.rng.choice((1, 1, 1, 2))
        if member.stay.role == "moderator":  # it owns its id: a late attempt replaces the other
            attempts = 1
        (member.switch if self.rng.random() < 1 / 3 else member.cut)(attempts)

    def _send_some(self, member: ResumingMember) -> None:
        """Send signals that are in flight when the connection breaks, if the member sends any."""
        if member.stay.role == "peer":
            for _ in range(self.rng.choice((0, 1, 8))):
                self.crowd.send_signal(member)

    async def slow_node(self, node: int, seconds: float) -> None:
        """Freeze a node for less than its lease, while half of its members move to others."""
        since = now()
        self.cluster.nodes[node].freeze()
        self.note(f"node {node} was frozen")
        await self.move_away(node, seconds)
        self.cluster.nodes[node].unfreeze()
        self.record.cuts.append(Cut(node, since, now()))
        self.note(f"node {node} continued after {seconds:g} s")

    async def part_node(self, node: int, sides: Sequence[Side], ways: Sequence[Way], seconds: float) -> None:
        """Let nothing through between a node and Redis, its clients or both, while half of its members move away."""
        found = {"Redis": self.redis_paths, "clients": self.client_paths}
        paths, since = [found[side][node] for side in sides], now()
        for path in paths:
            path.hold(*ways)
        self.note(f"packets between node {node} and {' and '.join(sides)} are dropped, {' and '.join(ways)}")
        await self.move_away(node, seconds)
        for path in paths:
            path.mend()
        self.record.cuts.append(Cut(node, since, now()))
        self.note(f"packets of node {node} pass again after {seconds:g} s")

    async def move_away(self, node: int, seconds: float) -> None:
        """For some seconds, move half of a node's members, to which the others send signals all the time."""
        self.crowd.avoided.add(node)
        here = [member for member in self.crowd.residents() if member.stay.node == node]
        moving = self.rng.sample(here, len(here) // 2)
        pairs = [
            (one, other.stay.member)
            for other in moving
            for one in here
            if one not in moving and {one.stay.role, other.stay.role} == {"peer"} and one.stay.room == other.stay.room
        ]
        end = now() + seconds
        for member in moving:
            self._send_some(member)
            member.switch()
        while now() < end:
            for one, target in pairs:
                one.signal(target)
            await asyncio.sleep(min(SIGNAL_PAUSE, max(0.0, end - now())))
        self.crowd.avoided.discard(node)
        self.note(f"{len(moving)} of {len(here)} members of node {node} moved away")

    async def freeze_node(self, node: int, seconds: float) -> None:
        """Freeze a node with SIGSTOP, and continue it with SIGCONT after some seconds."""
        self.crowd.strike(node, killed=False)
        self.cluster.nodes[node].freeze()
        self.note(f"node {node} was frozen")
        await asyncio.sleep(seconds)
        self.cluster.nodes[node].unfreeze()
        self.note(f"node {node} continued")
        await asyncio.to_thread(self.cluster.nodes[node].wait_until_ready)
        self.crowd.away.discard(node)
        self.note(f"node {node} is ready")
