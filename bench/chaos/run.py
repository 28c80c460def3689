"""One fault, from the first start to the last key."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import msgspec
import redis
import uvloop

from bench.chaos import judge, returns, rosters
from bench.chaos.crowd import Crowd
from bench.chaos.faults import CALM
from bench.chaos.member import now
from bench.chaos.record import Record
from bench.chaos.verdict import Verdict, sum_up
from bench.chaos.world import AnyEngine, World
from bench.cluster import Cluster, serve
from bench.contender import ROOT
from bench.engine import Engine
from bench.engine_sets import SentinelSet, ask
from mcp_actors.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.chaos.faults import Fault
    from bench.cluster import Node
    from bench.engine import Flavor

SETTLE_PATIENCE, SETTLE_PATIENCE_WITH_CONTROL = 20.0, 1.5
SETTLE_PAUSE = 0.25
CHURNERS, MOVERS = 4, 2
ONE_ADDRESS = dict.fromkeys(
    (f"MCP_ACTORS_{name}" for name in ("ADDRESS_CONNECTION_RATE", "ADDRESS_JOIN_RATE", "MAX_ADDRESS_CONNECTIONS")), "0"
)
"""Members that all come from here, and come back again and again, are held to no limit of an address."""

SETTINGS = {"MCP_ACTORS_LOG_FORMAT": "json", "MCP_ACTORS_LOG_LEVEL": "info"} | ONE_ADDRESS
PENDING = (judge.lost, judge.unanswered, rosters.mismatches, rosters.ghosts, returns.absent, returns.doubled)
"""What may hold for a while after a fault, but not for ever."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    `rate`: messages per second of all together; `seconds`: None for the fault's own. Seconds, too, are `lease`, after
    which a node is dead, `window`, to come back in, and `drain`, which a node that is asked to stop gives its members.
    """

    seconds: float | None = None
    seed: int = 1
    processes: int = 4
    rooms: int = 3
    peers: int = 24
    rate: float = 400.0
    lease: float = 2.0
    window: float = 10.0
    drain: float = 3.0
    flavor: Flavor = "valkey"
    control: bool = False


def run(fault: Fault, options: Options, directory: Path) -> Verdict:
    """Let a fault strike, and judge; see `run_and_record`."""
    verdict, _ = run_and_record(fault, options, directory)
    return verdict


def run_and_record(fault: Fault, options: Options, directory: Path) -> tuple[Verdict, Record]:
    """The same with the record, which goes to the directory, as do the nodes' logs.

    Raises what starting them raises.
    """
    command = _control if options.control else serve
    with fault.engine(options.flavor) as engine:
        settings = SETTINGS | (_returning(options) if fault.returns else {})
        cluster = Cluster(options.processes, engine.url, lease=options.lease, command=command, settings=settings)
        with cluster:
            try:
                verdict, record = uvloop.run(_run(fault, options, engine, cluster))
            finally:
                _keep_logs(cluster, directory)
    (directory / "record.json").write_bytes(msgspec.json.encode(record))
    return verdict, record


def _returning(options: Options) -> dict[str, str]:
    """What lets members come back to any node."""
    settings = {
        "MCP_ACTORS_SECRET_KEY": secrets.token_hex(32),
        "MCP_ACTORS_RESUME_WINDOW": f"{options.window:g}",
    }
    if "drain_seconds" in Settings.__struct_fields__:  # else they stop at once
        settings["MCP_ACTORS_DRAIN_SECONDS"] = f"{options.drain:g}"
    return settings


def _control(port: int) -> list[str]:
    return [serve(port)[0], str(ROOT / "bench" / "peers" / "pubsub_relay.py"), str(port)]


async def _run(fault: Fault, options: Options, engine: AnyEngine, cluster: Cluster) -> tuple[Verdict, Record]:
    record = Record(began=now(), announce_within=1.5 * options.lease if fault.announces else None)
    record.data_lost = fault.loses_data
    record.window = options.window if fault.returns else 0.0
    rng = Random(f"{options.seed} {fault.name}")  # noqa: S311 - to be repeated, not to be secret
    crowd = Crowd(record, cluster.nodes, options.rooms, rng, record.window)
    seconds = fault.seconds if options.seconds is None else options.seconds
    world = World(engine, cluster, crowd, record, rng, options.lease, seconds)
    await crowd.gather(options.peers, users=not options.control)
    world.note("all are in")
    await _disturb(fault, world, options.rate)
    world.note("silence")
    settled = await _settle(crowd, record, SETTLE_PATIENCE_WITH_CONTROL if options.control else SETTLE_PATIENCE)
    found = sum_up(fault.name, options.seed, record, settled)
    await crowd.disperse()
    await _outlast(engine, options.window + 2 * options.lease)
    statuses = await asyncio.to_thread(cluster.stop)
    record.bugs += _bugs(cluster.nodes, statuses)
    record.leaked = await asyncio.to_thread(_endless_keys, engine)
    return found.with_aftermath(record), record


async def _disturb(fault: Fault, world: World, rate: float) -> None:
    """Traffic and churn, and the fault in the middle of them."""
    crowd = world.crowd
    busy = [asyncio.ensure_future(crowd.talk(rate))]
    busy += [asyncio.ensure_future(crowd.churn()) for _ in range(CHURNERS)]
    busy += [asyncio.ensure_future(crowd.move(f"m{index}")) for index in range(MOVERS)]
    try:
        await asyncio.sleep(CALM)
        await fault.strike(world)
        await asyncio.sleep(CALM)
    finally:
        for task in busy:
            task.cancel()
        ended = await asyncio.gather(*busy, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _settle(crowd: Crowd, record: Record, patience: float) -> float:
    """Wait until all has arrived, or will not; how long that took."""
    began = now()
    while now() - began < patience:
        if not crowd.rejoining and not any(any(check(record)) for check in PENDING):
            break
        await asyncio.sleep(SETTLE_PAUSE)
    return now() - began


async def _outlast(engine: AnyEngine, patience: float) -> None:
    """Wait until no node is left that is dead and whose members may still come back: its keys have no end till then."""
    began = now()
    while now() - began < patience and await asyncio.to_thread(_any_condemned, engine):  # noqa: ASYNC110 - no event
        await asyncio.sleep(SETTLE_PAUSE)


def _any_condemned(engine: AnyEngine) -> bool:
    if not isinstance(engine, Engine):
        return False
    with redis.Redis(port=engine.port, decode_responses=True) as connection:
        return any(connection.zcount(key, "-inf", "(0") for key in connection.scan_iter("*:nodes"))


def _bugs(nodes: list[Node], statuses: list[int | None]) -> Iterator[str]:
    for index, (node, status) in enumerate(zip(nodes, statuses, strict=True)):
        if status:
            yield f"node {index} ended with {status}"
        for line in list(node.lines):
            if _is_error(line):
                yield f"node {index}: {line[:500]}"


def _is_error(line: str) -> bool:
    with suppress(ValueError, AttributeError):
        return json.loads(line).get("level") in ("error", "critical")
    return line.startswith("Traceback")


def _endless_keys(engine: AnyEngine) -> list[str]:
    if isinstance(engine, Engine):
        return list(_endless(engine))
    where = [engine.primary()] if isinstance(engine, SentinelSet) else engine.primaries()
    return [key for one in where for key in _endless(one)]


def _endless(engine: Engine) -> Iterator[str]:
    with redis.Redis(port=engine.port, decode_responses=True) as connection:
        for key in connection.scan_iter(count=1000):
            if connection.ttl(key) == -1:
                yield f"{key} ({ask(engine, 'TYPE', key)})"


def _keep_logs(cluster: Cluster, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for index, node in enumerate(cluster.nodes):
        (directory / f"node-{index}.log").write_text("\n".join(node.lines) + "\n")
