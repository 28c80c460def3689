"""The simulated world: nodes, Redis, clients and the network between them, and what the adversary can do to them."""

from __future__ import annotations

import asyncio
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

from tests.simulation.chords import Chords
from tests.simulation.loop import Process
from tests.simulation.network import Delay, Network
from tests.simulation.node import SimulatedNode
from tests.simulation.redis.server import RedisServer
from tests.simulation.trace import Trace
from tests.simulation.websocket import Sockets

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from bench.chaos.crowd import Crowd
    from bench.chaos.record import Record, Stay
    from bench.chaos.resuming import ResumingMember
    from mcp_actors.settings import Settings
    from tests.simulation.loop import SimulationLoop
    from tests.simulation.network import Path
    from tests.simulation.plan import Plan, Strike
    from tests.simulation.redis.commands import Keyspace
    from tests.simulation.rules import Rules
    from tests.simulation.webhooks import SimulatedReceiver
    from tests.simulation.websocket import ClientSocket

REDIS = "redis"
REDIS_PORT = 6379

ATTACHING = 3.0
"""Seconds that a node may take from the removal of its members until it knows that it was fenced."""


class World:
    """All parts of one run. `log`: what happened, with the time of the world."""

    def __init__(
        self,
        loop: SimulationLoop,
        plan: Plan,
        settings: Settings,
        record: Record,
        receiver: SimulatedReceiver | None = None,
    ) -> None:
        self.loop = loop
        self.plan = plan
        self.record = record
        self.rng = Random(f"world {plan.seed}")  # noqa: S311 - reproducible, not secret
        self.network = Network(loop, self.rng)
        self.network.backs_off = plan.era > 2
        self.clients = Process(loop, "clients")
        self.sockets = Sockets(loop, self.network, self.clients)
        self.nodes = [
            SimulatedNode(loop, self.network, f"node{number}", settings, rate, receiver)
            for number, rate in enumerate(plan.drift)
        ]
        self.crowd: Crowd
        self.rules: Rules
        self.redis: RedisServer | None = None
        self.steps = Trace(lambda: loop.current.name, lambda: loop.now - record.began)
        self.log: list[tuple[float, str]] = []
        self.forgiven: set[str] = set()
        """Log events that a fault explains."""
        self._redis_runs = 0
        self._keyspace: Keyspace | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._slow = 0
        self.busy_nodes: set[int] = set()
        self._unavailable: dict[int, int] = {}
        self._gone_at: dict[int, float] = {}
        self._lost_at, self._forgetful_until = inf, -inf
        self._chords = Chords(self)
        self.breaches: dict[str, list[str]] = {}
        self.admitted: list[str] = []
        """Members that got in although they were banned."""
        self.judged = 0
        self.unfounded: list[str] = []
        """Nodes that were fenced although nothing had kept them from Redis."""
        self._hindered_until: dict[int, float] = {}

    def note(self, what: str) -> None:
        """Add to the timeline."""
        self.log.append((self.loop.now, what))

    def trace(self, members: tuple[str, ...]) -> None:
        """Add all messages from and to some members to the timeline."""

        def note(socket: ClientSocket, way: str, item: tuple[Any, ...]) -> None:
            owner = getattr(socket.listener, "_owner", socket.listener)
            if owner.stay.member in members and item[0] not in ("ping", "pong"):
                shown = item[1].decode() if item[0] == "text" else " ".join(map(str, item))
                self.note(f"{owner.stay.member} {way} {socket.host}  {shown}")

        self.sockets.trace = note

    @property
    def at_work(self) -> bool:
        """Whether a strike still lasts."""
        return bool(self._work)

    # Redis

    def start_redis(self, keyspace: Keyspace | None = None) -> None:
        """Start a server, with data or without."""
        self._redis_runs += 1
        process = Process(self.loop, f"{REDIS}.{self._redis_runs}")
        ahead = self.redis.ahead if self.redis else 0.0
        self.redis = RedisServer(self.loop, process, self.rng, keyspace)
        self.redis.ahead = ahead
        self.redis.on_script = self.steps.script
        self.steps.watch(self.redis.keyspace)
        self.network.listen(REDIS, process, self.redis.accept)

    async def kill_redis(self, strike: Strike) -> None:
        redis = self.redis
        if redis is None or not redis.process.runs():
            return
        kept: Keyspace | None = redis.keyspace
        if strike.how == "lost last writes":
            kept = redis.keyspace.copy()
            self._lost_at, self._forgetful_until = self.loop.now, inf
            self.record.data_lost = True
            await asyncio.sleep(Random(strike.seed).uniform(0.01, 1.0))  # noqa: S311 - see `Strike`
            if not redis.process.runs():
                self._forgetful_until = self.loop.now
                return
        elif strike.how == "lost":
            kept = None
            self._lost_at, self._forgetful_until = self.loop.now, inf
            self.record.data_lost = True
        self.network.close(REDIS)
        self.network.kill(redis.process, silent=False)
        if strike.how != "kept":
            for number, gone_at in self._gone_at.items():
                if gone_at > self.loop.now - self.plan.window:
                    self._forget(number, gone_at)
        self.note("Redis was killed")
        await asyncio.sleep(strike.seconds)
        self.start_redis(kept)
        if strike.how != "kept":
            self._data_lost(strike)
        self.note(f"Redis was started again: its data are {strike.how}")

    def _data_lost(self, strike: Strike) -> None:
        self.steps.lost()
        if self.plan.era > 2:
            self._set_other_clock(strike)
        self._undo_kicks()
        self._forgetful_until = self.loop.now + 2 * self.plan.lease + ATTACHING

    def _set_other_clock(self, strike: Strike) -> None:
        """Let the server that took over be on another machine, with a clock of its own."""
        rng = Random(f"clock {strike.seed}")  # noqa: S311 - see `Strike`
        if self.redis is not None and rng.random() < 1 / 2:
            self.redis.ahead += rng.uniform(-5.0, 0.5)

    def _undo_kicks(self) -> None:
        """Redis has lost the latest kicks; a node that had not heard of one announces the member again."""
        for stay in self.record.stays:
            if stay.kicked_at is not None and max(stay.kicked_at, stay.removed_at or 0.0) > self._lost_at:
                self.record.undone.add(stay.member)
                stay.struck_at = stay.struck_at or stay.kicked_at

    async def _pause_redis(self, strike: Strike) -> None:
        redis = self.redis
        if redis is None or not redis.process.runs():
            return
        redis.process.pause()
        await asyncio.sleep(strike.seconds)
        redis.process.resume()
        self.hinder()
        self.note("Redis went on")

    async def _fill_redis(self, strike: Strike) -> None:
        redis = self.redis
        if redis is not None and not redis.process.dead:
            redis.full = True
            await asyncio.sleep(strike.seconds)
            redis.full = False
            self.hinder()
            self.note("Redis has memory again")

    async def _refuse_commands(self, strike: Strike) -> None:
        redis = self.redis
        if redis is not None and strike.how not in redis.refused:
            self.forgiven.add("redis cannot be used")
            redis.refused.add(strike.how)
            await asyncio.sleep(strike.seconds)
            redis.refused.discard(strike.how)
            self.hinder()
            self.note("Redis permits everything again")

    # moderators

    async def _lock_room(self, strike: Strike) -> None:
        await self.rules.lock(self._room_of(strike), strike.seconds)

    async def _ban_member(self, strike: Strike) -> None:
        how = await self.rules.ban(self._room_of(strike), strike.seconds)
        if how and not self.record.data_lost:
            self.admitted.append(how)

    def _room_of(self, strike: Strike) -> str:
        return Random(strike.seed).choice(self.crowd.rooms)  # noqa: S311 - see `Strike`

    # nodes

    async def start_nodes(self) -> None:
        """Start all nodes."""
        await asyncio.gather(*(node.start() for node in self.nodes))

    def _may_shun(self, node: int) -> bool:
        """Whether another node would be left to clients."""
        return any(n != node and not self._unavailable.get(n) for n in range(len(self.nodes)))

    def _shun(self, node: int) -> None:
        """Let no client connect to a node, and expect its connections to end."""
        self._unavailable[node] = self._unavailable.get(node, 0) + 1
        self.crowd.away.add(node)

    def _welcome(self, node: int) -> None:
        self._unavailable[node] -= 1
        if not self._unavailable[node]:
            self.crowd.away.discard(node)

    def free(self, strike: Strike) -> SimulatedNode | None:
        """The node of a strike, unless another strike has it, or no other node would be left to clients."""
        node = self.nodes[strike.node]
        if strike.node in self.busy_nodes or not node.serving or not self._may_shun(strike.node):
            self.note(f"no {strike.kind} of node {strike.node}: not now")
            return None
        return node

    def _forget(self, node: int, gone_at: float) -> None:
        """A node is gone since a time, and Redis has lost what it knew: its members have lost their session.

        Those that are connected elsewhere have not. Those of a machine that is gone may not know that they are not.
        """
        for stay in self.record.stays:
            connected = any(
                link.entered_at is not None and link.ended_at is None
                for link in stay.links
                if link.node != node or link.dialed_at > gone_at
            )
            if stay.node == node and not connected and stay.ended_at is None and stay.struck_at is None:
                stay.struck_at = self.loop.now

    def lost(self, node: int, since: float) -> None:
        """Note that a node is gone since a time, or was cut off; what if Redis has lost its data, too."""
        self._gone_at[node] = self.loop.now
        if since < self._forgetful_until and self.loop.now > self._lost_at:
            for stay in self.record.stays:
                if _may_be_at(stay, node) and stay.ended_at is None and stay.struck_at is None:
                    stay.struck_at = self.loop.now
            self._disturb(socket for socket in self.sockets.all if socket.host == f"node{node}")

    async def _pause_node(self, strike: Strike) -> None:
        node = self.free(strike)
        if node is None:
            return
        long = strike.seconds > self.plan.lease / 2
        self.busy_nodes.add(strike.node)
        if long:
            self._shun(strike.node)
        node.running.pause()
        since = self.loop.now
        await asyncio.sleep(strike.seconds)
        node.running.resume()
        self.hinder(strike.node)
        if long:
            self.lost(strike.node, since)
        self.note(f"node {strike.node} went on")
        if long:
            await asyncio.sleep(2.0)
            self._welcome(strike.node)
        self.busy_nodes.discard(strike.node)

    async def _kill_node(self, strike: Strike) -> None:
        node = self.free(strike)
        if node is None:
            return
        self.busy_nodes.add(strike.node)
        self._shun(strike.node)
        node.kill(silent=strike.how == "machine")
        self.lost(strike.node, self.loop.now)
        await asyncio.sleep(strike.seconds)
        await node.start()
        self.note(f"node {strike.node} was started again")
        self._welcome(strike.node)
        self.busy_nodes.discard(strike.node)

    async def _stop_node(self, strike: Strike) -> None:
        node = self.free(strike)
        if node is None:
            return
        self.busy_nodes.add(strike.node)
        self._shun(strike.node)
        since = self.loop.now
        await node.stop()
        self.lost(strike.node, since)
        self.note(f"node {strike.node} has stopped")
        await asyncio.sleep(strike.seconds)
        await node.start()
        self.note(f"node {strike.node} was started again")
        self._welcome(strike.node)
        self.busy_nodes.discard(strike.node)

    async def _part(self, strike: Strike) -> None:
        name, (side, _, way) = f"node{strike.node}", strike.how.partition(" ")
        paths: list[Path] = []
        for other in (REDIS, "clients") if side == "all" else (side,):
            up, down = (name, other) if other == REDIS else (other, name), (other, name)
            if other == "clients":
                up, down = (other, name), (name, other)
            paths += [self.network.path(*up)] if way in ("", "up") else []
            paths += [self.network.path(*down)] if way in ("", "down") else []
        if any(path.blocked for path in paths):
            return
        long = strike.seconds > self.plan.lease / 2 and self._may_shun(strike.node)
        if long:
            self._shun(strike.node)
        if side != REDIS:
            self._disturb(socket for socket in self.sockets.all if socket.host == name)
        for path in paths:
            path.block(self.loop.now)
        since = self.loop.now
        await asyncio.sleep(strike.seconds)
        for path in paths:
            path.open()
        self.hinder(strike.node)
        if strike.seconds > self.plan.lease / 2 and side != "clients":
            self.lost(strike.node, since)
        self.note(f"node {strike.node} is connected again")
        if long:
            await asyncio.sleep(2.0)
            self._welcome(strike.node)

    def hinder(self, node: int | None = None) -> None:
        """Note that a node, or all, may have been kept from renewing their lease until now."""
        for number in range(len(self.nodes)) if node is None else (node,):
            self._hindered_until[number] = self.loop.now + 3 * self.plan.lease + ATTACHING

    def fenced(self, node: int) -> None:
        """Note that a node was declared dead while it lived: its members are out of their rooms (4001)."""
        if not self._slow and self.loop.now > self._hindered_until.get(node, 0.0):
            self.unfounded.append(f"node {node} was fenced at {self.loop.now - self.record.began:.3f} s")
        for stay in self.record.stays:
            gone = stay.ended_at is not None and stay.ended_at < self.loop.now - self.plan.window
            if _may_be_at(stay, node) and not gone and stay.struck_at is None:
                stay.struck_at = self.loop.now - ATTACHING
        self._disturb(socket for socket in self.sockets.all if socket.host == f"node{node}")

    # connections

    async def _cut_links(self, strike: Strike) -> None:
        wires = [wire for wire in self.network.wires if not wire.over and wire.server.process.name.startswith(REDIS)]
        for wire in self.some(wires, strike):
            wire.cut(last_bytes=strike.how == "with the last bytes")

    async def _cut_clients(self, strike: Strike) -> None:
        for socket in self.some(list(self.sockets.all), strike):
            self._disturb([socket])
            socket.wire.cut(last_bytes=strike.how == "with the last bytes")

    async def _vanish(self, strike: Strike) -> None:
        for socket in self.some(list(self.sockets.all), strike):
            self._disturb([socket])
            socket.wire.vanish()

    async def _deafen(self, strike: Strike) -> None:
        chosen = self.some(list(self.sockets.all), strike)
        self._disturb(chosen)
        for socket in chosen:
            socket.wire.client.pause()
        await asyncio.sleep(strike.seconds)
        for socket in chosen:
            socket.wire.client.process.run(socket.wire.client.resume)

    async def _slow_network(self, strike: Strike) -> None:
        delay = Delay(0.05, 0.15) if strike.how == "late" else Delay(0.02, 0.1, loss=0.3)
        self._slow += 1
        self.network.slow(delay)
        self._disturb(self.sockets.all)
        await asyncio.sleep(strike.seconds)
        self._slow -= 1
        if not self._slow:
            self.network.slow(self.network.usual)
            self.hinder()
            self.note("the network is fast again")

    def _disturb(self, sockets: Iterable[Any]) -> None:
        for socket in list(sockets):
            socket.disturbed = True

    async def _move(self, strike: Strike) -> None:
        rng = Random(strike.seed)  # noqa: S311 - see `Strike`
        for _ in range(strike.count):
            await asyncio.sleep(strike.seconds / strike.count * rng.uniform(0.5, 1.5))
            residents = self.crowd.residents()
            if residents:
                self.move_one(rng.choice(residents), rng)

    def move_one(self, member: ResumingMember, rng: Random, attempts: int = 0) -> None:
        if member.stay.role == "peer":
            for _ in range(rng.choice((0, 1, 8))):
                self.crowd.send_signal(member)
            member.mute()
            for _ in range(rng.choice((0, 1, 4))):
                self.crowd.send_signal(member)
        attempts = 1 if member.stay.role == "moderator" else attempts or rng.choice((1, 1, 1, 2, 3))
        (member.switch if rng.random() < 1 / 3 else member.cut)(attempts)

    @staticmethod
    def some(found: list[Any], strike: Strike) -> list[Any]:
        return Random(strike.seed).sample(found, min(strike.count, len(found)))  # noqa: S311 - see `Strike`

    # strikes

    def strike(self, strike: Strike) -> None:
        """Begin a strike."""
        self.note(str(strike))
        work = self._begin(strike)
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _begin(self, strike: Strike) -> Coroutine[Any, Any, None]:
        match strike.kind:
            case "redis forgets scripts" | "redis clock jumps":
                return self._at_once(strike)
        act = {
            "pause": self._pause_node,
            "kill": self._kill_node,
            "stop": self._stop_node,
            "part": self._part,
            "redis killed": self.kill_redis,
            "redis paused": self._pause_redis,
            "redis full": self._fill_redis,
            "links cut": self._cut_links,
            "slow network": self._slow_network,
            "sessions move": self._move,
            "clients stop reading": self._deafen,
            "clients vanish": self._vanish,
            "clients cut": self._cut_clients,
            "redis refuses": self._refuse_commands,
            "room locked": self._lock_room,
            "member banned": self._ban_member,
            "slow owner": self._chords.slow_owner,
            "outage while clients are away": self._chords.outage_while_away,
            "late join": self._chords.late_join,
        }[strike.kind]
        return act(strike)

    async def _at_once(self, strike: Strike) -> None:
        if self.redis is None or self.redis.process.dead:
            return
        if strike.kind == "redis forgets scripts":
            self.redis.scripts.flush()
        else:
            self.redis.ahead += strike.seconds
            self.hinder()


def _may_be_at(stay: Stay, node: int) -> bool:
    """Whether a node may have a session: it entered there, or has tried to since."""
    if stay.node == node:
        return True
    entered = max((link.dialed_at for link in stay.links if link.entered_at is not None), default=0.0)
    return any(link.node == node and link.dialed_at >= entered for link in stay.links)
