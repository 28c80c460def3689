from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from bench.engine import Engine, Flavor, engines
from mcp_actors.broker.redis import scripts
from mcp_actors.broker.redis.entries import pack
from mcp_actors.broker.redis.server_check import ARGUMENTS
from tests.broker.redis.lua import ROOM, A, B, C, Store, peer, user
from tests.simulation.redis.commands import COMMANDS
from tests.simulation.redis.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.identifiers import NodeId

COMMANDS_A_RUN, CALLS_A_RUN = 600, 150
NODES = (A, B, C)
FAR = 4_000_000_000_000
"""A time in milliseconds at which nothing has ended yet."""

SCRIPTED = {name for name, value in vars(scripts).items() if isinstance(value, scripts.Script)}


@pytest.fixture(scope="module", params=engines())
def real(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Engine]:
    flavor: Flavor = request.param
    if flavor == engine.flavor:
        yield engine
        return
    with Engine(flavor) as started:
        yield started


@pytest.fixture
def pair(real: Engine) -> Iterator[Pair]:
    opened = Pair(real)
    opened.flushall()
    yield opened
    opened.flushall()
    opened.close()


def _arguments(rng: Random, name: str) -> list[Any]:
    """Random arguments behind the key, most of them of the right kind."""

    def word() -> str:
        return rng.choice(("a", "b", "c", "1", "-7", "", "long" * 20))

    def words() -> list[Any]:
        return [word() for _ in range(rng.randint(1, 3))]

    def number() -> Any:
        return rng.choice((0, 1, -1, 5, -3, 1_750_000_000_000, "x"))

    def bound() -> Any:
        return rng.choice(("-inf", "+inf", 0, 1, -3, "x"))

    made: dict[str, Callable[[], list[Any]]] = {
        "SET": lambda: [word(), *rng.choice(([], ["PX", 100_000]))],
        "PEXPIRE": lambda: [rng.choice((100_000, 0, -1, "x"))],
        "HSET": lambda: [part for _ in range(rng.randint(1, 3)) for part in (word(), word())],
        "HSETNX": lambda: [word(), word()],
        "HINCRBY": lambda: [word(), number()],
        "ZADD": lambda: [*rng.choice(([], ["NX"])), number(), word()],
        "ZCOUNT": lambda: [bound(), bound()],
        "ZRANGE": lambda: [rng.randint(-3, 3), rng.randint(-3, 3), *rng.choice(([], ["WITHSCORES"]))],
        "ZRANGEBYSCORE": lambda: [
            bound(),
            bound(),
            *rng.choice(([], ["WITHSCORES"], ["LIMIT", 0, 2], ["WITHSCORES", "LIMIT", 1, 1])),
        ],
        "XADD": lambda: [*rng.choice(([], ["NOMKSTREAM"], ["NOMKSTREAM", "MAXLEN", "~", 1000])), "*", word(), word()],
        "SSCAN": lambda: [0],
        "XDEL": lambda: [rng.choice(("0-1", "0", "1-1", "x")) for _ in range(rng.randint(1, 2))],
        "XTRIM": lambda: ["MINID", "~", rng.choice((0, "0-0", "x"))],
        "XRANGE": lambda: [rng.choice(("-", "0-1")), "+", *rng.choice(([], ["COUNT", 2]))],
        "XREVRANGE": lambda: ["+", "-", *rng.choice(([], ["COUNT", 1]))],
    }
    if name in made:
        return made[name]()
    least, most = COMMANDS[name][1:]
    return [] if most == 1 else [word()] if most == least else words()


@pytest.mark.parametrize("seed", range(4))
def test_random_commands_have_the_replies_of_a_real_server(pair: Pair, seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - reproducible, not secret
    names = [name for name in COMMANDS if name != "TIME"]
    for _ in range(COMMANDS_A_RUN):
        name = rng.choice(names)
        kind = name[0] if name[0] in "HSZX" and name != "SET" else "S"
        key = f"key:{kind if rng.random() < 0.9 else rng.choice('HSZX')}{rng.randint(1, 2)}"
        pair.execute_command(name, key, *_arguments(rng, name))
    pair.execute_command("TIME")
    pair.compare_keys()


def test_every_command_that_the_product_needs_is_compared() -> None:
    assert {name.upper() for name in ARGUMENTS} | {"TIME"} <= COMMANDS.keys()


class Calls:
    """Random calls of all scripts."""

    def __init__(self, store: Store, rng: Random) -> None:
        self.store = store
        self.rng = rng
        self.ran: set[str] = set()
        self._epochs = 0

    def run(self, calls: int) -> None:
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("do_")]
        for kind in self.rng.sample(kinds, len(kinds)) + self.rng.choices(kinds, k=calls):
            self.store.max_events = self.rng.choice((0, 10_000, 10_000))
            kind()
            self.ran.add(kind.__name__.removeprefix("do_").upper())

    def _member(self, node: NodeId | None = None) -> Member:
        node = node or self.rng.choice(NODES)
        if self.rng.random() < 0.6:
            name = self.rng.choice(("ana", "ben", "cy"))
            return peer(name, node, mood="good") if self._flag() else peer(name, node)
        return user(self.rng.choice(("una", "val")), self.rng.randint(1, 2), node)

    def _flag(self) -> bool:
        return self.rng.random() < 0.5

    @property
    def _epoch(self) -> int:
        self._epochs += 1
        return self.rng.choice((self._epochs, 1))

    def do_attach(self) -> None:
        new, restarted = self.rng.random() < 0.2, self.rng.random() < 0.2
        self.store.attach(self.rng.choice(NODES), new=new, restarted=restarted, hold=0)

    def do_heartbeat(self) -> None:
        self.store.heartbeat(self.rng.choice(NODES), self.rng.randint(1, 5), trim=self.rng.choice(("", "1")))

    def do_unregister(self) -> None:
        if self.rng.random() < 0.2:
            self.store.unregister(self.rng.choice(NODES))

    def do_fence(self) -> None:
        if self.rng.random() < 0.3:
            self.store.run(scripts.FENCE, [self.store.keys.nodes], [10, 0])

    def do_reap_room(self) -> None:
        self.store.reap_room(self.rng.choice(NODES), others=NODES, reason=self.rng.choice(("", "timeout")))

    def do_reap_node(self) -> None:
        self.store.reap_node(self.rng.choice(NODES))

    def do_join(self) -> None:
        self.store.join(self._member(), others=NODES, snapshot=self._flag(), capacity=4, moderator=self._flag())

    def do_leave(self) -> None:
        self.store.leave(self._member(), others=NODES)

    def do_set_presence(self) -> None:
        self.store.set_presence(self._member(), detached=self._flag(), others=NODES, address=self.rng.choice(("", "x")))

    def do_claim(self) -> None:
        member = self._member()
        self.store.claim(self.rng.choice(NODES), member, self._epoch, owner=member.node, others=NODES)

    def do_fence_owner(self) -> None:
        self.store.fence_owner(self.rng.choice(NODES), self._member(), self._epoch, others=NODES)

    def do_end_recovery(self) -> None:
        self.store.end_recovery(self.rng.choice(NODES), self._member(), self._epoch, others=NODES)

    def do_resync(self) -> None:
        node = self.rng.choice(NODES)
        members = [(self._member(node), self._flag()) for _ in range(self.rng.randint(0, 3))]
        self.store.resync(node, members, others=NODES, run=self.rng.choice(("run", "other")))

    def do_expire(self) -> None:
        self.store.expire(self.rng.choice(NODES), [self._member()], others=NODES)

    def do_audit(self) -> None:
        node, keys = self.rng.choice(NODES), self.store.keys
        named = [keys.nodes, keys.inbox(node), keys.rooms_of(node), keys.members(ROOM), keys.state(ROOM)]
        own = {"peer:ana": f"{node}.ana"}
        self.store.run(scripts.AUDIT, named, [node, 100, pack([{"room": ROOM, "own": own}])])

    def do_update(self) -> None:
        self.store.update(self._member(), others=NODES, mood=self.rng.choice(("good", "bad")))

    def do_kick(self) -> None:
        ban = self.rng.choice((0, 0, 60_000))
        self.store.kick(self._member(), self._member(), others=NODES, ban=ban, notice=self.rng.choice(("", "{}")))

    def do_lock(self) -> None:
        self.store.lock(self._member(), locked=self._flag(), others=NODES)

    def do_close(self) -> None:
        if self.rng.random() < 0.2:
            self.store.close_room(self._member(), others=NODES)

    def do_announce(self) -> None:
        self.store.announce(self.rng.choice(NODES), self.rng.choice("nm"), others=NODES)

    def do_revoke(self) -> None:
        node, keys = self.rng.choice(NODES), self.store.keys
        named = [keys.nodes, keys.revocations, keys.revocation_ends, *map(keys.inbox, NODES)]
        revocation = self.rng.choice(("", "{}", '{"until":1}'))
        field, ends = self.rng.choice(("jti:a", "jti:b", "sub:ana")), self.rng.choice((1, FAR, FAR + 1))
        self.store.run(scripts.REVOKE, named, [node, keys.inboxes, 100, field, revocation, ends, 2])

    def do_restore_revocations(self) -> None:
        node, keys = self.rng.choice(NODES), self.store.keys
        known = [("jti:a", "{}", self.rng.choice((1, FAR))), ("sub:ben", "{}", FAR)]
        self.store.run(
            scripts.RESTORE_REVOCATIONS, [keys.nodes, keys.revocations, keys.revocation_ends], [node, pack(known)]
        )

    def do_list_bans(self) -> None:
        self.store.list_bans(self._member())

    def do_unban(self) -> None:
        self.store.unban(self._member(), self._member())

    def do_save_session(self) -> None:
        who = self.rng.choice(NODES), self.rng.choice("st"), self.rng.randint(1, 5)
        self.store.save_session(*who, epoch=self.rng.randint(0, 3), asked_at=self._asked_at())

    def do_acquire_session(self) -> None:
        who = self.rng.choice(NODES), self.rng.choice("st"), self.rng.randint(1, 6)
        self.store.acquire_session(*who, hold=60_000, asked_at=self._asked_at())

    def _asked_at(self) -> int | str:
        return self.rng.choice(("", 1, 1000, 2**52))

    def do_delete_session(self) -> None:
        self.store.delete_session(self.rng.choice(NODES), self.rng.choice("st"))

    def do_lease_events(self) -> None:
        self.store.lease_events(self.rng.choice(NODES), self.rng.choice((0, 60_000)))

    def do_settle_events(self) -> None:
        ids = self.rng.choice(([], ["0-1"]))
        self.store.settle_events(self.rng.choice(NODES), ids, given_up=len(ids), told=self.rng.choice((None, 1)))

    def do_check(self) -> None:
        self.store.run(scripts.CHECK, ["key"], [])


@pytest.mark.parametrize("seed", range(6))
def test_random_calls_of_all_scripts_have_the_replies_and_effects_of_a_real_server(
    pair: Pair, real: Engine, seed: int
) -> None:
    store = Store(real)
    store.redis.close()
    store.redis = pair
    for script in scripts.SCRIPTS:
        pair.script_load(script.text)
    calls = Calls(store, Random(seed))  # noqa: S311 - reproducible, not secret
    for node in NODES:
        store.attach(node)
    for _ in range(5):
        calls.run(CALLS_A_RUN // 5)
        pair.compare_keys()
    assert calls.ran >= SCRIPTED


def test_events_that_are_too_many_give_way_as_at_a_real_server(pair: Pair, real: Engine) -> None:
    store = Store(real)
    store.redis.close()
    store.redis = pair
    for script in scripts.SCRIPTS:
        pair.script_load(script.text)
    store.attach(A)
    store.max_events = 3
    for name in "abcde":
        store.join(peer(name))
    store.lease_events(A)
    store.settle_events(A, ["0-1"])
    pair.compare_keys()
