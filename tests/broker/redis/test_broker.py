from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis as client

from bench.engine import AOF_EVERYSEC, FLAVORS, Engine
from bench.ports import free_ports
from mcp_actors.broker import BrokerError
from mcp_actors.protocol.errors import ErrorCode, Unavailable
from mcp_actors.protocol.events import (
    Announced,
    FramesLost,
    JoinRefused,
    Kind,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    Receipt,
    Signalled,
    Step,
)
from tests.broker.contract import OTHER_ROOM, ROOM, BrokerContract, joined, summary
from tests.support.brokers import Site, redis_broker
from tests.support.certificate import make_certificate
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from mcp_actors.broker.redis import RedisBroker
    from mcp_actors.protocol.identifiers import Incarnation
    from tests.conftest import ExpectedLogs

    Sites = Callable[..., Awaitable[Site]]


@pytest.fixture(scope="module", params=FLAVORS)
def any_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture
def sites(engine: Engine, io_loop: IOLoop) -> Iterator[Sites]:
    """Starts nodes on one Redis that is empty at first."""
    with client.Redis(port=engine.port) as look:
        look.flushall()
    started: list[Site] = []

    async def start(node: str, *, url: str = engine.url, **how: object) -> Site:
        site = Site(url, node, **how)
        await site.start()
        started.append(site)
        return site

    yield start
    for site in started:
        io_loop.run_sync(site.stop)


@pytest.fixture
def pair(sites: Sites, io_loop: IOLoop) -> tuple[Site, Site]:
    """Nodes `a` and `b`."""
    return io_loop.run_sync(lambda: sites("a")), io_loop.run_sync(lambda: sites("b"))


class TestRedisBroker(BrokerContract):
    @pytest.fixture(params=[1, 3], ids=["one-bucket", "three-buckets"])
    def broker(self, any_engine: Engine, io_loop: IOLoop, request: pytest.FixtureRequest) -> Iterator[RedisBroker]:
        with client.Redis(port=any_engine.port) as look:
            look.flushall()
        broker = redis_broker(any_engine.url, "node", buckets=request.param)
        broker.listen(lambda _room, _event: None)
        io_loop.run_sync(broker.start)
        yield broker
        for room in (ROOM, OTHER_ROOM):
            broker.abandon(room)
        io_loop.run_sync(broker.stop)
        with client.Redis(port=any_engine.port) as look:
            assert look.keys() == []


def versions(site: Site) -> list[int]:
    return [event.version for event in site.heard_of(MemberJoined, MemberLeft)]


# ------------------------------------------------------------------------------------------------------- between nodes


async def test_other_nodes_may_take_over_sessions(pair: tuple[Site, Site]) -> None:
    assert all(site.broker.shared for site in pair)


async def test_every_node_with_members_hears_of_every_change_in_one_order(pair: tuple[Site, Site]) -> None:
    a, b = pair
    await a.enter("ana")
    await b.enter("ben")
    names = [site.join(Kind.PEER, f"{site.node}{number}") for number in range(10) for site in pair]
    for site in pair:
        await until(lambda site=site: set(names) < set(site.members), "all")  # type: ignore[misc]
    a.leave(names[0])
    for site in pair:
        await until(lambda site=site: names[0] not in site.members, "the leave")  # type: ignore[misc]
    assert summary(a.heard_of(MemberJoined, MemberLeft)) == summary(b.heard_of(MemberJoined, MemberLeft))
    assert a.version == b.version
    assert versions(b) == sorted(versions(b))


async def test_a_node_that_comes_to_a_room_hears_of_all_that_are_there_and_itself_last(pair: tuple[Site, Site]) -> None:
    a, b = pair
    present = [await a.enter(name) for name in ("ana", "amy")]
    ben = await b.enter("ben")
    assert summary(b.heard_of(MemberJoined)) == [("MemberJoined", one) for one in [*present, ben]]
    assert [joined(event).member.order for event in b.heard_of(MemberJoined)] == [1, 2, 3]


async def test_a_refusal_is_heard_by_the_asking_node_alone(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana = await a.enter("ana")
    rival = b.join(Kind.PEER, "ana")
    await until(lambda: b.heard_of(JoinRefused), "the refusal")
    assert b.heard_of(JoinRefused) == [JoinRefused(rival, ErrorCode.PEER_ID_TAKEN)]
    assert a.heard_of(JoinRefused) == []
    assert set(a.members) == {ana}


async def test_a_node_that_left_a_room_hears_no_more_of_it_and_begins_anew(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana = await a.enter("ana")
    ben = await b.enter("ben")
    b.leave(ben)
    await until(lambda: b.vacated, "the end of the room on b")
    amy = await a.enter("amy")
    assert b.heard_of(MemberJoined)[-1].member.incarnation == ben
    bea = await b.enter("bea")
    await b.knows(ana, amy, bea)


async def test_signals_arrive_once_in_order_and_byte_for_byte(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    frames = [b"\x00\xff%d" % number for number in range(500)]
    for frame in frames:
        a.signal(ana, ben, frame)
    await until(lambda: len(b.frames) == len(frames), "all frames")
    assert b.frames == frames
    assert all(isinstance(event, Signalled) for event in b.heard_of(Signalled, Announced))


async def test_a_message_reaches_each_node_once(sites: Sites) -> None:
    a, b, c = await sites("a"), await sites("b"), await sites("c")
    uma = await a.enter("uma", Kind.USER)
    others = [await b.enter("vic", Kind.USER), await b.enter("wim", Kind.USER), await c.enter("xia", Kind.USER)]
    await a.knows(uma, *others)
    a.broker.announce(ROOM, a.members[uma], [a.members[others[0]], a.members[others[2]]], b"hello", 0)
    for site in (b, c):
        await until(lambda site=site: site.frames == [b"hello"], "the message")  # type: ignore[misc]


async def test_a_receipt_finds_its_way_back(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    a.signal(ana, ben, b"{}", ticket=7)
    await until(lambda: b.frames, "the signal")
    b.broker.confirm(ROOM, b.members[ana], Receipt(ana, ben, 7, delivered=True))
    await until(lambda: a.receipts, "the receipt")
    assert a.receipts == [(7, True)]


async def test_the_step_of_a_signal_and_what_overtook_it_cross_nodes(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    a.broker.relay(ROOM, a.members[ana], a.members[ben], b"{}", 7, Step("answer", 1))
    await until(lambda: b.heard_of(Signalled), "the signal")
    assert b.heard_of(Signalled)[0].step == Step("answer", 1)
    b.broker.confirm(ROOM, b.members[ana], Receipt(ana, ben, 7, delivered=False, overtaken=3))
    await until(lambda: a.heard_of(Receipt), "the receipt")
    assert a.heard_of(Receipt) == [Receipt(ana, ben, 7, delivered=False, overtaken=3)]


async def test_nobody_hears_a_signal_before_its_sender_joined_nor_after_it_left(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ben = await b.enter("ben")
    for number in range(20):
        ana = await a.enter(f"ana{number}")
        a.signal(ana, ben, b"%d" % number)
        a.leave(ana)
    await until(lambda: len(b.heard_of(MemberLeft)) == 20, "all leaves")
    present: set[Incarnation] = set()
    for event in b._heard[ROOM]:
        match event:
            case MemberJoined():
                present.add(event.member.incarnation)
            case MemberLeft():
                present.discard(event.incarnation)
            case Signalled():
                assert event.sender in present
    assert b.frames == [b"%d" % number for number in range(20)]


# ----------------------------------------------------------------------------------------------------------- lost nodes


async def test_the_members_of_a_node_that_died_leave_in_one_version(
    pair: tuple[Site, Site], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "a node is lost")
    expected_logs.allow("mcp_actors.redis")
    a, b = pair
    ana = await a.enter("ana")
    for name in ("ben", "bea"):
        await b.enter(name)
    await until(lambda: len(a.members) == 3, "both")
    await b.die()
    await a.knows(ana)
    left = a.heard_of(MemberLeft)
    assert [event.reason for event in left] == [LeaveReason.NODE_LOST] * 2
    assert len({event.version for event in left}) == 1


async def test_a_node_taken_for_lost_hears_its_own_members_leave_and_can_go_on(
    pair: tuple[Site, Site], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "declared dead")
    expected_logs.allow("mcp_actors.redis")
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await b.die()
    await a.knows(ana)
    b.revive()
    await until(lambda: b.heard_of(MemberLeft), "its own member's leave")
    assert summary(b.heard_of(MemberLeft)) == [("MemberLeft", ben)]
    assert b.vacated
    again = await b.enter("ben")
    await b.knows(ana, again)
    await a.knows(ana, again)


async def test_what_is_sent_to_a_node_that_died_is_answered(
    pair: tuple[Site, Site], expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    target = a.members[ben]
    await b.die()
    await a.knows(ana)
    await until(lambda: a.broker._links[0].bucket.counters.reaped, "that the node is forgotten")
    a.broker.relay(ROOM, a.members[ana], target, b"{}", 3)
    await until(lambda: a.receipts, "that it could not be delivered")
    assert a.receipts == [(3, False)]


# --------------------------------------------------------------------------------------------------- Redis in trouble


async def test_connections_that_are_cut_lose_and_double_nothing(
    pair: tuple[Site, Site], engine: Engine, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    frames = [b"%d" % number for number in range(600)]
    with client.Redis(port=engine.port) as look:
        for number, frame in enumerate(frames):
            a.signal(ana, ben, frame)
            if number % 60 == 0:
                for one in look.client_list():
                    if one["cmd"] != "client|list":
                        look.client_kill_filter(_id=one["id"])
            await asyncio.sleep(0)
    await until(lambda: len(b.frames) >= len(frames), "all frames")
    assert b.frames == frames
    assert not a.heard_of(MemberLeft)
    assert not b.heard_of(FramesLost)


@pytest.mark.parametrize("options", [AOF_EVERYSEC, ()], ids=["with its data", "empty"])
async def test_a_redis_that_comes_back_changes_nothing_for_rooms(
    options: tuple[str, ...], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine(options=options) as engine:
        a, b = Site(engine.url, "a"), Site(engine.url, "b")
        await a.start()
        await b.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await a.knows(ana, ben)
        frames = [b"%d" % number for number in range(300)]
        for frame in frames[:100]:
            a.signal(ana, ben, frame)
        await until(lambda: not a.broker.ready or b.frames, "some frames")
        engine.kill()
        await until(lambda: not a.broker.ready and not b.broker.ready, "that Redis is missed")
        for frame in frames[100:200]:
            a.signal(ana, ben, frame)
        await asyncio.to_thread(engine.start)
        for frame in frames[200:]:
            a.signal(ana, ben, frame)
        await until(lambda: len(b.frames) >= len(frames), "all frames")
        cy = await b.enter("cy")
        await a.knows(ana, ben, cy)
        assert b.frames == frames
        assert a.version == b.version
        assert not a.heard_of(MemberLeft, FramesLost)
        assert not b.heard_of(MemberLeft, FramesLost)
        await a.stop()
        await b.stop()


async def test_members_that_left_while_redis_was_gone_with_its_data_leave_for_all(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a, b, c = (Site(engine.url, name) for name in "abc")
        for site in (a, b, c):
            await site.start()
        ana, ben, cyd = await a.enter("ana"), await b.enter("ben"), await c.enter("cyd")
        await a.knows(ana, ben, cyd)
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready or c.broker.ready), "that Redis is missed")
        b.leave(ben)
        await c.die()
        await asyncio.to_thread(engine.start)
        await a.knows(ana)
        assert {event.incarnation for event in a.heard_of(MemberLeft)} == {ben, cyd}
        for site in (a, b):
            await site.stop()


async def test_joins_are_refused_when_redis_is_away_for_too_long(sites: Sites, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a = await sites("a", url=engine.url)
        ana = await a.enter("ana")
        engine.kill()
        await until(lambda: not a.broker.ready, "that Redis is missed")
        amy = a.join(Kind.PEER, "amy")
        await until(lambda: a.heard_of(JoinRefused), "the refusal")
        assert a.heard_of(JoinRefused) == [JoinRefused(amy, ErrorCode.UNAVAILABLE)]
        await asyncio.to_thread(engine.start)
        bea = await a.enter("bea")
        await a.knows(ana, bea)
        await a.stop()


async def test_joins_wait_for_a_redis_that_is_back_soon(sites: Sites, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a = await sites("a", url=engine.url, outage_patience=5.0)
        engine.kill()
        await until(lambda: not a.broker.ready, "that Redis is missed")
        ana = a.join(Kind.PEER, "ana")
        await asyncio.to_thread(engine.start)
        await a.knows(ana)
        await a.stop()


async def test_joins_may_be_done_by_the_node_alone_and_are_made_known_later(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a, b = (Site(engine.url, name, outage_joins="local") for name in "ab")
        for site in (a, b):
            await site.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await a.knows(ana, ben)
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready), "that Redis is missed")
        amy = await a.enter("amy")
        await a.knows(ana, ben, amy)
        await asyncio.to_thread(engine.start)
        await b.knows(ana, ben, amy)
        assert b.members[amy].order == a.members[amy].order == 3
        for site in (a, b):
            await site.stop()


async def test_of_two_that_were_let_in_alone_under_one_id_one_stays(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a, b = (Site(engine.url, name, outage_joins="local") for name in "ab")
        for site in (a, b):
            await site.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await a.knows(ana, ben)
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready), "that Redis is missed")
        rivals = {await a.enter("eve"), await b.enter("eve")}
        await asyncio.to_thread(engine.start)
        await until(lambda: len(a.members) == len(b.members) == 3, "that one of them left")
        await until(lambda: set(a.members) == set(b.members), "that both nodes agree")
        assert len(rivals & set(a.members)) == 1
        for site in (a, b):
            await site.stop()


async def test_what_waits_for_redis_is_bounded(sites: Sites, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a, b = await sites("a", url=engine.url, max_remote_messages=50), await sites("b", url=engine.url)
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await a.knows(ana, ben)
        engine.kill()
        await until(lambda: not a.broker.ready, "that Redis is missed")
        for number in range(50):
            a.signal(ana, ben, b"%d" % number)
        with pytest.raises(Unavailable, match="out of reach") as refusal:
            a.signal(ana, ben, b"one too many")
        assert refusal.value.retryable
        await asyncio.to_thread(engine.start)
        await until(lambda: len(b.frames) == 50, "what was taken")
        for site in (a, b):
            await site.stop()


async def test_a_redis_that_answers_no_more_counts_as_away(sites: Sites, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a = await sites("a", url=engine.url, timeout=0.2)
        await a.enter("ana")
        engine.pause()
        await until(lambda: not a.broker.ready, "that Redis is missed")
        engine.resume()
        await until(lambda: a.broker.ready, "that Redis is found again")
        assert not a.heard_of(MemberLeft)
        await a.stop()


# ---------------------------------------------------------------------------------------------------------------- start


async def _start_error(url: str, **how: object) -> str:
    site = Site(url, "x", **how)
    with pytest.raises(BrokerError) as error:
        await site.start()
    return str(error.value)


async def test_a_redis_that_cannot_be_reached_is_named() -> None:
    text = await _start_error("redis://127.0.0.1:1")
    assert "127.0.0.1:1" in text
    assert "REDIS_URL" in text


async def test_a_wrong_password_is_named_and_not_shown() -> None:
    with Engine() as engine:
        with client.Redis(port=engine.port) as look:
            look.config_set("requirepass", "right")
        text = await _start_error(f"redis://:wrong@127.0.0.1:{engine.port}")
        assert "password" in text
        assert "wrong" not in text
        site = Site(f"redis://:right@127.0.0.1:{engine.port}", "a")
        await site.start()
        await site.enter("ana")
        await site.stop()


async def test_redis_is_reached_through_tls_and_its_certificate_is_checked(tmp_path: Path) -> None:
    file, port = str(make_certificate(tmp_path / "redis.pem")), free_ports()
    tls = ("--tls-port", str(port), "--tls-cert-file", file, "--tls-key-file", file, "--tls-ca-cert-file", file)
    with Engine("redis", options=(*tls, "--tls-auth-clients", "no")):
        url = f"rediss://127.0.0.1:{port}"
        assert "certificate" in (await _start_error(url)).lower()
        site = Site(url, "a", ca_file=file)
        await site.start()
        await site.enter("ana")
        await site.stop()


async def test_another_number_of_buckets_than_the_deployments_is_refused(sites: Sites, engine: Engine) -> None:
    await sites("a", buckets=2)
    text = await _start_error(engine.url, buckets=3)
    assert "MCP_ACTORS_REDIS_BUCKETS is 3 here, but 2" in text


async def test_a_redis_that_may_drop_data_is_warned_of(sites: Sites, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "maxmemory-policy to noeviction")
    with Engine(options=("--maxmemory-policy", "allkeys-lru")) as engine:
        site = await sites("a", url=engine.url)
        await site.stop()


async def test_deployments_with_prefixes_of_their_own_do_not_meet(sites: Sites) -> None:
    a, b = await sites("a"), await sites("b", prefix="other")
    ana, ben = await a.enter("ana"), await b.enter("ana")
    assert set(a.members) == {ana}
    assert set(b.members) == {ben}
