"""The log of membership events in Redis: what the scripts append to it, and who reads it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from redis.exceptions import ResponseError

from mcp_actors.broker.event_log import LogUnavailable
from mcp_actors.broker.redis.connection import LinkLost
from mcp_actors.broker.redis.entries import pack, pack_metadata
from mcp_actors.broker.redis.event_log import RedisEventLog, StoredEvent
from mcp_actors.broker.redis.settings import RedisSettings
from tests.broker.event_log_contract import LIMIT, EventLogContract
from tests.broker.redis.lua import A, B, C, peer, user
from tests.support.loop import DEADLINE
from tests.webhooks.events import event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.broker.event_log import MembershipEvent
    from mcp_actors.broker.redis.connection import Command, Reply
    from mcp_actors.protocol.identifiers import NodeId
    from tests.broker.redis.lua import Store
    from tests.conftest import ExpectedLogs

ANA, BEN, UNA = peer("ana", mood="good"), peer("ben", B), user("una")
JOINED, LEFT = "member-joined", "member-left"
OPENED, CLOSED = ("room-opened", "ana", None), "room-closed"


class Direct:
    """Runs commands on the client of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.error: Exception | None = None

    async def run(self, commands: Sequence[Command]) -> list[Reply]:
        if isinstance(self.error, ResponseError):
            return [self.error]
        if self.error is not None:
            raise self.error
        pipeline: Any = self.store.redis.pipeline(transaction=False)
        pipeline.set_response_callback("XRANGE", lambda reply, **_options: reply)
        for command in commands:
            pipeline.execute_command(*command)
        return list(pipeline.execute())


class Opened:
    """A log in Redis, as a node reads it."""

    def __init__(self, store: Store, node: NodeId = A, lease: float = 60.0) -> None:
        self.store = store
        self.direct = Direct(store)
        settings = RedisSettings(lease=lease, max_reported_events=LIMIT)
        self.log = RedisEventLog(store.keys, node, self.direct, settings)  # type: ignore[arg-type]

    def append(self, one: MembershipEvent) -> None:
        """Append an event as report() of common.lua does, with the same bound."""
        key, reports = self.store.keys.reported
        stored = StoredEvent(**structs.asdict(one) | {"metadata": pack_metadata(one.metadata)})
        if self.store.redis.xlen(key) >= LIMIT:
            self.store.redis.xtrim(key, maxlen=LIMIT - 1, approximate=False)
            self.store.redis.hincrby(reports, "dropped", 1)
        self.store.redis.xadd(key, {"event": pack(stored)})


class TestRedisEventLog(EventLogContract):
    @pytest.fixture
    def opened(self, store: Store) -> Opened:
        return Opened(store)


@pytest.fixture
def on(any_store: Store) -> Store:
    """A store that keeps events, with three nodes."""
    any_store.max_events = 100
    for node in (A, B, C):
        any_store.attach(node)
    return any_store


def test_a_room_is_opened_by_its_first_member_and_closed_by_its_last(on: Store) -> None:
    on.join(ANA)
    on.join(ANA)  # again, as its reply was lost
    on.join(BEN, others=[A])
    on.leave(ANA, others=[B])
    on.leave(ANA, others=[B])
    on.leave(BEN, others=[A], reason="timeout")
    on.join(UNA)
    assert on.reported() == [
        OPENED,
        (JOINED, "ana", None),
        (JOINED, "ben", None),
        (LEFT, "ana", "left"),
        (LEFT, "ben", "timeout"),
        (CLOSED, "ben", None),
        ("room-opened", "una", None),
        (JOINED, "una", None),
    ]


def test_nothing_is_kept_unless_events_are_reported(on: Store) -> None:
    on.max_events = 0
    on.join(ANA)
    on.leave(ANA)
    assert not on.redis.exists(*on.keys.reported)


def test_a_refused_join_is_no_event(on: Store) -> None:
    on.join(ANA)
    on.join(peer("ana", B), others=[A])
    on.join(BEN, others=[A], capacity=1)
    assert len(on.reported()) == 2


def test_a_member_that_replaces_the_only_other_one_leaves_the_room_open(on: Store) -> None:
    on.join(ANA)
    on.join(structs.replace(peer("ana", B), verified=True), others=[A])
    assert on.reported()[2:] == [(LEFT, "ana", "replaced"), (JOINED, "ana", None)]


def test_a_session_that_moves_neither_leaves_nor_joins(on: Store) -> None:
    on.join(ANA)
    on.claim(B, ANA, 1, owner=A, others=[A])
    assert len(on.reported()) == 2
    on.leave(structs.replace(ANA, node=B), others=[A])
    assert on.reported()[2:] == [(LEFT, "ana", "left"), (CLOSED, "ana", None)]


def test_members_that_are_removed_leave(on: Store) -> None:
    on.join(ANA)
    on.join(BEN, others=[A])
    on.kick(ANA, BEN, others=[B])
    assert on.reported()[3:] == [(LEFT, "ben", "kicked")]
    on.join(UNA, others=[B])
    on.close_room(ANA)
    *gone, last = on.reported()[5:]
    assert sorted(gone) == [(LEFT, "ana", "room-closed"), (LEFT, "una", "room-closed")]
    assert last[0] == CLOSED


def test_members_of_a_dead_node_leave_once_whoever_reaps_it(on: Store) -> None:
    on.join(ANA)
    on.join(BEN, others=[A])
    on.expire_leases(A, B)
    on.fence()
    for _ in range(2):
        on.reap_room(A, others=[B])
        on.reap_room(B)
    assert on.reported()[3:] == [(LEFT, "ana", "node-lost"), (LEFT, "ben", "node-lost"), (CLOSED, "ben", None)]


def test_members_that_are_detached_have_not_left(on: Store) -> None:
    on.join(ANA)
    on.set_presence(ANA, detached=True)
    on.expire_leases(A)
    on.fence()
    on.reap_room(A, reason="")
    assert len(on.reported()) == 2


def test_a_member_that_is_announced_again_has_joined_with_the_same_incarnation(on: Store) -> None:
    """So its event has the same id, and one that was lost with the data of Redis is not lost."""
    ana = structs.replace(ANA, order=1)
    on.resync(A, [(ana, True)])
    assert on.reported() == [OPENED, (JOINED, "ana", None)]
    on.resync(A, [(ana, True)])
    assert len(on.reported()) == 2
    on.resync(A, [])
    assert on.reported()[2:] == [(LEFT, "ana", "disconnected"), (CLOSED, "ana", None)]


def test_a_member_that_redis_lost_and_nobody_announces_has_left(on: Store) -> None:
    on.join(ANA)
    on.expire(A, [BEN])
    assert on.reported()[2:] == [(LEFT, "ben", "node-lost")]


def test_the_oldest_event_gives_way(on: Store) -> None:
    on.max_events = 2
    on.join(ANA)
    on.join(BEN, others=[A])
    assert on.reported() == [(JOINED, "ana", None), (JOINED, "ben", None)]
    assert on.redis.hget(on.keys.reported[1], "dropped") == b"1"


def test_a_damaged_log_fails_no_join(on: Store) -> None:
    on.redis.set(on.keys.reported[0], "x")
    assert on.join(ANA)[0] == "OK"
    assert on.leave(ANA)[0] == "OK"


async def test_one_node_at_a_time_reports_and_another_goes_on_when_its_lease_is_over(store: Store) -> None:
    one, other = Opened(store, A, lease=2.0), Opened(store, B)
    one.append(event(1))
    assert await one.log.acquire() is not None
    assert await other.log.acquire() is None
    assert await other.log.settle(["1-1"]) is False
    assert await one.log.acquire() is not None
    async with asyncio.timeout(DEADLINE):
        while (lease := await other.log.acquire()) is None:
            await asyncio.sleep(0.02)
    assert lease.length == 1
    (first,) = await other.log.read("", 10)
    assert await one.log.settle([first.offset]) is False
    assert await one.log.acquire() is None
    assert len(await other.log.read("", 10)) == 1


async def test_a_node_that_stops_lets_another_report_at_once(store: Store) -> None:
    one, other = Opened(store, A), Opened(store, B)
    assert await one.log.acquire() is not None
    await one.log.release()
    assert await other.log.acquire() is not None
    await one.log.release()  # late
    assert await one.log.acquire() is None


async def test_what_is_damaged_is_skipped_and_counted(store: Store, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "event unreadable")
    opened = Opened(store)
    await opened.log.acquire()
    store.redis.xadd(store.keys.reported[0], {"event": b"x"})
    opened.append(event(1))
    assert [one.event for one in await opened.log.read("", 10)] == [event(1)]
    lease = await opened.log.acquire()
    assert lease is not None
    assert (lease.telling, lease.length) == (1, 1)


@pytest.mark.parametrize("error", [LinkLost("it broke"), ResponseError("OOM no memory")])
async def test_a_log_that_cannot_be_reached_says_so(store: Store, error: Exception) -> None:
    opened = Opened(store)
    opened.direct.error = error
    for ask in (opened.log.acquire(), opened.log.release(), opened.log.read("", 1), opened.log.settle([])):
        with pytest.raises(LogUnavailable, match=str(error)):
            await ask


def test_events_do_not_stay_for_ever(store: Store) -> None:
    store.redis.xadd(store.keys.reported[0], {"event": b"x"})
    store.lease_events(A, keep=50_000)
    assert all(0 < store.redis.pttl(key) <= 50_000 for key in store.keys.reported)
