from __future__ import annotations

import asyncio
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis as client

from bench.engine import AOF_EVERYSEC, FLAVORS, Engine
from bench.ports import free_ports
from mcp_actors.broker import AcquiredSession, BrokerError, SessionRecord
from mcp_actors.broker.redis import Tls
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.server_check import acl
from mcp_actors.broker.revocations import Revocation
from mcp_actors.protocol.errors import ErrorCode, Unavailable
from mcp_actors.protocol.events import (
    ClaimRefused,
    CutoverAcked,
    FramesLost,
    HandedOver,
    JoinRefused,
    Kind,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    Moderated,
    NegotiationStep,
    OwnerFenced,
    PresenceChanged,
    Receipt,
    RecoveryEnded,
    RemoteBroadcast,
    RemoteSignal,
    Removal,
    RoomClosed,
    RoomLocked,
)
from mcp_actors.protocol.identifiers import PeerId
from tests.broker.contract import MAX_ROOM_BANS, OTHER_ROOM, ROOM, BrokerContract, joined, summary
from tests.support.brokers import BrokerNode, redis_broker
from tests.support.certificate import make_certificate
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

    from mcp_actors.broker.redis import RedisBroker
    from mcp_actors.protocol.identifiers import Incarnation
    from tests.conftest import ExpectedLogs
    from tests.support.brokers import StartNode


@pytest.fixture(scope="module", params=FLAVORS)
def any_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture
def node_settings(engine: Engine) -> dict[str, Any]:
    """On the Redis of this module, which is empty at first."""
    with client.Redis(port=engine.port) as look:
        look.flushall()
    return {"url": engine.url}


@pytest.fixture
def pair(nodes: StartNode, io_loop: IOLoop) -> tuple[BrokerNode, BrokerNode]:
    """Nodes `a` and `b`."""
    return io_loop.run_sync(lambda: nodes("a")), io_loop.run_sync(lambda: nodes("b"))


BUCKETS = {"valkey": 3, "redis": 1}
"""In which the suite of all brokers runs with each kind of server: the scripts are the same, however many there are."""


class TestRedisBroker(BrokerContract):
    @pytest.fixture
    def broker(self, any_engine: Engine, io_loop: IOLoop) -> Iterator[RedisBroker]:
        with client.Redis(port=any_engine.port) as look:
            look.flushall()
        broker = redis_broker(
            any_engine.url, "node", buckets=BUCKETS[any_engine.flavor], lease=20.0, max_room_bans=MAX_ROOM_BANS
        )
        broker.listen(lambda _room, _event: None)
        io_loop.run_sync(broker.start)
        yield broker
        for room in (ROOM, OTHER_ROOM):
            broker.abandon(room)
        io_loop.run_sync(broker.stop)
        with client.Redis(port=any_engine.port) as look:
            assert [key for key in look.scan_iter() if b":bans:" not in key] == []


def versions(node: BrokerNode) -> list[int]:
    return [event.version for event in node.of_kind(MemberJoined, MemberLeft)]


async def test_other_nodes_may_take_over_sessions(pair: tuple[BrokerNode, BrokerNode]) -> None:
    assert all(node.broker.shared for node in pair)


async def test_every_node_receives_every_change_in_one_order(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    await a.enter("ana")
    await b.enter("ben")
    names = [node.join(Kind.PEER, f"{node.node}{number}") for number in range(10) for node in pair]
    for node in pair:
        await until(lambda node=node: set(names) < set(node.members), "all")  # type: ignore[misc]
    a.leave(names[0])
    for node in pair:
        await until(lambda node=node: names[0] not in node.members, "the leave")  # type: ignore[misc]
    assert summary(a.of_kind(MemberJoined, MemberLeft)) == summary(b.of_kind(MemberJoined, MemberLeft))
    assert a.version == b.version
    assert versions(b) == sorted(versions(b))


async def test_a_node_new_to_a_room_receives_all_members_its_own_last(
    pair: tuple[BrokerNode, BrokerNode],
) -> None:
    a, b = pair
    present = [await a.enter(name) for name in ("ana", "amy")]
    ben = await b.enter("ben")
    assert summary(b.of_kind(MemberJoined)) == [("MemberJoined", one) for one in [*present, ben]]
    assert [joined(event).member.order for event in b.of_kind(MemberJoined)] == [1, 2, 3]


async def test_a_refusal_goes_to_the_requesting_node_only(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    ana = await a.enter("ana")
    rival = b.join(Kind.PEER, "ana")
    await until(lambda: b.of_kind(JoinRefused), "the refusal")
    assert b.of_kind(JoinRefused) == [JoinRefused(rival, ErrorCode.PEER_ID_TAKEN)]
    assert a.of_kind(JoinRefused) == []
    assert set(a.members) == {ana}


async def test_a_node_that_left_a_room_receives_nothing_more_and_starts_again(
    pair: tuple[BrokerNode, BrokerNode],
) -> None:
    a, b = pair
    ana = await a.enter("ana")
    ben = await b.enter("ben")
    b.leave(ben)
    await until(lambda: b.unsubscribed, "the end of the room on b")
    amy = await a.enter("amy")
    assert b.of_kind(MemberJoined)[-1].member.incarnation == ben
    bea = await b.enter("bea")
    await b.knows(ana, amy, bea)


async def test_signals_arrive_once_in_order_and_byte_for_byte(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    frames = [b"\x00\xff%d" % number for number in range(500)]
    for frame in frames:
        a.signal(ana, ben, frame)
    await until(lambda: len(b.frames) == len(frames), "all frames")
    assert b.frames == frames
    assert all(isinstance(event, RemoteSignal) for event in b.of_kind(RemoteSignal, RemoteBroadcast))


async def test_a_broadcast_reaches_each_node_once(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    uma = await a.enter("uma", Kind.USER)
    others = [await b.enter("vic", Kind.USER), await b.enter("wim", Kind.USER), await c.enter("xia", Kind.USER)]
    await a.knows(uma, *others)
    a.broker.broadcast(ROOM, a.members[uma], [a.members[others[0]], a.members[others[2]]], b"hello", 0)
    for node in (b, c):
        await until(lambda node=node: node.frames == [b"hello"], "the message")  # type: ignore[misc]


async def test_a_receipt_reaches_the_sender(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    a.signal(ana, ben, b"{}", delivery_id=7)
    await until(lambda: b.frames, "the signal")
    b.broker.send_receipt(ROOM, b.members[ana], Receipt(ana, ben, 7, delivered=True))
    await until(lambda: a.receipts, "the receipt")
    assert a.receipts == [(7, True)]


async def test_negotiation_steps_and_superseded_offers_cross_nodes(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    a.broker.relay(ROOM, a.members[ana], a.members[ben], b"{}", 7, NegotiationStep("answer", 1))
    await until(lambda: b.of_kind(RemoteSignal), "the signal")
    assert b.of_kind(RemoteSignal)[0].step == NegotiationStep("answer", 1)
    b.broker.send_receipt(ROOM, b.members[ana], Receipt(ana, ben, 7, delivered=False, superseded=3))
    await until(lambda: a.of_kind(Receipt), "the receipt")
    assert a.of_kind(Receipt) == [Receipt(ana, ben, 7, delivered=False, superseded=3)]


async def test_a_signal_arrives_after_the_join_and_before_the_leave_of_its_sender(
    pair: tuple[BrokerNode, BrokerNode],
) -> None:
    a, b = pair
    ben = await b.enter("ben")
    for number in range(20):
        ana = await a.enter(f"ana{number}")
        a.signal(ana, ben, b"%d" % number)
        a.leave(ana)
    await until(lambda: len(b.of_kind(MemberLeft)) == 20, "all leaves")
    present: set[Incarnation] = set()
    for event in b.events[ROOM]:
        match event:
            case MemberJoined():
                present.add(event.member.incarnation)
            case MemberLeft():
                present.discard(event.incarnation)
            case RemoteSignal():
                assert event.sender in present
    assert b.frames == [b"%d" % number for number in range(20)]


async def test_the_members_of_a_dead_node_leave_in_one_version(
    pair: tuple[BrokerNode, BrokerNode], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "node lease expired")
    expected_logs.allow("mcp_actors.redis")
    a, b = pair
    ana = await a.enter("ana")
    for name in ("ben", "bea"):
        await b.enter(name)
    await until(lambda: len(a.members) == 3, "both")
    await b.die()
    await a.knows(ana)
    left = a.of_kind(MemberLeft)
    assert [event.reason for event in left] == [LeaveReason.NODE_LOST] * 2
    assert len({event.version for event in left}) == 1


async def test_a_node_taken_for_dead_receives_its_own_leaves_and_goes_on(
    pair: tuple[BrokerNode, BrokerNode], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "was fenced")
    expected_logs.allow("mcp_actors.redis")
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    await b.die()
    await a.knows(ana)
    b.revive()
    await until(lambda: b.of_kind(MemberLeft), "its own member's leave")
    assert summary(b.of_kind(MemberLeft)) == [("MemberLeft", ben)]
    assert b.unsubscribed
    again = await b.enter("ben")
    await b.knows(ana, again)
    await a.knows(ana, again)


async def test_a_frame_to_a_dead_node_is_answered(
    pair: tuple[BrokerNode, BrokerNode], expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    target = a.members[ben]
    await b.die()
    await a.knows(ana)
    await until(lambda: a.counters["reaped"], "that the node is forgotten")
    a.broker.relay(ROOM, a.members[ana], target, b"{}", 3)
    await until(lambda: a.receipts, "that it could not be delivered")
    assert a.receipts == [(3, False)]


async def test_broken_connections_lose_and_duplicate_nothing(
    pair: tuple[BrokerNode, BrokerNode], engine: Engine, expected_logs: ExpectedLogs
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
    assert not a.of_kind(MemberLeft)
    assert not b.of_kind(FramesLost)


@pytest.mark.parametrize("options", [AOF_EVERYSEC, ()], ids=["with its data", "empty"])
async def test_a_restart_of_redis_changes_nothing_for_rooms(
    options: tuple[str, ...], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine(options=options) as engine:
        a, b = BrokerNode(engine.url, "a"), BrokerNode(engine.url, "b")
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
        assert not a.of_kind(MemberLeft, FramesLost)
        assert not b.of_kind(MemberLeft, FramesLost)
        await a.stop()
        await b.stop()


async def test_frames_that_redis_lost_arrive_after_an_outage_longer_than_they_are_kept(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs.allow("mcp_actors.redis", "redis link lost")
    kept = 1.0
    with Engine() as engine:
        a, b = (BrokerNode(engine.url, name, lease=6.0, replay_seconds=kept) for name in "ab")
        for node in (a, b):
            await node.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await a.knows(ana, ben)
        a.signal(ana, ben, b"read")
        await until(lambda: b.frames == [b"read"], "the first")
        await b.die()  # it is cut off, and others write for it
        for number in range(100):
            a.signal(ana, ben, b"%d" % number)
        await until(lambda: a.broker.idle, "that Redis accepted them")
        engine.kill()
        await until(lambda: not a.broker.ready, "that Redis is missed")
        back = time.monotonic() + 2 * kept
        a.signal(ana, ben, b"in the outage")
        await until(lambda: time.monotonic() > back, "a long outage")
        await asyncio.to_thread(engine.start)
        b.revive()
        a.signal(ana, ben, b"after it")
        await until(lambda: b.frames[-1:] == [b"after it"], "the last")
        assert b.frames == [b"read", *(b"%d" % number for number in range(100)), b"in the outage", b"after it"]
        assert not a.of_kind(FramesLost, MemberLeft)
        assert not b.of_kind(FramesLost, MemberLeft)
        for node in (a, b):
            await node.stop()


async def test_members_that_left_while_redis_lost_its_data_leave_on_all_nodes(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a, b, c = (BrokerNode(engine.url, name) for name in "abc")
        for node in (a, b, c):
            await node.start()
        ana, ben, cyd = await a.enter("ana"), await b.enter("ben"), await c.enter("cyd")
        await a.knows(ana, ben, cyd)
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready or c.broker.ready), "that Redis is missed")
        b.leave(ben)
        await c.die()
        await asyncio.to_thread(engine.start)
        await a.knows(ana)
        assert {event.incarnation for event in a.of_kind(MemberLeft)} == {ben, cyd}
        for node in (a, b):
            await node.stop()


async def test_joins_are_refused_after_the_outage_patience(nodes: StartNode, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a = await nodes("a", url=engine.url)
        ana = await a.enter("ana")
        engine.kill()
        await until(lambda: not a.broker.ready, "that Redis is missed")
        amy = a.join(Kind.PEER, "amy")
        await until(lambda: a.of_kind(JoinRefused), "the refusal")
        assert a.of_kind(JoinRefused) == [JoinRefused(amy, ErrorCode.UNAVAILABLE)]
        await asyncio.to_thread(engine.start)
        await until(lambda: a.broker.ready, "that Redis is back")
        bea = await a.enter("bea")
        await a.knows(ana, bea)
        await a.stop()


async def test_joins_wait_for_redis_during_a_short_outage(nodes: StartNode, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a = await nodes("a", url=engine.url, outage_patience=60.0)
        engine.kill()
        await until(lambda: not a.broker.ready, "that Redis is missed")
        ana = a.join(Kind.PEER, "ana")
        await asyncio.to_thread(engine.start)
        await a.knows(ana)
        await a.stop()


async def test_local_joins_are_announced_when_redis_is_back(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a, b = (BrokerNode(engine.url, name, outage_joins="local") for name in "ab")
        for node in (a, b):
            await node.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await a.knows(ana, ben)
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready), "that Redis is missed")
        amy = await a.enter("amy")
        await a.knows(ana, ben, amy)
        await asyncio.to_thread(engine.start)
        await b.knows(ana, ben, amy)
        assert b.members[amy].order == a.members[amy].order == 3
        for node in (a, b):
            await node.stop()


async def test_one_of_two_local_joins_with_the_same_id_stays(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a, b = (BrokerNode(engine.url, name, outage_joins="local") for name in "ab")
        for node in (a, b):
            await node.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await a.knows(ana, ben)
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready), "that Redis is missed")
        rivals = {await a.enter("eve"), await b.enter("eve")}
        await asyncio.to_thread(engine.start)
        await until(lambda: len(a.members) == len(b.members) == 3, "that one of them left")
        await until(lambda: set(a.members) == set(b.members), "that both nodes agree")
        assert len(rivals & set(a.members)) == 1
        for node in (a, b):
            await node.stop()


async def test_frames_that_wait_for_redis_are_limited(nodes: StartNode, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a, b = await nodes("a", url=engine.url, max_remote_messages=50), await nodes("b", url=engine.url)
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
        for node in (a, b):
            await node.stop()


async def test_a_redis_that_stops_responding_counts_as_away(nodes: StartNode, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a = await nodes("a", url=engine.url, timeout=0.2)
        await a.enter("ana")
        engine.pause()
        await until(lambda: not a.broker.ready, "that Redis is missed")
        engine.resume()
        await until(lambda: a.broker.ready, "that Redis is found again")
        assert not a.of_kind(MemberLeft)
        await a.stop()


async def test_a_move_is_received_by_all_nodes_in_the_order_of_all_changes(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for node in (a, b):
        await node.knows(ana, ben, cia)
    amy = await a.enter("amy")
    await b.claim(ana)
    late = await c.enter("cyd")
    for node in (a, b, c):
        await node.knows(ana, ben, cia, amy, late)
        (move,) = node.of_kind(MemberMoved)
        assert (move.incarnation, move.old, move.node, move.epoch) == (ana, "a", "b", 1)
        assert node.members[ana].node == "b"
    told = [node.received_since(amy) for node in (a, b, c)]
    assert told[0] == told[1] == told[2] == [(ana, "MemberMoved"), (late, "MemberJoined")]


async def test_a_node_new_to_a_room_receives_all_members_and_the_move(
    pair: tuple[BrokerNode, BrokerNode],
) -> None:
    a, b = pair
    ana, amy = await a.enter("ana"), await a.enter("amy")
    await b.claim(ana, a.members[ana])
    assert b.received_since() == [(amy, "MemberJoined"), (ana, "MemberJoined"), (ana, "MemberMoved")]
    (move,) = b.of_kind(MemberMoved)
    assert (move.old, move.node) == ("a", "b")


async def test_two_members_move_to_a_new_node_at_once(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    ana, amy = await a.enter("ana"), await a.enter("amy")
    known = dict(a.members)
    for one in (ana, amy):
        b.ask_claim(known[one])
    await until(lambda: {one.node for one in b.members.values()} == {"b"} and len(b.members) == 2, "both moves")
    assert [(move.incarnation, move.old, move.node) for move in b.of_kind(MemberMoved)] == [
        (one, "a", "b") for one in (ana, amy)
    ]
    await until(lambda: len(a.of_kind(MemberMoved)) == 2, "that both have moved")


async def test_a_cutover_arrives_after_all_earlier_frames_of_its_node(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for node in (a, b, c):
        await node.knows(ana, ben, cia)
    frames = [b"%d" % number for number in range(400)]
    b.ask_claim(b.members[ana])
    for frame in frames:
        c.signal(cia, ana, frame)
        await asyncio.sleep(0)
    await until(lambda: c.members[ana].node == "b", "that c has heard of it")
    c.signal(cia, ana, b"last")
    await until(lambda: b.frames[-1:] == [b"last"], "the last")
    await until(lambda: CutoverAcked(ana, c.node, 1) in a.of_kind(CutoverAcked), "that c has switched")
    heard = a.of_kind(RemoteSignal, CutoverAcked)
    before = heard[: heard.index(CutoverAcked(ana, c.node, 1))]
    assert [event.frame for event in before if isinstance(event, RemoteSignal)] == a.frames
    assert a.frames + b.frames == [*frames, b"last"]
    assert CutoverAcked(ana, c.node, 1) in b.of_kind(CutoverAcked)


async def test_a_handover_goes_to_the_new_node_only(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for node in (a, b, c):
        await node.knows(ana, ben, cia)
    await b.claim(ana)
    await until(lambda: a.of_kind(MemberMoved), "the move")
    a.broker.hand_over(ROOM, a.members[ana], b"state")
    a.broker.release(ROOM, ana)
    await until(lambda: b.of_kind(HandedOver), "what is handed over")
    assert b.of_kind(HandedOver) == [HandedOver(ana, b"state", a.node)]
    assert c.of_kind(HandedOver) == []
    assert a.unsubscribed


async def test_a_late_leave_or_presence_of_the_old_node_changes_nothing(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    amy = await a.enter("amy")
    await b.knows(ana, ben, amy)
    await b.claim(ana)
    a.broker.set_presence(ROOM, ana, detached=True)
    a.leave(ana)
    last = await a.enter("last")
    await b.knows(ana, ben, amy, last)
    assert not b.of_kind(MemberLeft, PresenceChanged)


async def test_a_concurrent_leave_and_claim_have_one_outcome_on_all_nodes(
    pair: tuple[BrokerNode, BrokerNode],
) -> None:
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
        for node in pair:
            await node.knows(ben, amy)


async def test_the_claim_with_the_higher_epoch_wins(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    amy = await a.enter("amy")
    for node in (a, b, c):
        await node.knows(ana, ben, cia, amy)
    b.ask_claim(b.members[ana], epoch=1)
    c.ask_claim(c.members[ana], epoch=2)
    for node in (a, b, c):
        await until(lambda node=node: node.members[ana].node == "c", "that c has it")  # type: ignore[misc]
        epoch = [move.epoch for move in node.of_kind(MemberMoved)]
        assert epoch in ([1, 2], [2])
    last = await b.enter("last")
    await b.knows(ana, ben, cia, amy, last)
    assert b.of_kind(ClaimRefused) == ([] if b.of_kind(MemberMoved)[0].epoch == 1 else [ClaimRefused(ana)])


async def test_what_an_old_owner_sends_for_a_member_is_dropped_once_it_is_fenced(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    amy = await a.enter("amy")
    for node in (a, b, c):
        await node.knows(ana, ben, cia, amy)
    was = a.members[ana]
    await b.claim(ana, epoch=2)
    a.broker.relay(ROOM, was, a.members[cia], b"before", 0)
    await until(lambda: c.frames == [b"before"], "what came before the fence")
    b.broker.fence_owner(ROOM, ana)
    for node in (a, b, c):
        await until(lambda node=node: node.of_kind(OwnerFenced), "the fence")  # type: ignore[misc]
        (fence,) = node.of_kind(OwnerFenced)
        assert (fence.incarnation, fence.epoch) == (ana, 2)
    for target in (cia, ben):
        a.broker.relay(ROOM, was, a.members[target], b"stale", 0)
        a.signal(amy, target, b"last")
    await until(lambda: b.frames == [b"last"], "what others at the old node send")
    await until(lambda: c.frames == [b"before", b"last"], "the same")
    b.signal(ana, cia, b"new")
    await until(lambda: c.frames == [b"before", b"last", b"new"], "what the new owner sends")
    assert c.counters["stale"] == b.counters["stale"] == 1


async def test_a_member_that_left_cannot_be_claimed(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    ana = await a.enter("ana")
    known = a.members[ana]
    a.leave(ana)
    b.ask_claim(known)
    await until(lambda: b.of_kind(ClaimRefused), "the refusal")
    assert a.of_kind(ClaimRefused) == []


async def test_a_session_is_acquired_by_one_node_and_others_wait_in_vain(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    rooms = [(str(ROOM), "ana", "s.1", True)]
    a.broker.save_session(SessionRecord("s", 1, oldest=1, whose="peer:", rooms=rooms))
    await until(lambda: a.broker.idle, "that it is noted")
    assert await b.broker.acquire_session("s", 1, "peer:", 60.0) == AcquiredSession(2, 1, rooms, epoch=1)
    with pytest.raises(Unavailable):
        await c.broker.acquire_session("s", 1, "peer:", 0.1)
    taking = asyncio.ensure_future(c.broker.acquire_session("s", 1, "peer:", 5.0))
    b.broker.save_session(SessionRecord("s", 2, oldest=1, whose="peer:", rooms=rooms, epoch=1))
    assert await taking == AcquiredSession(3, 1, rooms, epoch=2)


async def test_a_session_is_not_taken_from_a_client_that_has_resumed_it_since(nodes: StartNode) -> None:
    a, b = await nodes("a"), await nodes("b")
    now = asyncio.get_running_loop().time()
    for node in (a, b):
        await until(lambda node=node: sum(node.broker.links()[0].probe.counts) > 0, "a probe")  # type: ignore[misc]
    a.broker.save_session(SessionRecord("s", 2, oldest=1, whose="peer:", rooms=[], asked_at=now - 30))
    await until(lambda: a.broker.idle, "that it is noted")
    with pytest.raises(Unavailable, match="later connection"):
        await b.broker.acquire_session("s", 1, "peer:", 5.0, now - 60)
    assert await b.broker.acquire_session("s", 1, "peer:", 5.0, now - 1) is not None


async def test_moderation_is_received_by_all_nodes_in_one_order(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for node in (a, b, c):
        await node.knows(ana, ben, cia)
    a.broker.lock(ROOM, ana, locked=True)
    b.broker.kick(ROOM, ben, Kind.PEER, PeerId("cia"))
    c.broker.lock(ROOM, cia, locked=False)
    await until(lambda: c.of_kind(MemberLeft), "the kick")
    a.broker.close(ROOM, ana)
    told = (RoomLocked, MemberLeft, RoomClosed)
    for node in (a, b):
        await until(lambda node=node: node.of_kind(RoomClosed), "the end")  # type: ignore[misc]
    assert a.of_kind(*told) == b.of_kind(*told)
    assert [event.reason for event in c.of_kind(MemberLeft)] == [LeaveReason.KICKED]
    assert [[event.done for event in node.of_kind(Moderated)] for node in (a, b)] == [[True, True], [True]]
    last = await c.enter("last")
    assert set(c.members) == {last}
    assert a.members == b.members == {}


async def test_a_node_new_to_a_locked_room_receives_the_lock_before_its_own_member(nodes: StartNode) -> None:
    a, b = await nodes("a"), await nodes("b")
    mo = await a.enter("mo")
    a.broker.lock(ROOM, mo, locked=True)
    await until(lambda: a.of_kind(Moderated), "the lock")
    refused = b.join(Kind.PEER, "ben")
    await until(lambda: b.of_kind(JoinRefused), "the refusal")
    assert b.of_kind(JoinRefused) == [JoinRefused(refused, ErrorCode.ROOM_LOCKED)]
    ben = b.join(Kind.PEER, "ben", moderator=True)
    await b.knows(mo, ben)
    kinds = [type(event) for event in b.of_kind(RoomLocked, MemberJoined)]
    assert kinds == [RoomLocked, MemberJoined, MemberJoined]


async def test_the_claim_of_a_member_kicked_at_a_dead_node_is_refused_with_the_reason(
    nodes: StartNode, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    a, b, c = [await nodes(name, resume_window=60.0) for name in "abc"]
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for node in (b, c):
        await node.knows(ana, ben, cia)
    known = b.members[ana]
    await a.die()
    b.broker.kick(ROOM, ben, Kind.PEER, PeerId("ana"))
    await c.knows(ben, cia)
    c.ask_claim(known)
    await until(lambda: c.of_kind(ClaimRefused), "the refusal")
    assert c.of_kind(ClaimRefused) == [ClaimRefused(ana, Removal(LeaveReason.KICKED))]


@pytest.mark.parametrize("all_moved", [False, True], ids=["while it moves", "behind the move"])
async def test_a_member_kicked_during_its_move_is_removed_everywhere(all_moved: bool, nodes: StartNode) -> None:
    a, b, c = [await nodes(name, resume_window=60.0) for name in "abc"]
    members = [await a.enter(f"m{number}") for number in range(20)]
    ben, cia = await b.enter("ben"), await c.enter("cia")
    for node in (a, b, c):
        await node.knows(*members, ben, cia)
    known = [b.members[member] for member in members]
    for member in known:
        b.ask_claim(member)
        if all_moved:
            await until(lambda member=member: b.members[member.incarnation].node == "b", "the move")  # type: ignore[misc]
    for member in known:
        c.broker.kick(ROOM, cia, member.kind, member.id)

    def all_are_out() -> bool:
        for moved in a.of_kind(MemberMoved):  # as its room does, once it handed them over
            a.broker.release(ROOM, moved.incarnation)
        return all(set(node.members) <= {ben, cia} for node in (a, b, c))

    await until(all_are_out, "that all are out")
    await until(lambda: len(c.of_kind(Moderated)) == 20, "the answers")
    await until(lambda: all(b.claim_ended(member) for member in members), "all claims")
    for refused in b.of_kind(ClaimRefused):
        assert refused.removal == Removal(LeaveReason.KICKED)


@pytest.mark.parametrize("options", [AOF_EVERYSEC, ()], ids=["with its data", "empty"])
async def test_a_restart_of_redis_keeps_locks_and_carries_out_waiting_moderation(
    options: tuple[str, ...], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine(options=options) as engine:
        a, b, c = (BrokerNode(engine.url, name, outage_patience=60.0) for name in "abc")
        for node in (a, b, c):
            await node.start()
        ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
        for node in (a, b, c):
            await node.knows(ana, ben, cia)
        a.broker.lock(ROOM, ana, locked=True)
        for node in (a, b, c):
            await until(lambda node=node: node.of_kind(RoomLocked), "the lock")  # type: ignore[misc]
        engine.kill()
        await until(lambda: not any(node.broker.ready for node in (a, b, c)), "that Redis is missed")
        a.broker.kick(ROOM, ana, Kind.PEER, PeerId("cia"))
        await asyncio.to_thread(engine.start)
        for node in (a, b):
            await node.knows(ana, ben)
        await until(lambda: c.of_kind(MemberLeft), "the kick")
        assert {event.reason for event in b.of_kind(MemberLeft)} == {LeaveReason.KICKED}
        await until(lambda: b.broker.ready, "that Redis is back")
        refused = b.join(Kind.PEER, "eve")
        await until(lambda: b.of_kind(JoinRefused), "the refusal")
        assert b.of_kind(JoinRefused) == [JoinRefused(refused, ErrorCode.ROOM_LOCKED)]
        assert [event.locked for event in b.of_kind(RoomLocked)] == [True]
        a.broker.lock(ROOM, ana, locked=False)
        await until(lambda: len(b.of_kind(RoomLocked)) == 2, "the end of the lock")
        for node in (a, b, c):
            await node.stop()


async def test_the_members_of_a_dead_node_are_detached_and_leave_after_the_window(
    nodes: StartNode, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "node lease expired")
    expected_logs.allow("mcp_actors.redis")
    a, b = await nodes("a", resume_window=1.0), await nodes("b", resume_window=1.0)
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await b.knows(ana, ben)
    await a.die()
    await until(lambda: b.members[ana].detached, "that ana is away")
    assert not b.of_kind(MemberLeft)
    await b.knows(ben)
    assert [event.reason for event in b.of_kind(MemberLeft)] == [LeaveReason.TIMEOUT]


async def test_frames_for_a_member_of_a_dead_node_are_recovered_from_the_offset_of_its_client(
    nodes: StartNode, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    a, b, c = [await nodes(name, resume_window=30.0) for name in ("node-a", "node-b", "node-c")]
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for node in (a, b, c):
        await node.knows(ana, ben, cia)
    c.signal(cia, ana, b"1")
    await until(lambda: a.frames == [b"1"], "the first")
    last = a.of_kind(RemoteSignal)[-1].offset.decode()
    await a.die()
    for frame in (b"2", b"3"):
        c.signal(cia, ana, frame)
    await until(lambda: b.members[ana].detached, "that ana is away")
    move = await b.claim(ana)
    await until(lambda: b.of_kind(HandedOver) == [HandedOver(ana, b"")], "that nothing will be handed over")
    c.signal(cia, ana, b"4")
    found = await b.broker.recover(ROOM, Kind.PEER, move, last, 3.0)
    signals = [event.frame for event in found.events if isinstance(event, RemoteSignal)]
    await until(lambda: len(signals) + len(b.frames) >= 3, "what came to the new node")
    assert signals + b.frames == [b"2", b"3", b"4"]
    assert [event.frame for event in found.answered] == [b"1"]
    assert (found.known, found.whole) == (True, True)


async def test_what_a_node_did_not_read_before_it_was_fenced_is_recovered_although_it_goes_on(
    nodes: StartNode, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "node was fenced")
    expected_logs.allow("mcp_actors.redis")
    a, b, c = [await nodes(name, resume_window=30.0) for name in ("node-a", "node-b", "node-c")]
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    amy = await a.enter("amy")
    for node in (a, b, c):
        await node.knows(ana, amy, ben, cia)
    c.signal(cia, ana, b"1")
    await until(lambda: a.frames == [b"1"], "the first")
    last = a.of_kind(RemoteSignal)[-1].offset.decode()
    await a.die()
    c.signal(cia, ana, b"2")
    await until(lambda: b.members[ana].detached, "that ana is away")
    move = await b.claim(ana)
    a.revive()
    await until(lambda: a.of_kind(MemberLeft), "that it knows of the fence")
    found = await b.broker.recover(ROOM, Kind.PEER, move, last, 3.0)
    assert [event.frame for event in found.events if isinstance(event, RemoteSignal)] == [b"2"]
    assert a.frames == [b"1"]
    again = await a.enter("amy")
    for node in (b, c):
        await node.knows(ana, again, ben, cia)
    c.signal(cia, again, b"3")
    await until(lambda: a.frames == [b"1", b"3"], "what comes after the fence")


async def test_others_may_not_know_what_a_node_knows_while_redis_is_away(pair: tuple[BrokerNode, BrokerNode]) -> None:
    a, b = pair
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    assert a.broker.is_settled(ROOM)
    await a.die()
    assert not a.broker.is_settled(ROOM)
    assert a.broker.is_settled(OTHER_ROOM)
    a.revive()
    await until(lambda: a.broker.is_settled(ROOM), "that Redis is back")


async def test_the_end_of_a_recovery_is_told_to_all_nodes(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    amy = await a.enter("amy")
    for node in (a, b, c):
        await node.knows(ana, ben, cia, amy)
    await b.claim(ana, epoch=2)
    b.broker.end_recovery(ROOM, ana, 2)
    b.broker.end_recovery(OTHER_ROOM, ana, 2)
    for node in (a, b, c):
        await until(lambda node=node: node.of_kind(RecoveryEnded), "the end")  # type: ignore[misc]
        (ended,) = node.of_kind(RecoveryEnded)
        assert (ended.incarnation, ended.epoch) == (ana, 2)


async def test_a_stopping_node_leaves_unread_frames_to_the_next(nodes: StartNode) -> None:
    a, b, c = [await nodes(name, resume_window=30.0) for name in ("node-a", "node-b", "node-c")]
    ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
    for node in (a, b, c):
        await node.knows(ana, ben, cia)
    frames = [b"%d" % number for number in range(300)]
    for frame in frames[:100]:
        c.signal(cia, ana, frame)
    await until(lambda: a.frames, "some of it")
    await a.broker.stop_reading()
    offset, heard = a.broker.offset(ROOM), list(a.frames)
    for frame in frames[100:200]:
        c.signal(cia, ana, frame)
        await asyncio.sleep(0)
    await a.broker.stop()
    assert a.frames == heard
    move = await b.claim(ana)
    for frame in frames[200:]:
        c.signal(cia, ana, frame)
    found = await b.broker.recover(ROOM, Kind.PEER, move, offset, 3.0)
    assert found.whole
    before = heard + [event.frame for event in found.events if isinstance(event, RemoteSignal)]
    await until(lambda: len(before) + len(b.frames) >= len(frames), "the rest")
    assert before + b.frames == frames
    assert not c.of_kind(MemberLeft, PresenceChanged)


async def test_a_redis_that_restarts_empty_loses_neither_a_move_nor_its_handover(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a, b, c = (BrokerNode(engine.url, name) for name in "abc")
        for node in (a, b, c):
            await node.start()
        ana, ben, cia = await a.enter("ana"), await b.enter("ben"), await c.enter("cia")
        for node in (a, b, c):
            await node.knows(ana, ben, cia)
        await b.claim(ana)
        for node in (a, c):
            await until(lambda node=node: node.of_kind(MemberMoved), "the move")  # type: ignore[misc]
        engine.kill()
        await until(lambda: not any(node.broker.ready for node in (a, b, c)), "that Redis is missed")
        a.broker.hand_over(ROOM, a.members[ana], b"state")
        a.broker.release(ROOM, ana)
        c.signal(cia, ana, b"x")
        await asyncio.to_thread(engine.start)
        await until(lambda: b.of_kind(HandedOver), "what is handed over")
        await until(lambda: b.frames == [b"x"], "what was sent meanwhile")
        words = {CutoverAcked(ana, node.node, 1) for node in (a, c)}
        await until(lambda: words <= set(b.of_kind(CutoverAcked)), "what was said of the move")
        last = await c.enter("last")
        await b.knows(ana, ben, cia, last)
        assert b.of_kind(HandedOver) == [HandedOver(ana, b"state", a.node)]
        assert b.members[ana].node == c.members[ana].node == "b"
        assert not b.of_kind(MemberLeft)
        for node in (a, b, c):
            await node.stop()


async def test_a_claim_waits_while_redis_is_away(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine(options=AOF_EVERYSEC) as engine:
        a, b = BrokerNode(engine.url, "a"), BrokerNode(engine.url, "b")
        for node in (a, b):
            await node.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        await b.knows(ana, ben)
        engine.kill()
        await until(lambda: not b.broker.ready, "that Redis is missed")
        b.ask_claim(b.members[ana])
        await asyncio.to_thread(engine.start)
        await until(lambda: b.members[ana].node == "b", "the move")
        assert not b.of_kind(ClaimRefused)
        for node in (a, b):
            await node.stop()


async def _start_error(url: str, **how: object) -> str:
    node = BrokerNode(url, "x", **how)
    with pytest.raises(BrokerError) as error:
        await node.start()
    return str(error.value)


def _documented_acl() -> list[str]:
    """The command of docs/guides/scaling.md that creates a user."""
    text = (Path(__file__).parents[3] / "docs" / "guides" / "scaling.md").read_text(encoding="utf-8")
    match = re.search(r"redis-cli (ACL SETUSER (?:.*\\\n)+.*)", text)
    assert match is not None
    return shlex.split(match[1].replace("\\\n", " "))


def test_the_documented_permissions_are_those_that_are_checked() -> None:
    rules = _documented_acl()
    assert rules[:5] == ["ACL", "SETUSER", "mcp-actors", "on", ">password"]
    assert [*rules[:3], *rules[5:]] == acl("mcp-actors", Keys("mcp-actors", 0, 1).pattern).split()


async def test_a_user_with_the_documented_permissions_can_do_everything(
    any_engine: Engine, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "node lease expired")
    with client.Redis(port=any_engine.port) as admin:
        admin.flushall()
        admin.acl_log_reset()
        admin.execute_command(*_documented_acl())
    url = f"redis://mcp-actors:password@127.0.0.1:{any_engine.port}"
    a, b, c = (BrokerNode(url, name, prefix="mcp-actors", resume_window=0.5) for name in "abc")
    for node in (a, b, c):
        await node.start()
    ana, ben, una = await a.enter("ana"), await b.enter("ben"), await c.enter("una", Kind.USER)
    for node in (a, b, c):
        await node.knows(ana, ben, una)
    a.signal(ana, ben, b"hello")
    await until(lambda: b.frames == [b"hello"], "the signal")
    a.broker.set_presence(ROOM, ana, detached=True)
    await until(lambda: b.members[ana].detached, "that it is detached")
    a.broker.save_session(SessionRecord("s", 1, 0, "peer:", [(str(ROOM), "ana", str(ana), False)]))
    await until(lambda: a.broker.idle, "that the session is written")
    assert await b.broker.acquire_session("s", 1, "peer:", 5.0) is not None
    move = await b.claim(ana)
    assert (await b.broker.recover(ROOM, Kind.PEER, move, "", 0.2)).events == []
    b.broker.lock(ROOM, ben, locked=True)
    b.broker.kick(ROOM, ben, Kind.PEER, PeerId("ana"))
    await c.knows(ben, una)
    assert (await b.broker.administration.room(ROOM)).members
    assert (await b.broker.administration.list_rooms("", "", 1)).rooms
    assert await b.broker.administration.nodes()
    assert await b.broker.revocations.revoke(Revocation("sub", "ada", time.time() + 60))
    await until(lambda: a.broker.revocations.table.revokes_all_of("ada"), "the revocation")
    await c.die()
    await until(lambda: una not in b.members, "that the dead node is reaped")
    await until(lambda: a.counters["reaped"] + b.counters["reaped"] == 1, "that it is deleted")
    b.broker.close(ROOM, ben)
    await b.knows()
    for node in (a, b, c):
        await node.stop()
    with client.Redis(port=any_engine.port) as admin:
        assert admin.acl_log() == []
        admin.execute_command("ACL", "DELUSER", "mcp-actors")


async def test_a_redis_without_memory_costs_joins_and_nothing_else(
    any_engine: Engine, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis is out of memory, joins are refused")
    expected_logs("mcp_actors.redis", "redis refuses messages for other nodes")
    with client.Redis(port=any_engine.port) as admin:
        admin.flushall()
        a, b = (BrokerNode(any_engine.url, name, lease=1.0, resume_window=30.0) for name in "ab")
        for node in (a, b):
            await node.start()
        ana, ben, amy = await a.enter("ana"), await b.enter("ben"), await a.enter("amy")
        for node in (a, b):
            await node.knows(ana, ben, amy)
        a.broker.save_session(SessionRecord("s", 1, 0, "peer:", []))
        await until(lambda: a.broker.idle, "that the session is written")
        attached = a.counters["attached"], b.counters["attached"]
        admin.config_set("maxmemory", 1)
        try:
            zoe = a.join(Kind.PEER, "zoe")
            await until(lambda: a.of_kind(JoinRefused), "the refusal")
            assert a.of_kind(JoinRefused) == [JoinRefused(zoe, ErrorCode.UNAVAILABLE)]
            a.signal(ana, ben, b"waits", delivery_id=7)
            a.broker.save_session(SessionRecord("t", 1, 0, "peer:", []))
            late = BrokerNode(any_engine.url, "late", lease=1.0)
            await late.start()
            await late.stop()
            for session in ("s", "t"):
                assert await b.broker.acquire_session(session, 1, "peer:", 5.0) is not None
            await b.claim(amy)
            a.broker.set_presence(ROOM, ana, detached=True)
            await until(lambda: b.members[ana].detached, "that it is detached")
            b.leave(amy)
            for node in (a, b):
                await node.knows(ana, ben)
            await asyncio.sleep(2.0)  # twice the lease, which goes on
        finally:
            admin.config_set("maxmemory", 0)
        await until(lambda: b.frames == [b"waits"], "the signal")
        cyd = await a.enter("cyd")
        for node in (a, b):
            await node.knows(ana, ben, cyd)
        assert (a.counters["attached"], b.counters["attached"]) == attached
        assert not a.of_kind(Receipt)
        for node in (a, b):
            await node.stop()


async def test_a_node_that_stops_says_how_many_sessions_it_could_not_save(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    expected_logs("mcp_actors.redis", "unsaved_sessions=2")
    with Engine() as engine:
        node = BrokerNode(engine.url, "a", timeout=0.2)
        await node.start()
        engine.kill()
        await until(lambda: not node.broker.ready, "that Redis is missed")
        for session in ("s", "t"):
            node.broker.save_session(SessionRecord(session, 1, 0, "peer:", []))
        await node.stop()


async def test_a_missing_permission_is_named_at_the_start(any_engine: Engine) -> None:
    with client.Redis(port=any_engine.port) as admin:
        admin.execute_command(*_documented_acl(), "-xread")
        text = await _start_error(f"redis://mcp-actors:password@127.0.0.1:{any_engine.port}", prefix="mcp-actors")
        assert "does not let the user 'mcp-actors' run XREAD" in text
        assert "ACL SETUSER mcp-actors ~mcp-actors:* " in text
        admin.execute_command("ACL", "DELUSER", "mcp-actors")


async def test_an_unreachable_redis_is_named_in_the_error() -> None:
    text = await _start_error("redis://127.0.0.1:1")
    assert "127.0.0.1:1" in text
    assert "REDIS_URL" in text


async def test_a_wrong_password_is_reported_and_not_shown() -> None:
    with Engine() as engine:
        with client.Redis(port=engine.port) as look:
            look.config_set("requirepass", "right")
        text = await _start_error(f"redis://:wrong@127.0.0.1:{engine.port}")
        assert "password" in text
        assert "wrong" not in text
        node = BrokerNode(f"redis://:right@127.0.0.1:{engine.port}", "a")
        await node.start()
        await node.enter("ana")
        await node.stop()


async def test_tls_connections_check_the_certificate(tmp_path: Path) -> None:
    file, port = str(make_certificate(tmp_path / "redis.pem")), free_ports()
    tls = ("--tls-port", str(port), "--tls-cert-file", file, "--tls-key-file", file, "--tls-ca-cert-file", file)
    with Engine("redis", options=(*tls, "--tls-auth-clients", "no")):
        url = f"rediss://127.0.0.1:{port}"
        assert "certificate" in (await _start_error(url)).lower()
        node = BrokerNode(url, "a", files=Tls(ca_file=file))
        await node.start()
        await node.enter("ana")
        await node.stop()


async def test_nodes_share_a_room_over_tls_with_client_certificates(tmp_path: Path) -> None:
    file, port = str(make_certificate(tmp_path / "redis.pem")), free_ports()
    tls = ("--tls-port", str(port), "--tls-cert-file", file, "--tls-key-file", file, "--tls-ca-cert-file", file)
    with Engine("redis", options=tls):
        a = BrokerNode(f"rediss://127.0.0.1:{port}", "a", files=Tls(file, file, file))
        b = BrokerNode(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none&ssl_certfile={file}", "b")
        for node in (a, b):
            await node.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        for node in (a, b):
            await node.knows(ana, ben)
        for node in (a, b):
            await node.stop()


async def test_nodes_share_a_room_over_a_unix_socket_and_a_port(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    with Engine(options=("--unixsocket", str(socket))) as engine:
        a, b = BrokerNode(f"unix://default:@{socket}?db=2", "a"), BrokerNode(f"{engine.url}/2", "b")
        for node in (a, b):
            await node.start()
        ana, ben = await a.enter("ana"), await b.enter("ben")
        for node in (a, b):
            await node.knows(ana, ben)
        for node in (a, b):
            await node.stop()


async def test_a_different_number_of_buckets_is_refused(nodes: StartNode, engine: Engine) -> None:
    await nodes("a", buckets=2)
    text = await _start_error(engine.url, buckets=3)
    assert "MCP_ACTORS_REDIS_BUCKETS is 3 here, but 2" in text


async def test_an_eviction_policy_is_warned_about(nodes: StartNode, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "maxmemory-policy to noeviction")
    with Engine(options=("--maxmemory-policy", "allkeys-lru")) as engine:
        node = await nodes("a", url=engine.url)
        await node.stop()


async def test_prefixes_separate_deployments(nodes: StartNode) -> None:
    a, b = await nodes("a"), await nodes("b", prefix="other")
    ana, ben = await a.enter("ana"), await b.enter("ana")
    assert set(a.members) == {ana}
    assert set(b.members) == {ben}
