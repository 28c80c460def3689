"""The faults: each breaks the path of some pairs, makes it usable again, and says which and when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, NamedTuple

from bench.heal.record import Broken, Pair, pairs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from bench.heal.world import World

Site = Literal["direct", "relayed"]
"""`direct`: a server without a TURN server. `relayed`: one with coturn, which every other page must use."""

LOSS = 0.2
CHECKS_FAILED, TURN_REFUSED = "checks-failed", "turn-refused"


class Fault(NamedTuple):
    """A fault; it is made once for each of `lengths`, in seconds."""

    about: str
    site: Site
    lengths: tuple[float, ...]
    make: Callable[[World, Random, float], list[Broken]]


def _cut(world: World, chance: Random, seconds: float) -> list[Broken]:
    page = chance.choice(world.pages)
    return _while_cut(world, page, seconds)


def _cut_relayed(world: World, chance: Random, seconds: float) -> list[Broken]:
    return _while_cut(world, chance.choice(world.relayed), seconds)


def _expired(world: World, chance: Random, seconds: float) -> list[Broken]:
    return _while_cut(world, chance.choice(world.relayed), world.credentials_last + seconds)


def _while_cut(world: World, page: int, seconds: float) -> list[Broken]:
    at = time.time()
    world.switch.cut.add(world.port(page))
    time.sleep(seconds)
    return _mended(world, at, pairs_of([page], world.pages))


def _pair(world: World, chance: Random, seconds: float) -> list[Broken]:
    return _sever(world, _disjoint(world.pages, chance), seconds)


def _one_way(world: World, chance: Random, seconds: float) -> list[Broken]:
    return _sever(world, _disjoint(world.pages, chance), seconds, both_ways=False)


def _lasting(world: World, chance: Random, seconds: float) -> list[Broken]:
    return _sever(world, _disjoint(world.pages, chance), seconds, reason=CHECKS_FAILED)


def _sever(
    world: World, pairs: list[Pair], seconds: float, *, both_ways: bool = True, reason: str = ""
) -> list[Broken]:
    at = time.time()
    ports = [(world.port(one), world.port(other)) for one, other in pairs]
    world.switch.sever(ports, both_ways=both_ways)
    time.sleep(seconds)
    return _mended(world, at, pairs, reason)


def _detour(world: World, chance: Random, seconds: float) -> list[Broken]:
    """Sever pairs that go directly, and could go over coturn at any time."""
    others = [page for page in world.pages if page not in world.relayed]
    pairs, at = _disjoint(others, chance), time.time()
    _sever(world, pairs, seconds)
    return [Broken(_ordered(pair), at, at) for pair in pairs]


def _loss(world: World, _chance: Random, seconds: float) -> list[Broken]:
    at, world.switch.loss = time.time(), LOSS
    time.sleep(seconds)
    return _mended(world, at, pairs_of(world.pages, world.pages))


def _move(world: World, chance: Random, seconds: float) -> list[Broken]:
    page, at = chance.choice(world.pages), time.time()
    world.move(page, seconds)
    usable = time.time()
    return [Broken(pair, at, usable) for pair in pairs_of([page], world.pages)]


def _restart(world: World, _chance: Random, seconds: float) -> list[Broken]:
    at = time.time()
    world.server.stop()
    time.sleep(seconds)
    world.server.start()
    return [Broken(pair, at, at) for pair in pairs_of(world.pages, world.pages)]


def _restart_and_move(world: World, chance: Random, seconds: float) -> list[Broken]:
    page, at = chance.choice(world.pages), time.time()
    world.server.stop()
    world.move(page, seconds)
    world.server.start()
    usable = time.time()
    return [Broken(pair, at, usable) for pair in pairs_of([page], world.pages)]


def _coturn(world: World, _chance: Random, seconds: float) -> list[Broken]:
    return _without_coturn(world, lambda: time.sleep(seconds))


def _refused(world: World, _chance: Random, seconds: float) -> list[Broken]:
    def refuse() -> None:
        world.coturn.start(valid=False)
        time.sleep(seconds)
        world.coturn.stop()

    return _without_coturn(world, refuse, TURN_REFUSED)


def _without_coturn(world: World, meanwhile: Callable[[], None], reason: str = "") -> list[Broken]:
    at = time.time()
    world.coturn.stop()
    meanwhile()
    world.coturn.start()
    usable = time.time()
    return [Broken(pair, at, usable, reason) for pair in pairs_of(world.relayed, world.pages)]


def _mended(world: World, at: float, pairs: Iterable[Pair], reason: str = "") -> list[Broken]:
    world.switch.mend()
    usable = time.time()
    return [Broken(_ordered(pair), at, usable, reason) for pair in pairs]


def _disjoint(pages: Iterable[int], chance: Random) -> list[Pair]:
    """Return pairs that have no page in common, in random directions."""
    shuffled = list(pages)
    chance.shuffle(shuffled)
    return list(zip(shuffled[::2], shuffled[1::2], strict=False))


def _ordered(pair: Pair) -> Pair:
    return min(pair), max(pair)


FAULTS = {
    "cut": Fault("the network of a page is cut", "direct", (2, 5, 15), _cut),
    "pair": Fault("the path between two pages is cut", "direct", (3, 8), _pair),
    "one-way": Fault("the path between two pages is cut in one direction", "direct", (3, 8), _one_way),
    "loss": Fault("a fifth of all frames is lost for ten seconds", "direct", (10, 10), _loss),
    "move": Fault("a page has no address, then another one", "direct", (0, 1, 2), _move),
    "restart": Fault("the signaling server is restarted", "direct", (2, 2), _restart),
    "restart-move": Fault("an address changes while signaling is away", "direct", (2, 2), _restart_and_move),
    "lasting": Fault("the path between two pages is cut, and there is no other", "direct", (12,), _lasting),
    "relayed": Fault("the network of a page that must use coturn is cut", "relayed", (4,), _cut_relayed),
    "detour": Fault("a direct path is cut, and one over coturn is left", "relayed", (8,), _detour),
    "coturn": Fault("coturn is restarted", "relayed", (1, 1), _coturn),
    "expired": Fault("a page is cut off until its credentials have expired", "relayed", (2,), _expired),
    "refused": Fault("coturn refuses all credentials", "relayed", (12,), _refused),
}

QUICK = {"cut": 2.0, "move": 0.0, "coturn": 1.0}
"""The faults of a quick run, once each, and their seconds."""
