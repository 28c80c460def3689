from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis as client

from bench.engine import Engine
from mcp_actors.broker import BrokerError
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import JoinRefused, Kind, MemberJoined, MemberLeft
from mcp_actors.protocol.identifiers import NodeId
from tests.broker.contract import OTHER_ROOM, ROOM, summary
from tests.support.brokers import Site, redis_broker
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp_actors.broker.redis.bucket import Counters
    from mcp_actors.broker.redis.link import Link
    from tests.conftest import ExpectedLogs

KEYS = Keys("test", 0, 1)


@pytest.fixture(scope="module")
def shared() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture(autouse=True)
def look(shared: Engine) -> Iterator[client.Redis]:
    """A client of its own, of a Redis that is empty at first."""
    with client.Redis(port=shared.port) as look:
        look.flushall()
        yield look


def counters(site: Site) -> Counters:
    return site.broker._links[0].bucket.counters


async def test_a_node_whose_inbox_is_not_read_attaches_anew_instead_of_seeming_alive(
    shared: Engine, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.redis", "not being read")
    site = Site(shared.url, "a")
    await site.start()
    link = site.broker._links[0]
    with monkeypatch.context() as patch:
        patch.setattr(type(link), "_take", lambda _self, _name, _flat: None)
        await until(lambda: counters(site).attached > 1, "that it attaches anew")
    await site.enter("ana")
    await site.stop()


async def test_an_entry_that_cannot_be_read_is_skipped_and_reported(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "cannot be read")
    site = Site(shared.url, "a")
    await site.start()
    ana = await site.enter("ana")
    look.xadd(KEYS.inbox(NodeId("a")), {"t": "nonsense"})
    ben = await site.enter("ben")
    await site.knows(ana, ben)
    assert counters(site).attached == 1
    await site.stop()


async def test_a_room_whose_keys_somebody_spoilt_is_refused_and_no_other(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "refuses what is asked about a room")
    site = Site(shared.url, "a")
    await site.start()
    look.set(KEYS.room(OTHER_ROOM), "spoilt")
    refused = site.join(Kind.PEER, "ana", room=OTHER_ROOM)
    await until(lambda: site.heard_of(JoinRefused, room=OTHER_ROOM), "the refusal")
    assert site.heard_of(JoinRefused, room=OTHER_ROOM) == [JoinRefused(refused, ErrorCode.UNAVAILABLE)]
    await site.enter("ben")
    assert counters(site).attached == 1
    look.delete(KEYS.room(OTHER_ROOM))
    await site.stop()


async def test_data_that_are_gone_without_a_restart_are_put_back(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    sites = [Site(shared.url, name) for name in "ab"]
    for site in sites:
        await site.start()
    present = [await site.enter(f"of {site.node}") for site in sites]
    for site in sites:
        await site.knows(*present)
    look.flushall()
    newcomer = await sites[0].enter("late")
    for site in sites:
        await site.knows(*present, newcomer)
        assert not site.heard_of(MemberLeft)
    for site in sites:
        await site.stop()


async def test_a_node_that_comes_back_late_to_a_redis_without_its_data_keeps_its_members(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        early, late = Site(engine.url, "early", lease=6.0), Site(engine.url, "late", lease=6.0)
        for site in (early, late):
            await site.start()
        await early.enter("elsewhere", room=OTHER_ROOM)
        ana = await late.enter("ana")
        engine.kill()
        await until(lambda: not (early.broker.ready or late.broker.ready), "that Redis is missed")
        await late.die()
        await asyncio.to_thread(engine.start)
        newcomer = await early.enter("ben")
        late.revive()
        for site in (early, late):
            await site.knows(ana, newcomer)
            assert not site.heard_of(MemberLeft)
        orders = {str(member.id): member.order for member in late.members.values()}
        assert orders["ana"] == 1
        assert orders["ben"] > orders["ana"]
        for site in (early, late):
            await site.stop()


async def test_a_start_that_fails_leaves_nothing_behind(shared: Engine, look: client.Redis) -> None:
    running = Site(shared.url, "a", buckets=1)
    await running.start()
    other = Site(shared.url, "b", buckets=4)
    with pytest.raises(BrokerError, match="MCP_ACTORS_REDIS_BUCKETS"):
        await other.start()
    await running.stop()
    assert look.keys() == []


async def test_a_failure_in_looking_after_rooms_is_reported_and_ends_nothing(
    shared: Engine, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.redis", "looking after rooms failed")
    site = Site(shared.url, "a")
    await site.start()
    bucket, failed = site.broker._links[0].bucket, asyncio.Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(bucket, "tend", fail)
        await asyncio.wait_for(failed.wait(), 5)
    await site.enter("ana")
    await site.stop()


async def test_a_condemned_node_that_nobody_reaps_reaps_itself_and_goes_on(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "declared dead")
    site = Site(shared.url, "a")
    await site.start()
    ana = await site.enter("ana")
    look.zadd(KEYS.nodes, {"a": -1})
    await until(lambda: site.heard_of(MemberLeft), "that its own member left")
    assert summary(site.heard_of(MemberLeft)) == [("MemberLeft", ana)]
    again = await site.enter("ana")
    await site.knows(again)
    await site.stop()


async def test_a_node_that_stops_leaves_nothing_in_redis(shared: Engine, look: client.Redis) -> None:
    site = Site(shared.url, "a")
    await site.start()
    for number in range(50):
        site.join(Kind.USER, f"u{number}")
    await site.enter("ana")
    await site.stop()
    assert look.keys() == []


async def test_who_joins_right_after_redis_lost_its_data_sees_all_who_are_there(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a, b, c = (Site(engine.url, name) for name in "abc")
        for site in (a, b, c):
            await site.start()
        present = [await site.enter(f"{site.node}{number}") for site in (a, b) for number in range(5)]
        await a.knows(*present)
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready or c.broker.ready), "that Redis is missed")
        newcomer = c.join(Kind.PEER, "cyd")
        await asyncio.to_thread(engine.start)
        await until(lambda: newcomer in c.members, "the join")
        joined = c.heard_of(MemberJoined)
        assert {event.member.incarnation for event in joined} == {*present, newcomer}
        assert joined[-1].member.order == max(event.member.order for event in joined)
        assert len({event.member.order for event in joined}) == len(joined)
        for site in (a, b, c):
            await site.stop()


async def test_its_health_says_how_it_is(shared: Engine) -> None:
    site = Site(shared.url, "a", buckets=2)
    await site.start()
    await site.enter("ana")
    health = site.broker.health()
    assert health["broker"] == "redis"
    assert [bucket["up"] for bucket in health["buckets"]] == [True, True]
    assert sum(bucket["rooms"] for bucket in health["buckets"]) == 1
    assert all(bucket["proved_seconds_ago"] < 5 for bucket in health["buckets"])
    assert ROOM in site.broker._bucket(ROOM)._replicas
    await site.stop()


# ------------------------------------------------------------------------------------------------------ what was read


def _link(**settings: Any) -> Link:
    """A link that is not open, and whose inbox was read by hand."""
    broker = redis_broker("redis://127.0.0.1:1", "node-a", **settings)
    return broker._links[0]


def _read(link: Link, *entries: tuple[int, int]) -> None:
    for milliseconds, size in entries:
        name = b"%d-0" % milliseconds
        link._cursor = name
        link._note_read(name, [b"x" * size])


async def test_what_was_read_is_cut_when_no_session_could_want_it_any_more() -> None:
    link = _link(resume_window=30.0)
    _read(link, (10_000, 1), (50_000, 1))
    assert link._cut() == 20_000
    link = _link(resume_window=0.0)
    _read(link, (10_000, 1), (50_000, 1))
    assert link._cut() == 50_000


async def test_what_was_read_is_cut_sooner_where_it_is_too_much() -> None:
    link = _link(resume_window=30.0, max_inbox_bytes=100)
    _read(link, (50_000, 60), (51_000, 30))
    assert link._cut() == 21_000
    _read(link, (52_000, 30))
    assert link._cut() == 50_001
    _read(link, (53_000, 200))
    assert link._cut() == 53_001


async def test_what_is_cut_is_counted_no_longer() -> None:
    link = _link(resume_window=1.0, max_inbox_bytes=100)
    _read(link, *((number * 1000, 40) for number in range(1, 50)))
    link._cut()
    assert link._history_bytes == sum(size for _, size in link._history) <= 100


async def test_many_entries_of_one_moment_are_counted_as_one() -> None:
    link = _link(resume_window=30.0)
    _read(link, *((5000 + number // 100, 1) for number in range(5000)))
    assert len(link._history) <= 2
    assert link._history_bytes == 5000


async def test_a_node_that_stops_hears_nothing_more_and_names_the_place_up_to_which_it_heard(shared: Engine) -> None:
    a, b = Site(shared.url, "a", resume_window=30.0), Site(shared.url, "b", resume_window=30.0)
    for site in (a, b):
        await site.start()
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    b.signal(ben, ana, b"heard")
    await until(lambda: a.frames, "the first")
    await a.broker.stop_reading()
    at = a.broker.place(ROOM)
    assert at.endswith(".999999@a")
    b.signal(ben, ana, b"left")
    await until(lambda: all(link.idle for link in b.broker._links), "that it is written")
    await b.enter("late")
    assert a.frames == [b"heard"]
    assert a.broker.place(ROOM) == at
    for site in (b, a):
        await site.stop()
