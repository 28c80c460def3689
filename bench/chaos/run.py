"""Runs one fault: starts Redis, nodes and clients, injects the fault, waits for calm and judges the record."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import msgspec
import redis
import uvloop

from bench.chaos import judge, resume_checks, roster_checks
from bench.chaos.crowd import Crowd
from bench.chaos.faults import CALM
from bench.chaos.member import now
from bench.chaos.network import Network
from bench.chaos.record import Record
from bench.chaos.verdict import Verdict, summarize
from bench.chaos.world import AnyEngine, World
from bench.cluster import Cluster, serve
from bench.contender import ROOT
from bench.engine import Engine
from bench.engine_sets import SentinelSet, ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.chaos.faults import Fault
    from bench.cluster import Node
    from bench.engine import Flavor

SETTLE_TIMEOUT, SETTLE_TIMEOUT_WITH_CONTROL = 20.0, 1.5
SETTLE_PAUSE = 0.25
CHURNERS, MOVERS = 4, 2
LIFTED_LIMITS = dict.fromkeys(
    (f"MCP_ACTORS_{name}" for name in ("ADDRESS_CONNECTION_RATE", "ADDRESS_JOIN_RATE", "MAX_ADDRESS_CONNECTIONS")), "0"
)
"""All members connect from one address, again and again, so the limits per address are lifted."""

SETTINGS = {
    "MCP_ACTORS_LOG_FORMAT": "json",
    "MCP_ACTORS_LOG_LEVEL": "info",
    "MCP_ACTORS_AUTH": "optional",  # only moderators have access tokens
} | LIFTED_LIMITS
NO_SESSIONS = {"MCP_ACTORS_RESUME_WINDOW": "0"}
"""For faults whose members do not resume: those of a killed node leave as soon as its lease has expired."""

PENDING = (
    judge.lost,
    judge.unanswered,
    roster_checks.mismatches,
    roster_checks.ghosts,
    roster_checks.stale,
    resume_checks.absent,
    resume_checks.doubled,
)
"""Checks that may fail for a while after a fault, but not for long."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line.

    `rate`: messages per second of all members together. `seconds`: length of the fault, or None for its default.
    `lease`: seconds after which a silent node is dead. `window`: seconds within which a member can resume. `drain`:
    seconds that a stopping node gives its members to move.
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
    """Run a fault and return the verdict."""
    verdict, _ = run_and_record(fault, options, directory)
    return verdict


def run_and_record(fault: Fault, options: Options, directory: Path) -> tuple[Verdict, Record]:
    """Run a fault and return the verdict and the record.

    The record and the logs of the nodes are written to `directory`. Raises what starting the servers raises.
    """
    record, secret = Record(), secrets.token_hex(32)
    with fault.engine(options.flavor) as engine, ExitStack() as stack:
        network = stack.enter_context(Network(_random(fault, options))) if fault.uses_network else None
        to_redis = [network.path(_port(engine)) for _ in range(options.processes)] if network else []
        cluster = _cluster(fault, options, [_url(path.port) for path in to_redis] or engine.url, secret)
        to_nodes = [network.path(node.port) for node in cluster.nodes] if network else []
        crowd = _crowd(fault, options, record, [node.port for node in to_nodes or cluster.nodes], secret)
        seconds = fault.seconds if options.seconds is None else options.seconds
        world = World(engine, cluster, crowd, record, crowd.rng, _lease(fault, options), seconds, to_redis, to_nodes)
        stack.enter_context(cluster)
        try:
            verdict = uvloop.run(_run(fault, options, world))
        finally:
            _write_logs(cluster, directory)
    (directory / "record.json").write_bytes(msgspec.json.encode(record))
    return verdict, record


def _random(fault: Fault, options: Options) -> Random:
    return Random(f"{options.seed} {fault.name}")  # noqa: S311 - reproducible, not secret


def _lease(fault: Fault, options: Options) -> float:
    return options.lease if fault.lease is None else fault.lease


def _cluster(fault: Fault, options: Options, urls: str | Sequence[str], secret: str) -> Cluster:
    settings = SETTINGS | {"MCP_ACTORS_SECRET_KEY": secret}
    settings |= _resume_settings(options) if fault.returns else NO_SESSIONS
    command = _control if options.control else serve
    return Cluster(options.processes, urls, lease=_lease(fault, options), command=command, settings=settings)


def _crowd(fault: Fault, options: Options, record: Record, ports: Sequence[int], secret: str) -> Crowd:
    record.announce_within = 1.5 * options.lease if fault.announces else None
    record.data_lost = fault.loses_data
    record.window = options.window if fault.returns else 0.0
    urls = [f"ws://127.0.0.1:{port}" for port in ports]
    secret = "" if options.control else secret
    return Crowd(record, urls, options.rooms, _random(fault, options), window=record.window, secret=secret)


def _port(engine: AnyEngine) -> int:
    assert isinstance(engine, Engine)  # noqa: S101 - faults of the network need a single server
    return engine.port


def _url(port: int) -> str:
    return f"redis://127.0.0.1:{port}"


def _resume_settings(options: Options) -> dict[str, str]:
    """Return the settings that let members resume on any node."""
    return {
        "MCP_ACTORS_RESUME_WINDOW": f"{options.window:g}",
        "MCP_ACTORS_DRAIN_SECONDS": f"{options.drain:g}",
    }


def _control(port: int) -> list[str]:
    return [serve(port)[0], str(ROOT / "bench" / "peers" / "pubsub_relay.py"), str(port)]


async def _run(fault: Fault, options: Options, world: World) -> Verdict:
    crowd, record = world.crowd, world.record
    record.began = now()
    await crowd.join_all(options.peers, users=not options.control)
    world.note("all members have joined")
    await _disturb(fault, world, options.rate)
    world.note("traffic stopped")
    settled = await _settle(crowd, record, SETTLE_TIMEOUT_WITH_CONTROL if options.control else SETTLE_TIMEOUT)
    found = summarize(fault.name, options.seed, record, settled)
    await crowd.leave_all()
    await _wait_for_reaping(world.engine, options.window + 2 * world.lease)
    statuses = await asyncio.to_thread(world.cluster.stop)
    record.bugs += _bugs(world.cluster.nodes, statuses)
    record.leaked = await asyncio.to_thread(_leaked_keys, world.engine)
    return found.with_final_checks(record)


async def _disturb(fault: Fault, world: World, rate: float) -> None:
    """Run traffic and churn, and inject the fault while they run."""
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


async def _settle(crowd: Crowd, record: Record, max_wait: float) -> float:
    """Wait until all checks that may fail for a while pass. Return how long that took."""
    began = now()
    while now() - began < max_wait:
        if not crowd.rejoining and not any(any(check(record)) for check in PENDING):
            break
        await asyncio.sleep(SETTLE_PAUSE)
    return now() - began


async def _wait_for_reaping(engine: AnyEngine, max_wait: float) -> None:
    """Wait until no dead node is left whose members may resume; until then its keys have no expiry."""
    began = now()
    while now() - began < max_wait and await asyncio.to_thread(_any_dead_node, engine):  # noqa: ASYNC110 - no event
        await asyncio.sleep(SETTLE_PAUSE)


def _any_dead_node(engine: AnyEngine) -> bool:
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


def _leaked_keys(engine: AnyEngine) -> list[str]:
    if isinstance(engine, Engine):
        return list(_keys_without_expiry(engine))
    where = [engine.primary()] if isinstance(engine, SentinelSet) else engine.primaries()
    return [key for one in where for key in _keys_without_expiry(one)]


def _keys_without_expiry(engine: Engine) -> Iterator[str]:
    with redis.Redis(port=engine.port, decode_responses=True) as connection:
        for key in connection.scan_iter(count=1000):
            if connection.ttl(key) == -1:
                yield f"{key} ({ask(engine, 'TYPE', key)})"


def _write_logs(cluster: Cluster, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for index, node in enumerate(cluster.nodes):
        (directory / f"node-{index}.log").write_text("\n".join(node.lines) + "\n")
