from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis as client
from msgspec import structs

from bench.engine import Engine
from mcp_actors.broker.redis.audit import COMMANDS_PER_ROUND, ROOMS_PER_COMMAND, Auditor, difference
from mcp_actors.broker.redis.entries import AuditedRoom
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.scripts import AUDIT
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.events import Kind, LeaveReason, MemberJoined, MemberLeft
from mcp_actors.protocol.identifiers import NodeId, RoomId
from tests.broker.redis.lua import ROOM, A, B
from tests.broker.redis.rooms import ANA, BEN, UNA, RoomHarness, changes, make_room, snapshot
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcp_actors.broker.redis.room import Room
    from tests.broker.redis.lua import Store
    from tests.conftest import ExpectedLogs
    from tests.support.brokers import BrokerNode, StartNode

KEYS = Keys("test", 0, 1)
INTERVAL = 0.2
AGREED = AuditedRoom(ROOM, version=10, members=2, lost=[], last_peer=2, last_user=0, sound=True)


def _rooms(count: int) -> dict[RoomId, Room]:
    rooms = {}
    for number in range(count):
        room = make_room().room
        room.id = RoomId(f"room{number}")
        rooms[room.id] = room
    return rooms


def _asked(command: Any) -> list[str]:
    return [row["room"] for row in msgspec.msgpack.decode(command[-1])]


def test_each_room_is_compared_once_per_interval() -> None:
    rooms = _rooms(7)
    auditor = Auditor(A, KEYS, rooms, RedisSettings(audit_interval=10.0))
    asked: list[str] = []
    for second in range(10):
        for command in auditor.due(float(second)):
            asked += _asked(command)
        assert auditor.due(second + 0.5) == []
    assert sorted(asked) == sorted(rooms)
    assert sum(len(_asked(command)) for command in auditor.due(10.0)) == 1


def test_the_commands_of_a_round_are_limited() -> None:
    auditor = Auditor(A, KEYS, _rooms(3 * ROOMS_PER_COMMAND * COMMANDS_PER_ROUND), RedisSettings(audit_interval=1.0))
    for second in range(3):
        commands = auditor.due(float(second))
        assert [len(_asked(command)) for command in commands] == [ROOMS_PER_COMMAND] * COMMANDS_PER_ROUND
        assert {command[1] for command in commands} == {AUDIT.digest}


def test_no_interval_compares_nothing() -> None:
    assert Auditor(A, KEYS, _rooms(1), RedisSettings(audit_interval=0.0)).due(100.0) == []


def test_a_refused_comparison_is_postponed_by_an_interval() -> None:
    auditor = Auditor(A, KEYS, _rooms(1), RedisSettings(audit_interval=10.0))
    assert auditor.due(0.0)
    auditor.postpone(5.0)
    assert auditor.due(14.9) == []
    assert auditor.due(15.0)


def test_a_room_is_compared_by_the_members_of_its_node() -> None:
    (command,) = Auditor(A, KEYS, {ROOM: make_room().room}, RedisSettings(audit_interval=1.0)).due(0.0)
    keys, (node, _, packed) = command[3 : 3 + command[2]], command[3 + command[2] :]
    assert keys == (KEYS.nodes, KEYS.inbox(A), KEYS.rooms_of(A), KEYS.members(ROOM), KEYS.state(ROOM))
    assert node == A
    assert msgspec.msgpack.decode(packed) == [{"room": ROOM, "own": {"peer:ana": ANA.incarnation}}]


def test_what_agrees_makes_no_difference(room: RoomHarness) -> None:
    assert difference(room.replica, AGREED) == ""
    assert difference(room.replica, structs.replace(AGREED, lost=["a.who left"], last_peer=7)) == ""


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"version": 11}, "version"),
        ({"members": 1}, "members"),
        ({"lost": [ANA.incarnation]}, "members"),
        ({"sound": False}, "counts"),
        ({"last_peer": 1}, "counts"),
    ],
)
def test_a_difference_is_named(room: RoomHarness, change: dict[str, Any], found: str) -> None:
    assert difference(room.replica, structs.replace(AGREED, **change)) == found


def test_the_orders_of_users_are_compared_too(room: RoomHarness) -> None:
    changes(room, 11, UNA)
    stored = structs.replace(AGREED, version=11, members=3)
    assert difference(room.replica, stored) == "counts"
    assert difference(room.replica, structs.replace(stored, last_user=1)) == ""


def test_a_room_that_is_being_synchronized_is_not_compared(room: RoomHarness) -> None:
    room.replica.resync(0.0)
    assert difference(room.replica, structs.replace(AGREED, version=99)) == ""


def test_a_room_with_suspects_is_not_compared(room: RoomHarness) -> None:
    snapshot(room, ANA, version=20, run_id="another")
    assert BEN.incarnation in room.replica.suspects
    assert difference(room.replica, structs.replace(AGREED, members=1)) == ""


def test_an_audit_reports_what_is_stored(any_store: Store) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    other = RoomId("other")
    ana, ben = structs.replace(ANA, order=0), structs.replace(BEN, order=0)
    store.join(ana)
    _, version = store.join(ben, others=[A])
    first, second = store.audit(A, (ROOM, [ana]), (other, [ana]))
    assert first == AuditedRoom(ROOM, int(version), 2, [], 2, 0, sound=True)
    assert second == AuditedRoom(other, 0, 0, [ana.incarnation], 0, 0, sound=False)


def test_a_fenced_node_compares_nothing(store: Store) -> None:
    store.attach(A)
    store.expire_leases(A)
    store.fence()
    assert store.audit(A, (ROOM, [])) == []


@pytest.fixture(scope="module")
def shared() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture
def look(shared: Engine) -> Iterator[client.Redis]:
    """A client of its own, of a Redis that is empty at first."""
    with client.Redis(port=shared.port) as look:
        look.flushall()
        yield look


@pytest.fixture
def node_settings(shared: Engine, look: client.Redis) -> Iterator[dict[str, Any]]:
    """Nodes compare their rooms often, and leave nothing behind when they stop."""
    yield {"url": shared.url, "audit_interval": INTERVAL}
    assert [key for key in look.keys("*") if b":tombstone:" not in key] == []


DAMAGE: dict[str, Callable[[client.Redis], object]] = {
    "members deleted": lambda look: look.delete(KEYS.members(ROOM)),
    "state deleted": lambda look: look.delete(KEYS.state(ROOM)),
    "rooms of a node deleted": lambda look: look.delete(KEYS.rooms_of(NodeId("a"))),
    "members of another type": lambda look: look.set(KEYS.members(ROOM), "spoilt"),
    "state of another type": lambda look: look.set(KEYS.state(ROOM), "spoilt"),
    "rooms of another type": lambda look: look.set(KEYS.rooms_of(NodeId("a")), "spoilt"),
    "one member deleted": lambda look: look.hdel(KEYS.members(ROOM), "peer:ana"),
    "one member overwritten": lambda look: look.hset(KEYS.members(ROOM), "peer:ana", "spoilt"),
    "a member that is none": lambda look: look.hset(KEYS.members(ROOM), "peer:nobody", b"\x81\xa1a\x01"),
    "one node deleted": lambda look: look.hdel(KEYS.state(ROOM), "b"),
    "a node that is none": lambda look: look.hset(KEYS.state(ROOM), "nobody", 3),
    "a count that is none": lambda look: look.hset(KEYS.state(ROOM), "a", "spoilt"),
    "a full room": lambda look: look.hset(KEYS.state(ROOM), "#present:peer", 1000),
    "no count of joins": lambda look: look.hdel(KEYS.state(ROOM), "#joins:peer"),
    "no version": lambda look: look.hdel(KEYS.state(ROOM), "#version"),
}


def _orders(node: BrokerNode) -> list[int]:
    return sorted(member.order for member in node.members.values())


BY_AUDIT = [pytest.param(damage, True, id=f"{damage}, found by the audit") for damage in DAMAGE]
ONLY_BY_AUDIT = {"rooms of a node deleted", "rooms of another type", "one member overwritten"}
BY_NEWCOMER = [
    pytest.param(damage, False, id=f"{damage}, found by a newcomer") for damage in DAMAGE if damage not in ONLY_BY_AUDIT
]


@pytest.mark.parametrize(("damage", "audited"), BY_AUDIT + BY_NEWCOMER)
async def test_a_damaged_room_is_repaired_and_nobody_leaves(
    damage: str, audited: bool, nodes: StartNode, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis", "room repaired")
    a, b, c = started = [await nodes(name, audit_interval=INTERVAL * audited, lease=3.0) for name in "abc"]
    present = [await node.enter(name) for node, name in ((a, "ana"), (a, "amy"), (b, "ben"))]
    for node in (a, b):
        await node.knows(*present)
    DAMAGE[damage](look)
    if audited:
        await until(lambda: sum(node.counters["repaired"] for node in started), "the repair")
    newcomer = await c.enter("cia")
    for node in started:
        await node.knows(*present, newcomer)
    for node in started:
        assert not node.of_kind(MemberLeft)
        assert _orders(node) == _orders(a)
        assert len(set(_orders(node))) == 4
    assert a.members[newcomer].order == max(_orders(a))


async def test_members_of_a_node_whose_rooms_were_deleted_leave_when_it_is_killed(
    nodes: StartNode, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "node lease expired")
    expected_logs("mcp_actors.redis", "room repaired")
    a, b = await nodes("a", audit_interval=0.0), await nodes("b")
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await b.knows(ana, ben)
    await a.die()
    look.delete(KEYS.rooms_of(NodeId("a")))
    await b.knows(ben)
    assert [event.reason for event in b.of_kind(MemberLeft)] == [LeaveReason.NODE_LOST]


async def test_a_node_that_missed_changes_catches_up_without_another_change(
    nodes: StartNode, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "room repaired")
    a, b = await nodes("a", lease=3.0), await nodes("b", lease=3.0)
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    await a.die()
    amy = await b.enter("amy")
    look.xtrim(KEYS.inbox(NodeId("a")), maxlen=0, approximate=False)
    a.revive()
    await a.knows(ana, ben, amy)
    assert not a.of_kind(MemberLeft)
    assert not b.of_kind(MemberLeft)


async def test_rooms_that_are_in_order_are_not_repaired(nodes: StartNode) -> None:
    a, b = await nodes("a", audit_interval=INTERVAL / 4), await nodes("b", audit_interval=INTERVAL / 4)
    ana = await a.enter("ana")
    for number in range(60):
        node = (a, b)[number % 2]
        one = await node.enter(f"peer{number}", Kind.USER if number % 3 else Kind.PEER)
        await asyncio.sleep(0.01)
        node.leave(one)
    await a.knows(ana)
    assert len(a.of_kind(MemberJoined)) > 30
    assert a.counters["repaired"] == b.counters["repaired"] == 0
