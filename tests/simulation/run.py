"""Runs one plan: the whole cluster in this thread, with virtual time, and the judge's verdict."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

import bench.chaos.member
from bench.chaos.crowd import Crowd
from bench.chaos.judge import expected
from bench.chaos.record import Record
from bench.chaos.resume_checks import count
from tests.simulation import judge
from tests.simulation.entropy import controlled, real_time
from tests.simulation.logs import Logs
from tests.simulation.loop import SimulationLoop, SimulationOver
from tests.simulation.node import settings_of
from tests.simulation.plan import ERAS, GENTLE, Plan, draw
from tests.simulation.rules import Rules
from tests.simulation.webhooks import SETTINGS, SimulatedReceiver, untrue
from tests.simulation.world import REDIS, REDIS_PORT, World

if TYPE_CHECKING:
    from tests.simulation.redis.server import RedisServer

SECRET = "a secret of the simulation, of 32 bytes or more"  # noqa: S105 - of no use elsewhere
PING = 3.0
"""Seconds between the pings of the nodes, so that a dead connection is noticed within a run."""

ROOM_LOST = "closed with 4001"
"""How a connection ends whose node was declared dead while it lived."""

EVENTS = b"mcp-actors:{0}:events"
"""Where events wait for the receiver of webhooks."""

MOST_REPORTS = 120
"""Seconds for which they may wait when nobody causes any more."""

SETTLE = 30.0
"""Seconds of the world after the last fault within which all promises that may take a while must hold."""


@dataclass
class Outcome:
    """The outcome of a run. `breaches`: by check. `digest`: of everything that happened."""

    plan: Plan
    breaches: dict[str, list[str]]
    timeline: list[str]
    digest: str
    simulated: float
    took: float
    judged: int
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.breaches


def run_seed(seed: int, trace: tuple[str, ...] = (), era: int = len(ERAS), *, webhooks: bool = False) -> Outcome:
    """Run a seed of an era. `webhooks`: whether nodes report to a receiver."""
    return run(draw(seed, era), trace=trace, webhooks=webhooks)


def run(plan: Plan, *, trace: tuple[str, ...] = (), webhooks: bool = False) -> Outcome:
    """Run a plan."""
    began = real_time()
    loop = SimulationLoop(Random(f"loop {plan.seed}"))  # noqa: S311 - reproducible, not secret
    gentle = all(strike.kind in GENTLE for strike in plan.strikes)
    record, logs = Record(window=plan.window, gentle=gentle), Logs(loop)
    collecting = gc.isenabled()
    gc.disable()
    settings = settings_of(
        Path(__file__).parent,
        redis_url=f"redis://{REDIS}:{REDIS_PORT}",
        secret_key=SECRET,
        auth="optional",
        node_lease=plan.lease,
        resume_window=plan.window,
        drain_seconds=plan.drain,
        ping_interval=PING,
        **(SETTINGS if webhooks else {}),
    )
    receiver = SimulatedReceiver(Random(f"receiver {plan.seed}")) if webhooks else None  # noqa: S311 - the same
    try:
        with controlled(loop, plan.seed, rare_polls=plan.era > 2), logs.captured():
            world = World(loop, plan, settings, record, receiver)
            logs.on_fenced = world.fenced
            world.sockets.interval = min(PING, plan.window / 3)
            if trace:
                world.trace(trace)
            with mock.patch.object(bench.chaos.member, "ws_connect", world.sockets.connect), world.steps.attached():
                problem = _complete(loop, world)
            simulated = loop.now
    finally:
        if not loop.over:
            loop.end()
        if collecting:
            gc.enable()
    if receiver is not None:
        untold = list(untrue(receiver.told, record))
        world.breaches |= {"webhooks": untold} if untold else {}
    return _judge(world, logs, problem, simulated, began)


def _complete(loop: SimulationLoop, world: World) -> str:
    """Run to the end; return what kept it from getting there."""
    main = world.clients.spawn(_live(world))
    try:
        loop.run_until_complete(main)
    except (TimeoutError, SimulationOver) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        loop.end()
    return ""


async def _live(world: World) -> None:
    plan, record = world.plan, world.record
    world.start_redis()
    await world.start_nodes()
    record.began = world.loop.now
    urls = [f"ws://node{number}" for number in range(len(world.nodes))]
    rng = Random(f"crowd {plan.seed}")  # noqa: S311 - reproducible, not secret
    crowd = world.crowd = Crowd(record, urls, plan.rooms, rng, window=plan.window, secret=SECRET, visits=plan.visits)
    crowd.quiet = [f"quiet{index}" for index in range(plan.quiet)]
    world.rules = Rules(crowd)
    await crowd.join_all(plan.peers, users=True)
    world.note("all members have joined")
    await _disturb(world)
    world.note("the faults are over")
    await _settle(world)
    world.note("settled")
    _judge_now(world)
    await crowd.leave_all()
    await _stop(world)


async def _disturb(world: World) -> None:
    crowd, plan, loop = world.crowd, world.plan, asyncio.get_running_loop()
    busy = [loop.create_task(crowd.talk(plan.rate))]
    busy += [loop.create_task(crowd.churn()) for _ in range(plan.churners)]
    busy += [loop.create_task(crowd.move(f"m{index}")) for index in range(plan.movers)]
    began = world.loop.now
    try:
        for strike in plan.strikes:
            await asyncio.sleep(max(0.0, began + strike.at - world.loop.now))
            world.strike(strike)
        await asyncio.sleep(max(0.0, began + plan.seconds - world.loop.now))
        while world.at_work:
            await asyncio.sleep(0.1)
    finally:
        for task in busy:
            task.cancel()
        ended = await asyncio.gather(*busy, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _settle(world: World) -> None:
    crowd, record, end = world.crowd, world.record, world.loop.now + SETTLE
    await asyncio.sleep(2.0)
    while world.loop.now < end:
        if not crowd.rejoining and judge.settled(record):
            return
        await asyncio.sleep(1.0)


def _judge_now(world: World) -> None:
    """Judge while the members are there: also those that are, although they were struck, unless Redis lost data.

    Of those that were told 4001 the others were told that they left, even if another node has taken them over since.
    """
    for stay in world.record.stays:
        told = any(link.closed.startswith(ROOM_LOST) for link in stay.links)
        if stay.present and not told and not world.record.data_lost:
            stay.struck_at = None
    world.breaches = judge.breaches(world.record)
    world.judged = sum(1 for _ in expected(world.record))


async def _stop(world: World) -> None:
    """Stop all nodes, once no dead one is left, and see what remains in Redis."""
    redis = world.redis
    assert redis is not None
    await asyncio.sleep(world.plan.window + 3 * world.plan.lease)
    await _report(redis)
    await asyncio.gather(*(node.stop() for node in world.nodes))
    space = redis.keyspace
    world.record.leaked = [
        f"{key.decode()} ({space.kind(key).decode()})"
        for key in list(space.values)
        if space.find(key) is not None and key not in space.expires
    ]


async def _report(redis: RedisServer) -> None:
    """Wait until the receiver of webhooks has been told everything, for a while."""
    for _ in range(MOST_REPORTS):
        if not redis.keyspace.find(EVENTS):
            return
        await asyncio.sleep(1.0)


def _judge(world: World, logs: Logs, problem: str, simulated: float, began: float) -> Outcome:
    breaches = dict(world.breaches)
    for name, found in (
        ("leaked", world.record.leaked),
        ("bugs", [line for line in logs.errors if not any(text in line for text in world.forgiven)]),
        ("admitted", world.admitted),
        ("unfounded", world.unfounded),
        ("refused by the model", world.steps.refused),
        ("exceptions", _exceptions(world.loop)),
        ("unfinished", [problem] if problem else []),
    ):
        if found:
            breaches[name] = list(found)
    start = world.record.began
    events = sorted([*world.log, *logs.lines], key=lambda line: line[0])
    timeline = [f"{at - start:8.3f}  {what}" for at, what in events]
    digest = hashlib.sha256()
    digest.update(repr(timeline).encode())
    digest.update(
        repr([(stay.member, stay.events, stay.arrived, stay.acknowledged) for stay in world.record.stays]).encode()
    )
    digest.update(repr((simulated, world.loop.turns)).encode())
    returns = count(world.record, 0)
    counts = {
        "turns": world.loop.turns,
        "resumed": returns.times,
        "elsewhere": returns.elsewhere,
        "steps": world.steps.steps,
    }
    return Outcome(
        world.plan,
        breaches,
        timeline,
        digest.hexdigest()[:16],
        simulated - start,
        real_time() - began,
        world.judged,
        counts,
    )


def _exceptions(loop: SimulationLoop) -> list[str]:
    return [f"{context.get('message')}: {context.get('exception')!r}" for context in loop.errors]
