"""Strikes of several faults at once, at the moments that are dangerous for a session."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from bench.chaos.member import JoinError
from bench.chaos.resuming import ResumingMember

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.network import Path
    from tests.simulation.plan import Strike
    from tests.simulation.world import World

LEAVE_TIMEOUT = 5.0


class Chords:
    """Carries out these strikes in a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = count(1)

    async def slow_owner(self, strike: Strike) -> None:
        """Let sessions move while their node stands still, or is cut off from Redis, and move again afterwards."""
        world = self._world
        node = world.free(strike)
        if node is None:
            return
        rng = Random(strike.seed)  # noqa: S311 - see `Strike`
        there = [member for member in world.crowd.residents() if member.stay.node == strike.node]
        rng.shuffle(there)
        chosen = sorted(there, key=lambda member: member.stay.role != "peer")[: strike.count]  # peers send messages
        world.busy_nodes.add(strike.node)
        since = world.loop.now
        paths = self._block(strike.node) if strike.how == "cut off from Redis" else []
        if not paths:
            node.running.pause()
        await self._move(chosen, rng, strike.node)
        await asyncio.sleep(max(0.0, since + strike.seconds - world.loop.now))
        self._open(paths)
        node.running.resume()
        world.hinder(strike.node)
        world.lost(strike.node, since)
        world.note(f"node {strike.node} went on")
        world.busy_nodes.discard(strike.node)
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await self._move(chosen, rng, strike.node)

    async def _move(self, chosen: Sequence[ResumingMember], rng: Random, owner: int) -> None:
        """Let sessions move; one of several attempts of a client may be made at the former owner."""
        for member in chosen:
            await asyncio.sleep(rng.uniform(0.0, 0.02))
            if member.open and not member.returning:
                member.next_node = rng.choice((None, None, owner))
                self._world.move_one(member, rng, rng.choice((1, 1, 2)) if member.next_node is None else 3)

    async def outage_while_away(self, strike: Strike) -> None:
        """Kill Redis while clients are away: residents, and newcomers of which it loses that they have joined.

        They return during the outage, or soon after; one of the nodes may find Redis later than the others.
        """
        world = self._world
        if world.redis is None or not world.redis.process.runs():
            return
        rng = Random(strike.seed)  # noqa: S311 - see `Strike`
        chosen = world.some(world.crowd.residents(), strike)
        for member in chosen:
            member.next_node = rng.choice((None, member.stay.node))
            member.stay_away(rng.uniform(0.3, strike.seconds + rng.choice((0.5, 2.0))))
        newcomers = [asyncio.ensure_future(self._come(rng, strike)) for _ in range(rng.choice((0, 2, 4)))]
        late = chosen[0].stay.node if chosen and rng.random() < 1 / 2 else None
        delayed = None if late is None else asyncio.ensure_future(self._delay(late, rng, strike))
        await world.kill_redis(strike)
        await asyncio.gather(*newcomers, *([delayed] if delayed else []))

    async def _come(self, rng: Random, strike: Strike) -> None:
        """Join just before Redis is killed, lose the connection, return, and leave later."""
        crowd = self._world.crowd
        room, (node, _), name = rng.choice(crowd.rooms), crowd.choose(), f"cnew{next(self._numbers)}"
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        with suppress(JoinError):
            member = await crowd.enter("churner", room, node, name)
            if isinstance(member, ResumingMember):
                member.stay_away(rng.uniform(0.3, strike.seconds + rng.choice((0.5, 2.0))))
            await asyncio.sleep(self._world.plan.window)
            await member.leave(LEAVE_TIMEOUT)

    async def late_join(self, strike: Strike) -> None:
        """Let newcomers join at a node whose requests do not reach Redis, and leave soon: their joins may come late."""
        world = self._world
        path = world.network.path(f"node{strike.node}", "redis")
        if path.blocked or world.free(strike) is None:
            return
        rng, since = Random(strike.seed), world.loop.now  # noqa: S311 - see `Strike`
        world.busy_nodes.add(strike.node)
        path.block(since)
        visits = [asyncio.ensure_future(self._visit(strike.node, rng)) for _ in range(strike.count)]
        await asyncio.sleep(strike.seconds)
        path.open()
        world.hinder(strike.node)
        world.lost(strike.node, since)
        world.note(f"node {strike.node} is connected again")
        world.busy_nodes.discard(strike.node)
        await asyncio.gather(*visits)

    async def _visit(self, node: int, rng: Random) -> None:
        crowd = self._world.crowd
        with suppress(JoinError):
            room, name = rng.choice(crowd.quiet or crowd.rooms), f"cnew{next(self._numbers)}"
            member = await crowd.enter("churner", room, node, name)
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            await member.leave(LEAVE_TIMEOUT)

    async def _delay(self, node: int, rng: Random, strike: Strike) -> None:
        """Cut a node off from Redis when that is killed, and until it has been back for a while."""
        world = self._world
        await asyncio.sleep(strike.seconds / 2)
        paths = self._block(node)
        since = world.loop.now
        await asyncio.sleep(strike.seconds / 2 + rng.uniform(0.05, 0.25) * world.plan.lease)
        self._open(paths)
        if paths:
            world.hinder(node)
            world.lost(node, since)

    def _block(self, node: int) -> list[Path]:
        network = self._world.network
        paths = [network.path(f"node{node}", "redis"), network.path("redis", f"node{node}")]
        if any(path.blocked for path in paths):
            return []
        for path in paths:
            path.block(self._world.loop.now)
        return paths

    @staticmethod
    def _open(paths: Sequence[Path]) -> None:
        for path in paths:
            path.open()
