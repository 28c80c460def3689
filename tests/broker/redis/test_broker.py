from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis as client

from bench.engine import AOF_EVERYSEC, FLAVORS, Engine
from bench.ports import free_ports
from mcp_actors.broker import BrokerError, Note, Taken
from mcp_actors.protocol.errors import ErrorCode, Unavailable
from mcp_actors.protocol.events import (
    Announced,
    ClaimRefused,
    FramesLost,
    HandedOver,
    JoinRefused,
    Kind,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMarked,
    MemberMoved,
    Moderated,
    Receipt,
    RoomClosed,
    RoomLocked,
    Signalled,
    Step,
    Switched,
)
from mcp_actors.protocol.identifiers import PeerId
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
    await a.knows(ana, ben)
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


# --------------------------------------------------------------------------------------------------------------- moves


async def test_a_member_moves_and_all_nodes_hear_of_it_in_one_order_with_all_else(sites: Sites) -> None:
    a, b, c = await sites("a"), await sites("b"), await sites("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for site in (a, b):
        await site.knows(ana, ben, cia)
    amy = await a.enter("amy")
    await b.claim(ana)
    late = await c.enter("cyd")
    for site in (a, b, c):
        await site.knows(ana, ben, cia, amy, late)
        (move,) = site.heard_of(MemberMoved)
        assert (move.incarnation, move.old, move.node, move.moves) == (ana, "a", "b", 1)
        assert site.members[ana].node == "b"
    told = [site.told_since(amy) for site in (a, b, c)]
    assert told[0] == told[1] == told[2] == [(ana, "MemberMoved"), (late, "MemberJoined")]


async def test_a_node_new_to_a_room_hears_of_all_that_are_there_and_of_the_move(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana, amy = await a.enter("ana"), await a.enter("amy")
    await b.claim(ana, a.members[ana])
    assert b.told_since() == [(amy, "MemberJoined"), (ana, "MemberJoined"), (ana, "MemberMoved")]
    (move,) = b.heard_of(MemberMoved)
    assert (move.old, move.node) == ("a", "b")


async def test_two_members_of_a_room_move_to_a_node_new_to_it_at_once(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana, amy = await a.enter("ana"), await a.enter("amy")
    known = dict(a.members)
    for one in (ana, amy):
        b.ask_claim(known[one])
    await until(lambda: {one.node for one in b.members.values()} == {"b"} and len(b.members) == 2, "both moves")
    assert [(move.incarnation, move.old, move.node) for move in b.heard_of(MemberMoved)] == [
        (one, "a", "b") for one in (ana, amy)
    ]
    await until(lambda: len(a.heard_of(MemberMoved)) == 2, "that both have moved")


async def test_switched_is_heard_after_all_that_the_node_sent_to_where_the_member_was(sites: Sites) -> None:
    a, b, c = await sites("a"), await sites("b"), await sites("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for site in (a, b, c):
        await site.knows(ana, ben, cia)
    frames = [b"%d" % number for number in range(400)]
    b.ask_claim(b.members[ana])
    for frame in frames:
        c.signal(cia, ana, frame)
        await asyncio.sleep(0)
    await until(lambda: c.members[ana].node == "b", "that c has heard of it")
    c.signal(cia, ana, b"last")
    await until(lambda: b.frames[-1:] == [b"last"], "the last")
    await until(lambda: Switched(ana, c.node, 1) in a.heard_of(Switched), "that c has switched")
    heard = a.heard_of(Signalled, Switched)
    before = heard[: heard.index(Switched(ana, c.node, 1))]
    assert [event.frame for event in before if isinstance(event, Signalled)] == a.frames
    assert a.frames + b.frames == [*frames, b"last"]
    assert Switched(ana, c.node, 1) in b.heard_of(Switched)


async def test_what_the_old_node_hands_over_is_heard_at_the_new_one_alone(sites: Sites) -> None:
    a, b, c = await sites("a"), await sites("b"), await sites("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for site in (a, b, c):
        await site.knows(ana, ben, cia)
    await b.claim(ana)
    await until(lambda: a.heard_of(MemberMoved), "the move")
    a.broker.hand_over(ROOM, a.members[ana], b"state")
    a.broker.release(ROOM, ana)
    await until(lambda: b.heard_of(HandedOver), "what is handed over")
    assert b.heard_of(HandedOver) == [HandedOver(ana, b"state")]
    assert c.heard_of(HandedOver) == []
    assert a.vacated


async def test_a_late_leave_or_mark_of_the_old_node_changes_nothing(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    amy = await a.enter("amy")
    await b.knows(ana, ben, amy)
    await b.claim(ana)
    a.broker.mark(ROOM, ana, away=True)
    a.leave(ana)
    last = await a.enter("last")
    await b.knows(ana, ben, amy, last)
    assert not b.heard_of(MemberLeft, MemberMarked)


async def test_a_leave_and_a_claim_at_once_have_one_outcome_that_all_hear_of(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ben, amy = await b.enter("ben"), await a.enter("amy")
    for number in range(20):
        ana = await a.enter(f"ana{number}")
        await b.knows(amy, ben, ana)
        b.ask_claim(b.members[ana])
        if number % 2:
            await asyncio.sleep(0)
        a.leave(ana)
        await until(lambda ana=ana: b.claim_ended(ana), "the end of the claim")  # type: ignore[misc]
        if ana in b.members:
            b.leave(ana)
        for site in pair:
            await site.knows(ben, amy)


async def test_of_two_nodes_that_claim_a_member_the_one_with_more_moves_has_it(sites: Sites) -> None:
    a, b, c = await sites("a"), await sites("b"), await sites("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    amy = await a.enter("amy")
    for site in (a, b, c):
        await site.knows(ana, ben, cia, amy)
    b.ask_claim(b.members[ana], moves=1)
    c.ask_claim(c.members[ana], moves=2)
    for site in (a, b, c):
        await until(lambda site=site: site.members[ana].node == "c", "that c has it")  # type: ignore[misc]
        moves = [move.moves for move in site.heard_of(MemberMoved)]
        assert moves in ([1, 2], [2])
    last = await b.enter("last")
    await b.knows(ana, ben, cia, amy, last)
    assert b.heard_of(ClaimRefused) == ([] if b.heard_of(MemberMoved)[0].moves == 1 else [ClaimRefused(ana)])


async def test_who_is_gone_cannot_be_claimed(pair: tuple[Site, Site]) -> None:
    a, b = pair
    ana = await a.enter("ana")
    known = a.members[ana]
    a.leave(ana)
    b.ask_claim(known)
    await until(lambda: b.heard_of(ClaimRefused), "the refusal")
    assert a.heard_of(ClaimRefused) == []


async def test_a_session_is_taken_by_one_node_and_others_wait_for_it_as_long_as_they_may(sites: Sites) -> None:
    a, b, c = await sites("a"), await sites("b"), await sites("c")
    rooms = [(str(ROOM), "ana", "s.1", True)]
    a.broker.note(Note("s", 1, oldest=1, whose="peer:", rooms=rooms))
    await until(lambda: all(link.idle for link in a.broker._links), "that it is noted")
    assert await b.broker.take("s", 1, "peer:", 60.0) == Taken(2, 1, rooms)
    with pytest.raises(Unavailable):
        await c.broker.take("s", 1, "peer:", 0.1)
    taking = asyncio.ensure_future(c.broker.take("s", 1, "peer:", 5.0))
    b.broker.note(Note("s", 2, oldest=1, whose="peer:", rooms=rooms))
    assert await taking == Taken(3, 1, rooms)


# ----------------------------------------------------------------------------------------------------------- moderation


async def test_all_nodes_hear_what_moderators_do_in_one_order(sites: Sites) -> None:
    a, b, c = await sites("a"), await sites("b"), await sites("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for site in (a, b, c):
        await site.knows(ana, ben, cia)
    a.broker.lock(ROOM, ana, locked=True)
    b.broker.kick(ROOM, ben, Kind.PEER, PeerId("cia"))
    c.broker.lock(ROOM, cia, locked=False)
    await until(lambda: c.heard_of(MemberLeft), "the kick")
    a.broker.close(ROOM, ana)
    told = (RoomLocked, MemberLeft, RoomClosed)
    for site in (a, b):
        await until(lambda site=site: site.heard_of(RoomClosed), "the end")  # type: ignore[misc]
    assert a.heard_of(*told) == b.heard_of(*told)
    assert [event.reason for event in c.heard_of(MemberLeft)] == [LeaveReason.KICKED]
    assert [[event.done for event in site.heard_of(Moderated)] for site in (a, b)] == [[True, True], [True]]
    last = await c.enter("last")
    assert set(c.members) == {last}
    assert a.members == b.members == {}


async def test_a_node_that_is_new_to_a_locked_room_hears_so_before_its_own_member_is_in(sites: Sites) -> None:
    a, b = await sites("a"), await sites("b")
    mo = await a.enter("mo")
    a.broker.lock(ROOM, mo, locked=True)
    await until(lambda: a.heard_of(Moderated), "the lock")
    refused = b.join(Kind.PEER, "ben")
    await until(lambda: b.heard_of(JoinRefused), "the refusal")
    assert b.heard_of(JoinRefused) == [JoinRefused(refused, ErrorCode.ROOM_LOCKED)]
    ben = b.join(Kind.PEER, "ben", moderator=True)
    await b.knows(mo, ben)
    kinds = [type(event) for event in b.heard_of(RoomLocked, MemberJoined)]
    assert kinds == [RoomLocked, MemberJoined, MemberJoined]


async def test_who_was_kicked_at_a_node_that_died_cannot_be_claimed_and_that_is_told(
    sites: Sites, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    a, b, c = [await sites(name, resume_window=5.0) for name in "abc"]
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for site in (b, c):
        await site.knows(ana, ben, cia)
    known = b.members[ana]
    await a.die()
    b.broker.kick(ROOM, ben, Kind.PEER, PeerId("ana"))
    await c.knows(ben, cia)
    c.ask_claim(known)
    await until(lambda: c.heard_of(ClaimRefused), "the refusal")
    assert c.heard_of(ClaimRefused) == [ClaimRefused(ana, LeaveReason.KICKED)]


@pytest.mark.parametrize("all_moved", [False, True], ids=["while it moves", "behind the move"])
async def test_a_member_that_is_kicked_while_it_moves_is_out_wherever_it_is(all_moved: bool, sites: Sites) -> None:
    a, b, c = [await sites(name, resume_window=5.0) for name in "abc"]
    members = [await a.enter(f"m{number}") for number in range(20)]
    ben, cia = await b.enter("ben"), await c.enter("cia")
    for site in (a, b, c):
        await site.knows(*members, ben, cia)
    known = [b.members[member] for member in members]
    for member in known:
        b.ask_claim(member)
        if all_moved:
            await until(lambda member=member: b.members[member.incarnation].node == "b", "the move")  # type: ignore[misc]
    for member in known:
        c.broker.kick(ROOM, cia, member.kind, member.id)

    def all_are_out() -> bool:
        for moved in a.heard_of(MemberMoved):  # as its room does, once it handed them over
            a.broker.release(ROOM, moved.incarnation)
        return all(set(site.members) <= {ben, cia} for site in (a, b, c))

    await until(all_are_out, "that all are out")
    await until(lambda: len(c.heard_of(Moderated)) == 20, "the answers")
    await until(lambda: all(b.claim_ended(member) for member in members), "all claims")
    for refused in b.heard_of(ClaimRefused):
        assert refused.reason is LeaveReason.KICKED


@pytest.mark.parametrize("options", [AOF_EVERYSEC, ()], ids=["with its data", "empty"])
async def test_a_redis_that_comes_back_keeps_a_room_locked_and_does_what_was_asked_meanwhile(
    options: tuple[str, ...], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine(options=options) as engine:
        a, b, c = (Site(engine.url, name) for name in "abc")
        for site in (a, b, c):
            await site.start()
        ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
        for site in (a, b, c):
            await site.knows(ana, ben, cia)
        a.broker.lock(ROOM, ana, locked=True)
        for site in (a, b, c):
            await until(lambda site=site: site.heard_of(RoomLocked), "the lock")  # type: ignore[misc]
        engine.kill()
        await until(lambda: not any(site.broker.ready for site in (a, b, c)), "that Redis is missed")
        a.broker.kick(ROOM, ana, Kind.PEER, PeerId("cia"))
        await asyncio.to_thread(engine.start)
        for site in (a, b):
            await site.knows(ana, ben)
        await until(lambda: c.heard_of(MemberLeft), "the kick")
        assert {event.reason for event in b.heard_of(MemberLeft)} == {LeaveReason.KICKED}
        await until(lambda: b.broker.ready, "that Redis is back")
        refused = b.join(Kind.PEER, "eve")
        await until(lambda: b.heard_of(JoinRefused), "the refusal")
        assert b.heard_of(JoinRefused) == [JoinRefused(refused, ErrorCode.ROOM_LOCKED)]
        assert [event.locked for event in b.heard_of(RoomLocked)] == [True]
        a.broker.lock(ROOM, ana, locked=False)
        await until(lambda: len(b.heard_of(RoomLocked)) == 2, "the end of the lock")
        for site in (a, b, c):
            await site.stop()


async def test_a_node_that_missed_a_kick_does_not_bring_its_member_back(sites: Sites) -> None:
    a, b = [await sites(name, resume_window=5.0) for name in "ab"]
    ana, amy, ben = await a.enter("ana"), await a.enter("amy"), await b.enter("ben")
    for site in (a, b):
        await site.knows(ana, amy, ben)
    bucket = a.broker._bucket(ROOM)
    take, bucket.take = bucket.take, lambda *_news: None  # type: ignore[method-assign]
    b.broker.kick(ROOM, ben, Kind.PEER, PeerId("ana"))
    await b.knows(amy, ben)
    bucket.take = take  # type: ignore[method-assign]
    bucket._replicas[ROOM].resync_anew(0.0)
    bucket._ask(bucket._replicas[ROOM])
    await a.knows(amy, ben)
    assert [event.reason for event in a.heard_of(MemberLeft)] == [LeaveReason.KICKED]
    last = await b.enter("last")
    await a.knows(amy, ben, last)
    assert set(b.members) == {amy, ben, last}


# -------------------------------------------------------------------------------------------------- moves from the dead


async def test_the_members_of_a_node_that_died_are_away_and_leave_when_their_time_is_over(
    sites: Sites, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "a node is lost")
    expected_logs.allow("mcp_actors.redis")
    a, b = await sites("a", resume_window=1.0), await sites("b", resume_window=1.0)
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await b.knows(ana, ben)
    await a.die()
    await until(lambda: b.members[ana].away, "that ana is away")
    assert not b.heard_of(MemberLeft)
    await b.knows(ben)
    assert [event.reason for event in b.heard_of(MemberLeft)] == [LeaveReason.TIMEOUT]


async def test_what_came_for_a_member_of_a_node_that_died_is_recovered_after_the_place_its_client_names(
    sites: Sites, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    a, b, c = [await sites(name, resume_window=30.0) for name in ("node-a", "node-b", "node-c")]
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for site in (a, b, c):
        await site.knows(ana, ben, cia)
    c.signal(cia, ana, b"1")
    await until(lambda: a.frames == [b"1"], "the first")
    last = a.heard_of(Signalled)[-1].at.decode()
    await a.die()
    for frame in (b"2", b"3"):
        c.signal(cia, ana, frame)
    await until(lambda: b.members[ana].away, "that ana is away")
    move = await b.claim(ana)
    await until(lambda: b.heard_of(HandedOver) == [HandedOver(ana, b"")], "that nothing will be handed over")
    c.signal(cia, ana, b"4")
    found = await b.broker.recover(ROOM, Kind.PEER, move, last, 3.0)
    signals = [event.frame for event in found.events if isinstance(event, Signalled)]
    await until(lambda: len(signals) + len(b.frames) >= 3, "what came to the new node")
    assert signals + b.frames == [b"2", b"3", b"4"]
    assert [event.frame for event in found.answered] == [b"1"]
    assert (found.known, found.whole) == (True, True)


async def test_a_node_that_stops_leaves_what_it_has_not_heard_to_the_next(sites: Sites) -> None:
    a, b, c = [await sites(name, resume_window=30.0) for name in ("node-a", "node-b", "node-c")]
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for site in (a, b, c):
        await site.knows(ana, ben, cia)
    frames = [b"%d" % number for number in range(300)]
    for frame in frames[:100]:
        c.signal(cia, ana, frame)
    await until(lambda: a.frames, "some of it")
    await a.broker.stop_reading()
    at, heard = a.broker.place(ROOM), list(a.frames)
    for frame in frames[100:200]:
        c.signal(cia, ana, frame)
        await asyncio.sleep(0)
    await a.broker.stop()
    assert a.frames == heard
    move = await b.claim(ana)
    for frame in frames[200:]:
        c.signal(cia, ana, frame)
    found = await b.broker.recover(ROOM, Kind.PEER, move, at, 3.0)
    assert found.whole
    before = heard + [event.frame for event in found.events if isinstance(event, Signalled)]
    await until(lambda: len(before) + len(b.frames) >= len(frames), "the rest")
    assert before + b.frames == frames
    assert not c.heard_of(MemberLeft, MemberMarked)


# ------------------------------------------------------------------------------------------- moves, Redis in trouble


async def test_a_redis_that_comes_back_empty_after_a_move_loses_neither_it_nor_what_is_handed_over(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine() as engine:
        a, b, c = (Site(engine.url, name) for name in "abc")
        for site in (a, b, c):
            await site.start()
        ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
        for site in (a, b, c):
            await site.knows(ana, ben, cia)
        await b.claim(ana)
        for site in (a, c):
            await until(lambda site=site: site.heard_of(MemberMoved), "the move")  # type: ignore[misc]
        engine.kill()
        await until(lambda: not any(site.broker.ready for site in (a, b, c)), "that Redis is missed")
        a.broker.hand_over(ROOM, a.members[ana], b"state")
        a.broker.release(ROOM, ana)
        c.signal(cia, ana, b"x")
        await asyncio.to_thread(engine.start)
        await until(lambda: b.heard_of(HandedOver), "what is handed over")
        await until(lambda: b.frames == [b"x"], "what was sent meanwhile")
        words = {Switched(ana, site.node, 1) for site in (a, c)}
        await until(lambda: words <= set(b.heard_of(Switched)), "what was said of the move")
        last = await c.enter("last")
        await b.knows(ana, ben, cia, last)
        assert b.heard_of(HandedOver) == [HandedOver(ana, b"state")]
        assert b.members[ana].node == c.members[ana].node == "b"
        assert not b.heard_of(MemberLeft)
        for site in (a, b, c):
            await site.stop()


async def test_a_claim_waits_for_a_redis_that_is_away(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is away")
    with Engine(options=AOF_EVERYSEC) as engine:
        a, b = Site(engine.url, "a"), Site(engine.url, "b")
        for site in (a, b):
            await site.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await b.knows(ana, ben)
        engine.kill()
        await until(lambda: not b.broker.ready, "that Redis is missed")
        b.ask_claim(b.members[ana])
        await asyncio.to_thread(engine.start)
        await until(lambda: b.members[ana].node == "b", "the move")
        assert not b.heard_of(ClaimRefused)
        for site in (a, b):
            await site.stop()


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
