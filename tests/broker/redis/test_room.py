from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from mcp_actors.broker.redis.entries import Moved, OwnerFenced, RecoveryEnded
from mcp_actors.broker.redis.requests import Operation
from mcp_actors.broker.redis.room import REPAIR_PAUSE, Fenced
from mcp_actors.broker.redis.scripts import CLAIM, END_RECOVERY, FENCE_OWNER, JOIN, LEAVE, RESYNC, SET_PRESENCE
from mcp_actors.protocol import events
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    ClaimRefused,
    HandedOver,
    JoinRefused,
    LeaveAccepted,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    Unsubscribed,
)
from tests.broker.redis.lua import ROOM, A, B, C, leaving, peer, presence
from tests.broker.redis.nodes import SteppedNode, World, check_at_rest
from tests.broker.redis.rooms import (
    ANA,
    BEN,
    CIA,
    LEFT,
    LOST,
    RoomHarness,
    add_amy,
    at_a,
    ben_moved,
    changes,
    claim_ben,
    joining,
    next_request,
    resynced,
    snapshot,
)

if TYPE_CHECKING:
    from tests.broker.redis.lua import Store
    from tests.conftest import ExpectedLogs


def test_a_join_is_emitted_with_the_snapshot_and_not_with_the_reply() -> None:
    room = joining()
    sent = next_request(room, JOIN)
    assert sent.nodes == [A]
    assert sent.arguments[1:] == [10, "1", ""]
    assert room.answer(b"OK", b"10") == []
    assert snapshot(room, BEN, ANA, version=10) == [MemberJoined(10, BEN), MemberJoined(10, ANA)]


def test_the_snapshot_may_arrive_before_the_reply() -> None:
    room = joining()
    next_request(room)
    assert snapshot(room, ANA, version=10) == [MemberJoined(10, ANA)]
    assert room.answer(b"OK", b"10") == []
    assert room.room.quiet


def test_one_request_at_a_time_is_in_flight_in_order() -> None:
    room = joining()
    room.leave(ANA.incarnation, LEFT)
    room.join(peer("zoe"), 10)
    asked = []
    while (sent := room.send()) is not None:
        assert room.send() is None
        asked.append((sent.request.operation, *sent.request.members))
        room.answer(b"OK", b"1")
    assert asked == [(Operation.JOIN, "a.ana"), (Operation.LEAVE, "a.ana"), (Operation.JOIN, "a.zoe")]


def test_a_repeated_request_is_sent_once() -> None:
    room = joining(peer("ana"), peer("ana"))
    next_request(room)
    room.answer(b"OK", b"10")
    assert room.send() is None
    room.leave(ANA.incarnation, LEFT)
    room.leave(ANA.incarnation, LeaveReason.TIMEOUT)
    assert next_request(room, LEAVE).arguments[-1] == "left"
    room.answer(b"OK", b"11")
    assert room.send() is None


def test_a_refused_join_is_emitted_once_and_forgotten(room: RoomHarness) -> None:
    room.join(peer("zoe"), 1)
    next_request(room, JOIN)
    assert room.answer(b"FULL", b"10") == [JoinRefused(peer("zoe").incarnation, ErrorCode.ROOM_FULL)]
    assert list(room.replica.local) == [ANA.incarnation]


def test_a_refusal_follows_the_change_that_caused_it(room: RoomHarness) -> None:
    room.join(peer("cia"), 10)
    next_request(room, JOIN)
    assert room.answer(b"TAKEN", b"11") == []
    assert not room.room.idle
    refused = JoinRefused(peer("cia").incarnation, ErrorCode.PEER_ID_TAKEN)
    assert changes(room, 11, CIA) == [MemberJoined(11, CIA), refused]


def test_a_request_is_repeated_with_the_keys_that_redis_names(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    assert next_request(room, LEAVE).nodes == [A, B]
    assert room.answer(b"KEYS", b"c") == []
    assert next_request(room, LEAVE).nodes == [A, B, C]


def test_a_fenced_node_keeps_its_request(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    next_request(room, LEAVE)
    with pytest.raises(Fenced):
        room.answer(b"FENCED")
    next_request(room, LEAVE)


def test_a_leave_is_emitted_when_it_is_read_and_the_last_one_unsubscribes(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    next_request(room, LEAVE)
    assert room.answer(b"OK", b"11") == []
    assert changes(room, 11, leaving(ANA, LEFT)) == [MemberLeft(11, ANA.incarnation, LEFT), Unsubscribed()]
    assert room.room.idle
    assert room.replica.version is None
    assert room.replica.members == {}


def test_a_join_and_a_leave_with_early_replies_are_both_emitted() -> None:
    room = joining()
    for reply in ([b"OK", b"10"], [b"OK", b"11"]):
        next_request(room)
        room.answer(*reply)
        room.leave(ANA.incarnation, LEFT)
    events = [*snapshot(room, ANA, version=10), *changes(room, 11, leaving(ANA, LEFT))]
    assert events == [MemberJoined(10, ANA), MemberLeft(11, ANA.incarnation, LEFT), Unsubscribed()]


def test_a_join_in_flight_during_a_data_loss_is_announced_as_unconfirmed(room: RoomHarness) -> None:
    room.join(peer("zoe"), 10)
    next_request(room, JOIN)
    room.link_lost()
    room.room.resync_anew(0.0)
    sent = next_request(room, RESYNC)
    assert sent.announced == [(ANA.incarnation, 0, True), (peer("zoe").incarnation, 0, False)]
    assert snapshot(room, ANA, version=20, token=sent.arguments[0], run_id="another") == []
    room.answer(b"OK")
    next_request(room, JOIN)
    room.answer(b"OK", b"21")
    zoe = structs.replace(peer("zoe"), order=2)
    assert changes(room, 21, zoe) == [MemberJoined(21, zoe)]


def test_a_leave_in_flight_during_a_data_loss_leaves_no_ghost(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    next_request(room, LEAVE)
    room.link_lost()
    room.room.resync_anew(0.0)
    assert next_request(room, RESYNC).announced == [(ANA.incarnation, 0, False)]
    events = snapshot(room, BEN, version=20, token="1", run_id="another")  # noqa: S106 - of a sent
    assert events == [MemberLeft(20, ANA.incarnation, LEFT), Unsubscribed()]


def test_a_join_of_a_damaged_room_is_repeated_after_its_repair() -> None:
    room = joining()
    next_request(room, JOIN)
    assert room.answer(b"DAMAGED") == []
    assert room.room.damage
    assert resynced(room, BEN, version=10) == []
    assert not room.room.damage
    assert room.send() is None  # other nodes get time to announce their members
    room.now += REPAIR_PAUSE
    next_request(room, JOIN)


def test_a_join_of_a_room_that_cannot_be_repaired_is_refused() -> None:
    room = joining()
    next_request(room, JOIN)
    room.answer(b"DAMAGED")
    next_request(room, RESYNC)
    assert room.room.failed() == []
    room.now += REPAIR_PAUSE
    next_request(room, JOIN)
    assert room.answer(b"DAMAGED") == [JoinRefused(ANA.incarnation, ErrorCode.UNAVAILABLE)]


@pytest.mark.parametrize("answer", [b"FULL", b"failure"])
def test_a_repeated_join_is_not_refused_to_a_member_that_is_in_the_room(answer: bytes) -> None:
    room = joining()
    next_request(room, JOIN)
    room.link_lost()
    next_request(room, JOIN)
    snapshot(room, ANA, BEN, version=10)
    if answer == b"FULL":
        assert room.answer(b"FULL", b"10")[0] == MemberLeft(10, ANA.incarnation, LOST)
    else:
        assert room.room.failed() == []
        assert room.replica.is_here(ANA.incarnation)


def test_a_join_whose_entry_is_on_its_way_is_neither_repeated_nor_announced_by_a_repair(room: RoomHarness) -> None:
    room.join(peer("amy"), 10)
    next_request(room, JOIN)
    room.answer(b"OK", b"11")
    room.room.repair(0.0, "members")
    assert next_request(room, RESYNC).announced == [(ANA.incarnation, 0, True), ("a.amy", 0, False)]
    room.answer(b"OK")
    assert room.send() is None


def test_members_of_other_nodes_stay_while_a_damaged_room_is_repaired(room: RoomHarness) -> None:
    room.room.repair(0.0, "members")
    assert resynced(room, ANA, version=10) == []
    assert set(room.replica.members) == {ANA.incarnation, BEN.incarnation}
    assert changes(room, 11, BEN) == []
    assert not room.replica.suspects


def test_a_leave_of_a_member_unknown_to_redis_requests_a_resync(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    next_request(room, LEAVE)
    assert room.answer(b"NOOP") == []
    events = resynced(room, BEN, version=10)
    assert events == [MemberLeft(10, ANA.incarnation, LEFT), Unsubscribed()]


def test_a_member_that_left_during_its_repeated_join_leaves_again() -> None:
    room = joining()
    next_request(room, JOIN)
    room.answer(b"OK", b"10")
    room.leave(ANA.incarnation, LEFT)
    next_request(room, LEAVE)
    room.answer(b"OK", b"11")
    room.room.resync_anew(0.0)
    next_request(room, JOIN)
    assert snapshot(room, ANA, version=10) == [MemberJoined(10, ANA)]
    assert changes(room, 11, leaving(ANA, LEFT)) == [MemberLeft(11, ANA.incarnation, LEFT), Unsubscribed()]
    assert room.answer(b"OK", b"12") == []
    next_request(room, LEAVE)
    assert snapshot(room, ANA, version=12) == [MemberJoined(12, ANA), LeaveAccepted(ANA.incarnation, LEFT)]
    assert room.answer(b"OK", b"13") == []
    assert changes(room, 13, leaving(ANA, LEFT)) == [MemberLeft(13, ANA.incarnation, LEFT), Unsubscribed()]
    assert room.room.idle


def test_a_leave_without_a_reply_does_not_bring_the_member_back(store: Store) -> None:
    world = World(store)
    node = SteppedNode(world, A)
    node.attach()
    node.join(peer("ana"))
    node.write()
    node.leave(ANA.incarnation)
    node.write(answered=False)
    node.attach()
    node.write()  # there is nobody to leave any more, which is answered before the join is read
    node.read()
    assert node.asked == {ANA.incarnation: "left"}
    world.come_to_rest()
    check_at_rest(world, [ROOM])


def test_a_join_lost_with_all_data_before_it_was_read_is_repeated(store: Store) -> None:
    world = World(store)
    node = SteppedNode(world, A)
    node.attach()
    node.join(peer("ana"))
    node.write()
    world.restart(empty=True)
    world.come_to_rest()
    assert node.asked == {ANA.incarnation: "joined"}
    check_at_rest(world, [ROOM])


def test_members_lost_before_they_were_read_get_orders_when_they_are_back(store: Store) -> None:
    world = World(store)
    node = SteppedNode(world, A)
    node.attach()
    node.join(peer("ana"))
    world.settle()
    node.join(peer("ben"))
    node.join(peer("cia"))
    for _ in range(3):
        node.write()
    world.restart(empty=True)
    world.come_to_rest()
    assert set(node.asked.values()) == {"joined"}
    assert len({member.order for member in node.rosters[ROOM].values()}) == 3
    check_at_rest(world, [ROOM])


def test_a_member_displaced_during_a_resync_leaves() -> None:
    room = joining()
    next_request(room)
    room.answer(b"OK", b"10")
    snapshot(room, ANA, BEN, version=10)
    room.room.resync_anew(0.0)
    next_request(room, RESYNC)
    events = room.answer(b"OK", ANA.incarnation.encode(), b"", b"")
    assert events == [MemberLeft(10, ANA.incarnation, LOST), Unsubscribed()]
    assert room.replica.local == {}


def test_a_fenced_node_emits_its_leaves_and_repeats_its_joins(room: RoomHarness) -> None:
    room.join(peer("zoe"), 10)
    room.join(peer("yan"), 10)
    room.leave(peer("yan").incarnation, LEFT)
    assert room.replica.fenced() == [MemberLeft(10, ANA.incarnation, LOST), Unsubscribed()]
    asked = []
    while (sent := room.send()) is not None:
        asked.append((sent.request.operation, *sent.request.members))
        room.answer(b"DUP")
    assert asked == [(Operation.JOIN, "a.zoe"), (Operation.JOIN, "a.yan"), (Operation.LEAVE, "a.yan")]


def test_a_node_fenced_before_the_snapshot_emits_no_leave() -> None:
    room = joining()
    next_request(room)
    room.answer(b"OK", b"10")
    assert room.replica.fenced() == []
    assert next_request(room, JOIN).arguments[2] == "1"


def test_an_abandoned_room_removes_its_members_and_starts_again(room: RoomHarness) -> None:
    room.room.abandon()
    assert room.replica.members == {}
    room.join(peer("zoe"), 10)
    next_request(room, LEAVE)
    room.answer(b"OK", b"11")
    assert next_request(room, JOIN).arguments[2] == "1"
    assert changes(room, 11, leaving(ANA, LeaveReason.DISCONNECTED)) == []
    zoe = structs.replace(peer("zoe"), order=3)
    assert snapshot(room, BEN, zoe, version=12) == [MemberJoined(12, BEN), MemberJoined(12, zoe)]


def test_a_claim_is_repeated_with_the_owner_and_emitted_when_the_move_is_read(room: RoomHarness) -> None:
    room.claim(at_a(BEN))
    first = next_request(room, CLAIM)
    assert first.arguments == ["peer:ben", BEN.incarnation, 1, "", B]  # as far as this node knows
    assert room.answer(b"OWNER", b"c") == []
    second = next_request(room, CLAIM)
    assert second.arguments[-1] == C
    assert room.answer(b"OK", b"11", b"1") == []
    assert changes(room, 11, Moved(BEN.incarnation, A, 1)) == [ben_moved(11)]
    assert room.room.quiet
    assert room.replica.members[BEN.incarnation] == at_a(BEN)


def test_a_repeated_claim_is_sent_once(room: RoomHarness) -> None:
    for _ in range(2):
        room.claim(at_a(BEN))
    next_request(room, CLAIM)
    room.answer(b"OK", b"11", b"1")
    assert room.send() is None


def test_a_claim_by_a_node_new_to_the_room_arrives_with_the_snapshot() -> None:
    room = RoomHarness()
    room.claim(structs.replace(at_a(BEN), metadata={}))
    assert next_request(room, CLAIM).arguments[-2] == "1"
    room.answer(b"OWNER", b"b")
    next_request(room, CLAIM)
    room.answer(b"OK", b"11", b"1")
    ben = structs.replace(at_a(BEN), metadata={"known": "to all"})
    heard = snapshot(room, ben, CIA, version=11)
    assert heard == [
        MemberJoined(11, CIA),
        MemberJoined(11, ben),
        MemberMoved(11, BEN.incarnation, B, A, 1, (C, A)),
    ]
    assert room.room.quiet


def test_the_second_claim_of_a_node_new_to_the_room_waits_for_its_own_move() -> None:
    room = RoomHarness()
    room.claim(at_a(BEN))
    room.claim(at_a(CIA))
    next_request(room, CLAIM)
    room.answer(b"OWNER", b"b")
    next_request(room, CLAIM)
    room.answer(b"OK", b"11", b"1")
    heard = snapshot(room, at_a(BEN), CIA, version=11)
    assert heard == [
        MemberJoined(11, CIA),
        MemberJoined(11, at_a(BEN)),
        MemberMoved(11, BEN.incarnation, B, A, 1, (C, A)),
    ]
    next_request(room, CLAIM)
    assert changes(room, 12, Moved(CIA.incarnation, A, 1)) == [MemberMoved(12, CIA.incarnation, C, A, 1, (C, A))]


def test_two_members_that_move_to_a_new_node_are_both_known_before_either_arrives() -> None:
    room = RoomHarness()
    for moving in (BEN, CIA):
        room.claim(at_a(moving))
        next_request(room, CLAIM)
        room.answer(b"OK", b"11", b"1")
    heard = snapshot(room, at_a(BEN), at_a(CIA), version=12)
    assert [type(event) for event in heard] == [MemberJoined, MemberJoined, MemberMoved, MemberMoved]


def test_an_overdue_claim_is_repeated_with_its_old_node() -> None:
    room = RoomHarness()
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    room.answer(b"OWNER", b"b")
    next_request(room, CLAIM)
    room.answer(b"OK", b"11", b"1")
    assert room.room.overdue(1.0)
    room.room.resync_anew(1.0)
    next_request(room, CLAIM)
    room.answer(b"DUP")
    (_, moved) = snapshot(room, at_a(BEN), version=11)
    assert isinstance(moved, MemberMoved)
    assert moved.old == B


def test_a_claim_from_a_dead_node_emits_an_empty_handover(room: RoomHarness) -> None:
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    assert room.answer(b"OK", b"11", b"0") == [HandedOver(BEN.incarnation, b"")]


def test_a_claim_of_an_absent_member_is_refused_and_forgotten(room: RoomHarness) -> None:
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    assert room.answer(b"NOOP") == [ClaimRefused(BEN.incarnation)]
    assert list(room.replica.local) == [ANA.incarnation]


def test_a_claim_that_redis_refuses_is_refused(room: RoomHarness) -> None:
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    assert room.room.failed() == [ClaimRefused(BEN.incarnation)]
    assert list(room.replica.local) == [ANA.incarnation]


def test_nothing_is_requested_for_a_member_that_moved_away(room: RoomHarness) -> None:
    room.room.set_presence(ANA.incarnation, detached=True)
    changes(room, 11, Moved(ANA.incarnation, B, 1))
    room.leave(ANA.incarnation, LEFT)
    room.room.set_presence(ANA.incarnation, detached=False)
    room.replica.resync(1.0)
    assert next_request(room, RESYNC).announced == []
    room.answer(b"OK")
    assert room.send() is None


def test_a_detached_member_is_attached_by_its_move(room: RoomHarness) -> None:
    changes(room, 11, presence(BEN, detached=True))
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    changes(room, 12, Moved(BEN.incarnation, A, 1))
    room.answer(b"OK", b"12", b"1")
    assert not room.replica.members[BEN.incarnation].detached
    assert room.send() is None


def test_a_detached_member_that_was_attached_by_its_move_is_not_attached_again(room: RoomHarness) -> None:
    changes(room, 11, presence(BEN, detached=True))
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    changes(room, 12, Moved(BEN.incarnation, A, 1), presence(BEN, detached=False))
    room.answer(b"OK", b"12", b"1")
    room.room.set_presence(BEN.incarnation, detached=False)
    assert room.send() is None
    room.room.set_presence(BEN.incarnation, detached=False, address="192.0.2.1")
    assert next_request(room, SET_PRESENCE).arguments == ["peer:ben", BEN.incarnation, "0", "192.0.2.1"]


def test_a_member_that_moved_here_is_attached_if_its_former_node_announces_it_as_detached(room: RoomHarness) -> None:
    room.claim(at_a(CIA))
    next_request(room, CLAIM)
    room.answer(b"OK", b"11", b"1")
    changes(room, 11, structs.replace(at_a(CIA), detached=True))
    assert next_request(room, SET_PRESENCE).arguments == ["peer:cia", CIA.incarnation, "0", ""]


def test_a_claimed_member_is_announced_with_its_epoch(room: RoomHarness) -> None:
    claim_ben(room)
    room.room.resync_anew(1.0)
    assert next_request(room, RESYNC).announced == [(ANA.incarnation, 0, True), (BEN.incarnation, 1, True)]


def test_a_claim_without_a_reply_is_announced_as_unconfirmed(room: RoomHarness) -> None:
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    room.link_lost()
    room.replica.resync(1.0)
    assert next_request(room, RESYNC).announced == [(ANA.incarnation, 0, True), (BEN.incarnation, 0, False)]


def test_a_claim_of_a_member_that_leaves_is_refused_before_the_leave(room: RoomHarness) -> None:
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    heard = changes(room, 11, leaving(BEN, LeaveReason.TIMEOUT))
    assert heard == [ClaimRefused(BEN.incarnation), MemberLeft(11, BEN.incarnation, LeaveReason.TIMEOUT)]
    assert room.answer(b"NOOP") == []
    assert list(room.replica.local) == [ANA.incarnation]


def test_a_claim_is_repeated_after_the_node_was_fenced(room: RoomHarness) -> None:
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    room.link_lost()
    assert room.replica.fenced() == [MemberLeft(10, ANA.incarnation, LOST), Unsubscribed()]
    assert next_request(room, CLAIM).arguments[-2] == "1"


def test_a_later_claim_of_another_node_wins(room: RoomHarness) -> None:
    claim_ben(room, epoch=1)
    assert changes(room, 12, Moved(BEN.incarnation, C, 2)) == [MemberMoved(12, BEN.incarnation, A, C, 2, (A,))]
    assert list(room.replica.local) == [ANA.incarnation]


def test_a_claim_that_comes_too_late_is_refused_after_the_move(room: RoomHarness) -> None:
    room.claim(at_a(BEN, 1))
    next_request(room, CLAIM)
    moved = MemberMoved(11, BEN.incarnation, B, C, 2, (B, A))
    assert changes(room, 11, Moved(BEN.incarnation, C, 2)) == [moved]
    assert room.answer(b"NOOP") == [ClaimRefused(BEN.incarnation)]
    assert list(room.replica.local) == [ANA.incarnation]


def test_a_leave_after_the_move_removes_nobody(room: RoomHarness) -> None:
    add_amy(room)
    room.leave(ANA.incarnation, LEFT)
    next_request(room, LEAVE)
    assert changes(room, 12, Moved(ANA.incarnation, B, 1)) == [MemberMoved(12, ANA.incarnation, A, B, 1, (B, A))]
    assert room.answer(b"NOOP") == []
    assert ANA.incarnation in room.replica.members
    assert room.send() is None


def test_a_leaving_member_that_moves_does_not_keep_the_room(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    assert changes(room, 11, Moved(ANA.incarnation, B, 1))[1:] == [Unsubscribed()]


def test_a_node_fenced_during_a_handover_unsubscribes(room: RoomHarness) -> None:
    changes(room, 11, Moved(ANA.incarnation, B, 1))
    assert room.replica.fenced() == [Unsubscribed()]
    assert room.room.idle


def test_a_node_that_missed_a_kick_does_not_bring_its_member_back(store: Store, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "room repaired")
    world = World(store)
    a, b = SteppedNode(world, A), SteppedNode(world, B)
    for node, member in ((a, ANA), (a, peer("amy")), (b, BEN)):
        node.attach()
        node.join(member)
    world.settle()
    assert store.kick(BEN, ANA, others=[A])[0] == "OK"
    store.redis.xtrim(store.keys.inbox(A), maxlen=0, approximate=False)
    b.join(peer("late", B))
    world.come_to_rest()
    assert a.asked[ANA.incarnation] == "left"
    left = [event for _, event in a.heard if isinstance(event, MemberLeft)]
    assert [(event.incarnation, event.reason) for event in left] == [(ANA.incarnation, LeaveReason.KICKED)]
    check_at_rest(world, [ROOM])


def test_the_fence_of_an_owner_is_requested_and_heard_in_the_order_of_changes(room: RoomHarness) -> None:
    claim_ben(room, epoch=2)
    room.room.fence_owner(BEN.incarnation)
    sent = next_request(room, FENCE_OWNER)
    assert sent.arguments == ["peer:ben", BEN.incarnation, 2]
    assert room.answer(b"OK", b"12") == []
    assert room.replica.fences == {}
    assert changes(room, 12, OwnerFenced(BEN.incarnation, 2)) == [events.OwnerFenced(12, BEN.incarnation, 2)]
    assert room.replica.fences == {BEN.incarnation: 2}
    changes(room, 13, leaving(BEN, LeaveReason.LEFT))
    assert room.replica.fences == {}


@pytest.mark.parametrize("fails", [True, False])
def test_nobody_waits_for_a_fence_that_is_not_possible(room: RoomHarness, fails: bool) -> None:
    claim_ben(room, epoch=2)
    room.room.fence_owner(BEN.incarnation)
    next_request(room, FENCE_OWNER)
    told = room.room.failed() if fails else room.answer(b"NOOP")
    assert told == [events.OwnerFenced(11, BEN.incarnation, 2)]


def test_no_fence_is_requested_of_a_member_that_is_not_here(room: RoomHarness) -> None:
    room.room.fence_owner(CIA.incarnation)
    assert room.send() is None
    assert changes(room, 11, OwnerFenced(CIA.incarnation, 2)) == []


def test_the_end_of_a_recovery_is_heard_in_the_order_of_changes_and_told_again_if_redis_may_have_lost_it(
    room: RoomHarness,
) -> None:
    claim_ben(room, epoch=2)
    room.room.end_recovery(BEN.incarnation, 2)
    assert next_request(room, END_RECOVERY).arguments == [BEN.incarnation, 2]
    assert room.answer(b"OK", b"12") == []
    assert changes(room, 12, RecoveryEnded(BEN.incarnation, 2)) == [events.RecoveryEnded(12, BEN.incarnation, 2)]
    room.room.resync_anew(0.0)
    next_request(room, RESYNC)
    room.answer(b"OK")
    next_request(room, END_RECOVERY)
    room.answer(b"OK", b"13")
    changes(room, 13, leaving(BEN, LeaveReason.LEFT))
    room.room.resync_anew(0.0)
    next_request(room, RESYNC)
    room.answer(b"OK")
    assert room.send() is None


def test_the_recovery_of_a_member_that_has_moved_on_is_ended_all_the_same(room: RoomHarness) -> None:
    room.room.end_recovery(CIA.incarnation, 2)
    assert next_request(room, END_RECOVERY).arguments == [CIA.incarnation, 2]


def test_a_kick_that_redis_lost_is_done_again_although_the_node_of_the_member_had_not_heard_of_it(
    store: Store,
) -> None:
    world = World(store)
    a, b = SteppedNode(world, A), SteppedNode(world, B)
    for node, member in ((a, ANA), (b, BEN), (b, peer("bob", B))):
        node.attach()
        node.join(member)
    world.settle()
    assert store.kick(ANA, BEN, others=[B])[0] == "OK"
    a.read()
    world.restart(empty=True)
    world.come_to_rest()
    assert b.asked[BEN.incarnation] == "left"
    left = [event for _, event in b.heard if isinstance(event, MemberLeft)]
    assert [(event.incarnation, event.reason) for event in left] == [(BEN.incarnation, LeaveReason.KICKED)]
    assert BEN.incarnation not in a.rosters[ROOM]
    check_at_rest(world, [ROOM])


def test_a_move_of_which_only_the_old_node_knows_when_redis_loses_its_data_is_not_lost(store: Store) -> None:
    world = World(store)
    a, b = SteppedNode(world, A), SteppedNode(world, B)
    for node, member in ((a, ANA), (a, peer("amy")), (b, BEN)):
        node.attach()
        node.join(member)
    world.settle()
    b.bucket.rooms[ROOM].claim(structs.replace(b.rosters[ROOM][ANA.incarnation], node=B, epoch=1))
    b.write()
    b.write(answered=False)
    a.read()
    world.restart(empty=True)
    world.come_to_rest()
    member = store.members()[ANA.incarnation]
    assert (member.node, member.epoch) == (B, 1)
    assert not [event for _, event in (*a.heard, *b.heard) if isinstance(event, MemberLeft)]


def test_a_member_that_is_said_to_be_at_this_node_and_for_which_nobody_waits_leaves(room: RoomHarness) -> None:
    changes(room, 11, peer("eve", A))
    assert next_request(room, LEAVE).arguments[0] == "peer:eve"
