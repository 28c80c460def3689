"""The plan of the adversary for a run: strikes, drawn from the seed before the run begins.

Each strike has all its numbers, so that a run can be repeated without some of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

NODES = 3

PATIENCE = 3.1
"""Seconds after which the new node of a session goes on without the former one, and a moment."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault. `at`: seconds after the members have joined. `seed`: of what it chooses among what is there then."""

    at: float
    kind: str
    node: int = 0
    seconds: float = 0.0
    how: str = ""
    count: int = 1
    seed: int = 0

    def __str__(self) -> str:
        shown = [self.how] if self.how else []
        shown += [f"node {self.node}"] if self.kind in NODE_KINDS else []
        shown += [f"{self.count} of them"] if self.count > 1 else []
        shown += [f"for {self.seconds:.3f} s"] if self.seconds else []
        return f"{self.kind}: {', '.join(shown)}" if shown else self.kind


NODE_KINDS = {"pause", "kill", "stop", "part", "slow owner", "late join"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A run. `rate`: messages a second of all members together. `visits`: peers are in a second room, too.

    `drift`: of the nodes' clocks. `quiet`: rooms with one resident, so that nodes often have no member in them.
    """

    seed: int
    strikes: tuple[Strike, ...]
    era: int = 0
    rooms: int = 1
    visits: bool = False
    peers: int = 4
    rate: float = 10.0
    churners: int = 1
    movers: int = 1
    lease: float = 2.0
    window: float = 10.0
    drain: float = 3.0
    seconds: float = 30.0
    drift: tuple[float, ...] = field(default=(1.0,) * NODES)
    quiet: int = 0


def _between(rng: Random, least: float, most: float) -> float:
    """A time, of any order of magnitude."""
    found: float = round(least * (most / least) ** rng.random(), 4)
    return found


def _pause(rng: Random, lease: float) -> dict[str, object]:
    return {"node": rng.randrange(NODES), "seconds": _between(rng, 0.001, 3 * lease)}


def _kill(rng: Random, lease: float) -> dict[str, object]:
    return {
        "node": rng.randrange(NODES),
        "seconds": _between(rng, 0.05, 4 * lease),
        "how": rng.choice(("process", "process", "machine")),
    }


def _stop(rng: Random, lease: float) -> dict[str, object]:
    return {"node": rng.randrange(NODES), "seconds": _between(rng, 0.01, lease)}


def _part(rng: Random, lease: float) -> dict[str, object]:
    sides = ("redis", "redis up", "redis down", "clients", "clients up", "clients down", "all")
    return {"node": rng.randrange(NODES), "seconds": _between(rng, 0.01, 3 * lease), "how": rng.choice(sides)}


def _redis_kill(rng: Random, lease: float) -> dict[str, object]:
    return {"seconds": _between(rng, 0.02, 3 * lease), "how": rng.choice(("kept", "kept", "lost", "lost last writes"))}


def _redis_pause(rng: Random, lease: float) -> dict[str, object]:
    return {"seconds": _between(rng, 0.001, 2 * lease)}


def _redis_full(rng: Random, lease: float) -> dict[str, object]:
    return {"seconds": _between(rng, 0.1, lease)}


def _redis_flush(_rng: Random, _lease: float) -> dict[str, object]:
    return {}


def _redis_clock(rng: Random, _lease: float) -> dict[str, object]:
    return {"seconds": round(rng.choice((-1, 1)) * _between(rng, 0.001, 2.0), 3)}


def _cut_links(rng: Random, _lease: float) -> dict[str, object]:
    return {"count": rng.randint(1, 6), "how": rng.choice(("with the last bytes", "without the last bytes"))}


def _slow(rng: Random, _lease: float) -> dict[str, object]:
    return {"seconds": _between(rng, 0.5, 10.0), "how": rng.choice(("late", "lossy"))}


def _move(rng: Random, _lease: float) -> dict[str, object]:
    return {"count": rng.randint(1, 8), "seconds": _between(rng, 0.01, 5.0)}


def _deaf(rng: Random, _lease: float) -> dict[str, object]:
    return {"count": rng.randint(1, 3), "seconds": _between(rng, 0.01, 10.0)}


def _vanish(rng: Random, _lease: float) -> dict[str, object]:
    return {"count": rng.randint(1, 3)}


def _redis_refuses(rng: Random, lease: float) -> dict[str, object]:
    return {"seconds": _between(rng, 0.05, 2 * lease), "how": rng.choice(("evalsha", "xadd", "xread", "client"))}


def _lock(rng: Random, _lease: float) -> dict[str, object]:
    return {"seconds": _between(rng, 0.05, 5.0)}


def _ban(rng: Random, _lease: float) -> dict[str, object]:
    return {"seconds": _between(rng, 0.5, 5.0)}


def _cut_clients(rng: Random, _lease: float) -> dict[str, object]:
    return {"count": rng.randint(1, 6), "how": rng.choice(("with the last bytes", "without the last bytes"))}


def _slow_owner(rng: Random, lease: float) -> dict[str, object]:
    seconds = rng.uniform(0.1, 0.95) * lease if lease < PATIENCE else rng.uniform(PATIENCE, 0.7 * lease)
    how = rng.choice(("stands still", "stands still", "cut off from Redis"))
    return {"node": rng.randrange(NODES), "seconds": round(seconds, 3), "count": rng.randint(1, 4), "how": how}


def _late_join(rng: Random, lease: float) -> dict[str, object]:
    seconds = round(rng.uniform(0.9, 1.8) * lease, 3)
    return {"node": rng.randrange(NODES), "seconds": seconds, "count": rng.randint(1, 4)}


def _outage_while_away(rng: Random, lease: float) -> dict[str, object]:
    how = rng.choice(("lost", "lost last writes", "lost last writes"))
    return {"seconds": _between(rng, 0.05, 2 * lease), "how": how, "count": rng.randint(1, 6)}


def _far_clock(rng: Random, lease: float) -> dict[str, object]:
    return {"seconds": round(rng.uniform(1.0, 2.0) * lease, 3)} if rng.random() < 1 / 3 else _redis_clock(rng, lease)


Draw = Callable[[Random, float], dict[str, object]]

FIRST_KINDS: dict[str, tuple[int, Draw]] = {
    "pause": (4, _pause),
    "kill": (3, _kill),
    "stop": (3, _stop),
    "part": (4, _part),
    "redis killed": (3, _redis_kill),
    "redis paused": (2, _redis_pause),
    "redis full": (1, _redis_full),
    "redis forgets scripts": (1, _redis_flush),
    "redis clock jumps": (1, _redis_clock),
    "links cut": (4, _cut_links),
    "slow network": (2, _slow),
    "sessions move": (8, _move),
    "clients stop reading": (2, _deaf),
    "clients vanish": (2, _vanish),
    "clients cut": (4, _cut_clients),
}
"""Each kind of strike: how often it is chosen, and how its numbers are drawn."""

SECOND_KINDS = FIRST_KINDS | {
    "redis refuses": (1, _redis_refuses),
    "room locked": (2, _lock),
    "member banned": (2, _ban),
}

KINDS = SECOND_KINDS | {
    "redis clock jumps": (1, _far_clock),
    "slow owner": (4, _slow_owner),
    "outage while clients are away": (3, _outage_while_away),
    "late join": (2, _late_join),
}

GENTLE = {
    *("stop", "links cut", "redis forgets scripts", "redis clock jumps", "sessions move"),
    *("clients vanish", "clients cut", "room locked", "member banned"),
}
"""Kinds of strikes that lose no message, and make no session incomplete."""

ERAS = (FIRST_KINDS, SECOND_KINDS, KINDS)
"""The kinds of strikes, and those that there were before: a seed means the same plan as long as its era is named."""


def draw(seed: int, era: int = len(ERAS)) -> Plan:
    """Draw the plan of a seed, with the kinds of strikes that there were in an era, from 1 on."""
    kinds = ERAS[era - 1]
    rng = Random(f"plan {seed}")  # noqa: S311 - reproducible, not secret
    lease = rng.choice((1.0, 2.0, 2.0, 4.0) if era < 3 else (1.0, 2.0, 2.0, 6.0))
    count = rng.choice((2, 4, 8, 16))
    names = list(kinds)
    weights = [kinds[name][0] for name in names]
    if rng.random() < 2 / 3:  # most runs have a few kinds of faults, so that these meet often
        names = rng.sample(names, rng.randint(2, 5))
        weights = [kinds[name][0] for name in names]
    seconds = 30.0
    strikes = []
    for _ in range(count):
        kind = rng.choices(names, weights)[0]
        numbers = kinds[kind][1](rng, lease)
        at = round(rng.uniform(0.0, seconds - 5), 3)
        strikes.append(Strike(at, kind, seed=rng.getrandbits(32), **numbers))  # type: ignore[arg-type]
    drift = tuple(1 + rng.uniform(-1, 1) * rng.choice((0.0, 0.0001, 0.01)) for _ in range(NODES))
    return Plan(
        seed,
        tuple(sorted(strikes, key=lambda strike: strike.at)),
        era,
        rate=rng.choice((4.0, 8.0, 16.0)),
        lease=lease,
        window=rng.choice((8.0, 10.0)) if lease < 4 else 15.0,
        seconds=seconds,
        drift=drift,
        rooms=rng.choice((1, 1, 1, 2)) if era > 1 else 1,
        visits=era > 1 and rng.random() < 1 / 2,
        quiet=rng.choice((0, 2, 5)) if era > 2 else 0,
    )
