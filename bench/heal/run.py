"""Runs the faults, one after the other, and records what the pages notice."""

from __future__ import annotations

import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct

from bench.heal.faults import FAULTS, QUICK
from bench.heal.record import Record, State, pairs_of
from bench.heal.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.heal.faults import Site
    from bench.heal.record import Broken, Pair

PATIENCE = 30.0
"""Seconds in which all pairs must connect at first, and be back after a fault."""

SETTLE = 2.0
"""Seconds in which pairs that are back must be seen to flow."""

BEFORE, AFTER, QUICK_AFTER = 1.0, 4.0, 1.5
"""Seconds that are recorded before a fault, and at least after it."""

SPREAD = 0.2
"""The share by which the length of a fault differs from one seed to another."""


class Options(Struct, frozen=True):
    """What to run. `seconds`: the length of each fault; None: that of the fault."""

    pages: int
    seed: int
    seconds: float | None
    quick: bool
    faults: tuple[str, ...]

    def lengths(self, fault: str) -> tuple[float, ...]:
        """Return the length of each time that a fault is made, in seconds."""
        lengths = (QUICK[fault],) if self.quick and fault in QUICK else FAULTS[fault].lengths
        return lengths if self.seconds is None else (self.seconds,) * len(lengths)


class ConnectError(Exception):
    """Pairs do not connect although nothing is wrong; `str(error)` names them."""


def run(options: Options, directory: Path, say: Callable[[str], None]) -> Iterator[Record]:
    """Yield a record for each time that a fault was made. Raises ConnectError, NamespaceError and ProcessError."""
    chance = Random(options.seed)  # noqa: S311 - no secret
    with World(options.pages, options.seed, directory) as world:
        for site in ("direct", "relayed"):
            names = [name for name in options.faults if FAULTS[name].site == site]
            if names:
                yield from _site(world, site, names, options, chance, say)


def _site(
    world: World, site: Site, names: list[str], options: Options, chance: Random, say: Callable[[str], None]
) -> Iterator[Record]:
    with world.serving(site):
        states: dict[Pair, State] = {}
        _connect(world)
        for name in names:
            for length in options.lengths(name):
                seconds = length * chance.uniform(1 - SPREAD, 1 + SPREAD)
                say(f"{name}: {FAULTS[name].about}" + (f", {seconds:.1f} s" if length else ""))
                after = QUICK_AFTER if options.quick else AFTER
                yield _record(world, name, partial(FAULTS[name].make, world, chance, seconds), after, states)


def _record(
    world: World, name: str, make: Callable[[], list[Broken]], after: float, states: dict[Pair, State]
) -> Record:
    """Make a fault. `states`: what the pages said last, which is kept up to date."""
    _prepare(world)
    for page, drained in enumerate(world.drain()):
        _keep(states, page, drained)
    record = Record(name, time.time(), 0.0, [])
    record.states = {way: [State(record.began, state.state, state.reason)] for way, state in states.items()}
    time.sleep(BEFORE)
    record.broken = make()
    time.sleep(after)
    world.wait("call", pairs_of(world.pages, world.pages), PATIENCE)
    record.ended = time.time()
    for page, drained in enumerate(world.drain()):
        record.take(page, drained)
    states.update({way: told[-1] for way, told in record.states.items()})
    return record


def _connect(world: World) -> None:
    """Wait until all pages are connected. Raises ConnectError."""
    quiet = world.wait("call", pairs_of(world.pages, world.pages), PATIENCE)
    if quiet:
        known = world.describe(quiet)
        raise ConnectError(f"Pages are not connected within {PATIENCE:g} s, though nothing is wrong. {known}")


def _prepare(world: World) -> None:
    """Wait until all pairs of both meshes flow. Begin anew if some did not heal, so that others can be measured."""
    if world.wait("call", pairs_of(world.pages, world.pages), SETTLE):
        world.join()
        _connect(world)
    world.dial_plain()
    world.wait("plain", world.plain, PATIENCE)


def _keep(states: dict[Pair, State], page: int, drained: dict[str, list[list[object]]]) -> None:
    record = Record("", 0.0, 0.0, [])
    record.take(page, drained)
    states.update({way: told[-1] for way, told in record.states.items()})
