from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

from mcp_actors.broker.redis.entries import Changes, Moved, Presence, Updated
from mcp_actors.broker.redis.scripts import JOIN, LEAVE, RESYNC
from mcp_actors.protocol.events import (
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    MemberUpdated,
    Notice,
    PresenceChanged,
    Unsubscribed,
)
from mcp_actors.protocol.identifiers import Incarnation, RoomId
from tests.broker.redis.lua import ROOM, A, B, C, leaving, peer, user
from tests.broker.redis.nodes import SteppedNode, World, check_at_rest
from tests.broker.redis.rooms import (
    ANA,
    BEN,
    CIA,
    LEFT,
    LOST,
    UNA,
    RoomHarness,
    add_amy,
    changes,
    joining,
    next_request,
    resynced,
    snapshot,
)

if TYPE_CHECKING:
    from tests.broker.redis.lua import Store
    from tests.conftest import ExpectedLogs

OTHER = RoomId("other")
STEPS = ["join", "join", "join", "leave", "leave", "write", "write", "read", "read", "read one", "read one", "tend"]
STEPS += ["update", "update"]
DAMAGE = ["members", "state", "rooms of", "member"]
MISHAPS = ["break", "unanswered", "undone", "attach", "attach", "attach", "restart", "empty", "dead"]
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Schedules are not made smaller where they fail: on a real server that takes minutes."""


def test_a_snapshot_adds_own_members_last_and_others_by_order() -> None:
    room = joining()
    events = snapshot(room, CIA, structs.replace(ANA, order=4), BEN, version=10)
    assert [event.member.id for event in events if isinstance(event, MemberJoined)] == ["ben", "cia", "ana"]


def test_members_that_leave_together_leave_in_one_version(room: RoomHarness) -> None:
    changes(room, 11, UNA)
    events = changes(room, 12, leaving(BEN, LOST), leaving(UNA, LOST))
    assert events == [MemberLeft(12, BEN.incarnation, LOST), MemberLeft(12, UNA.incarnation, LOST)]


def test_applied_changes_are_ignored(room: RoomHarness) -> None:
    assert changes(room, 10, CIA) == []
    assert changes(room, 9, leaving(BEN, LEFT)) == []
    assert room.send() is None


def test_presence_that_redis_lost_is_known_again_at_the_node_of_the_member(room: RoomHarness) -> None:
    changes(room, 11, Presence(ANA.incarnation, True, ANA.kind, ANA.id))
    room.room.set_presence(ANA.incarnation, detached=False)
    room.room.resync_anew(0.0)
    assert resynced(room, ANA, BEN, version=20, run_id="another") == [PresenceChanged(20, ANA.incarnation, False)]


def test_the_announcement_of_a_known_member_tells_what_redis_lost_of_it(room: RoomHarness) -> None:
    changes(room, 11, Presence(BEN.incarnation, True, BEN.kind, BEN.id))
    events = changes(room, 12, structs.replace(BEN, metadata={"mood": "good"}, updated=12))
    assert [type(event) for event in events] == [MemberUpdated, PresenceChanged]
    assert not room.replica.members[BEN.incarnation].detached
    assert room.replica.members[BEN.incarnation].metadata == {"mood": "good"}


def test_a_member_that_moves_is_back_although_redis_lost_that_it_was_away(room: RoomHarness) -> None:
    changes(room, 11, Presence(BEN.incarnation, True, BEN.kind, BEN.id))
    moved, back = changes(room, 12, Moved(BEN.incarnation, C, 2))
    assert isinstance(moved, MemberMoved)
    assert back == PresenceChanged(12, BEN.incarnation, False)
    assert changes(room, 13, Presence(BEN.incarnation, False, BEN.kind, BEN.id)) == []


def test_a_member_whose_leave_redis_lost_does_not_replace_a_later_one(room: RoomHarness) -> None:
    again = structs.replace(BEN, incarnation=Incarnation("c.ben"), node=C, order=7)
    changes(room, 11, leaving(BEN), again)
    room.room.resync_anew(0.0)
    assert resynced(room, ANA, BEN, version=20, run_id="another") == []
    assert again.incarnation in room.replica.members
    assert changes(room, 21, leaving(BEN), again) == []


def test_a_gap_requests_one_resync(room: RoomHarness) -> None:
    assert changes(room, 12, CIA) == []
    assert changes(room, 13, UNA) == []
    assert not room.replica.settled
    events = resynced(room, ANA, CIA, UNA, version=13)
    assert {type(event) for event in events} == {MemberLeft, MemberJoined}
    assert room.send() is None
    assert room.replica.settled


def test_a_version_that_follows_the_known_one_may_jump(room: RoomHarness) -> None:
    assert changes(room, 5000, CIA, after=10) == [MemberJoined(5000, CIA)]
    assert room.send() is None


def test_changes_before_the_first_snapshot_are_ignored() -> None:
    room = joining()
    assert changes(room, 10, BEN) == []
    assert room.replica.version is None


def test_an_old_snapshot_is_ignored(room: RoomHarness) -> None:
    assert snapshot(room, ANA, version=9) == []
    assert set(room.replica.members) == {ANA.incarnation, BEN.incarnation}


def test_a_snapshot_emits_the_differences(room: RoomHarness) -> None:
    left = MemberLeft(12, BEN.incarnation, LeaveReason.DISCONNECTED)
    assert snapshot(room, ANA, CIA, version=12) == [left, MemberJoined(12, CIA)]
    assert snapshot(room, ANA, CIA, version=12) == []


def test_only_the_requested_snapshot_ends_a_resync(room: RoomHarness) -> None:
    changes(room, 12, CIA)
    sent = next_request(room, RESYNC)
    snapshot(room, ANA, BEN, version=10, token="another")  # noqa: S106 - of a sent
    assert not room.replica.settled
    snapshot(room, ANA, BEN, CIA, version=12, token=str(sent.arguments[0]))
    assert room.replica.settled


def test_a_snapshot_requested_before_a_second_restart_does_not_end_the_resync(room: RoomHarness) -> None:
    room.replica.resync(0.0)
    first = str(next_request(room, RESYNC).arguments[0])
    room.link_lost()
    room.room.resync_anew(5.0)
    assert room.replica.syncing_since == 5.0
    second = str(next_request(room, RESYNC).arguments[0])
    assert first != second
    snapshot(room, ANA, BEN, version=10, token=first)
    assert not room.replica.settled
    room.answer(b"OK")
    assert room.send() is None


def test_a_first_snapshot_without_own_members_is_ignored() -> None:
    room = joining()
    assert snapshot(room, BEN, version=9) == []
    assert room.replica.version is None


def test_an_own_member_that_redis_lost_is_announced_again(room: RoomHarness) -> None:
    assert snapshot(room, BEN, version=20, run_id="another") == []
    assert next_request(room, RESYNC).announced == [(ANA.incarnation, 0, True)]


def test_an_own_member_with_another_order_has_to_join_again(room: RoomHarness) -> None:
    assert snapshot(room, structs.replace(ANA, order=7), BEN, version=11) == []
    assert next_request(room, LEAVE).arguments[1] == ANA.incarnation


def test_the_others_learn_that_a_member_whose_join_redis_lost_has_joined_anew(room: RoomHarness) -> None:
    anew = structs.replace(BEN, order=BEN.order + 40)
    assert changes(room, 11, anew) == [
        MemberLeft(11, BEN.incarnation, LeaveReason.DISCONNECTED),
        MemberJoined(11, anew),
    ]
    assert room.replica.members[BEN.incarnation].order == anew.order


def test_a_move_does_not_wait_for_silent_nodes(room: RoomHarness) -> None:
    assert changes(room, 11, Moved(ANA.incarnation, B, 1, (A,))) == [
        MemberMoved(11, ANA.incarnation, A, B, 1, (B,)),
    ]


def test_each_change_has_its_own_offset(room: RoomHarness) -> None:
    changes = [leaving(peer("nobody"), LeaveReason.LEFT), leaving(BEN, LeaveReason.LEFT)]
    (left,) = room.replica.apply_changes(Changes(ROOM, 10, 11, [*changes]), 0.0, lambda index: b"%d" % index)
    assert left == MemberLeft(11, BEN.incarnation, LeaveReason.LEFT, offset=b"1")


def test_a_room_stays_known_until_a_member_that_moved_away_is_handed_over() -> None:
    room = joining()
    next_request(room, JOIN)
    room.answer(b"OK", b"10")
    snapshot(room, ANA, BEN, version=10)
    assert changes(room, 11, Moved(ANA.incarnation, B, 1)) == [MemberMoved(11, ANA.incarnation, A, B, 1, (B, A))]
    assert not room.room.idle
    assert set(room.replica.members) == {ANA.incarnation, BEN.incarnation}
    assert room.replica.release(ANA.incarnation) == [Unsubscribed()]
    assert room.room.idle


def test_a_node_with_other_members_receives_changes_after_a_handover(room: RoomHarness) -> None:
    add_amy(room)
    changes(room, 12, Moved(ANA.incarnation, B, 1))
    assert room.replica.release(ANA.incarnation) == []
    assert changes(room, 13, leaving(ANA, LEFT)) == [MemberLeft(13, ANA.incarnation, LEFT)]


def test_an_outdated_move_is_ignored(room: RoomHarness) -> None:
    assert changes(room, 11, Moved(BEN.incarnation, C, 2))
    assert changes(room, 12, Moved(BEN.incarnation, B, 1)) == []
    assert room.replica.members[BEN.incarnation].node == C
    assert changes(room, 13, Moved(Incarnation("nobody"), B, 1)) == []


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_snapshot_emits_missed_moves(room: RoomHarness, epoch: int) -> None:
    room.replica.resync(0.0)
    assert resynced(room, structs.replace(ANA, node=B, epoch=epoch), BEN, version=15) == [
        MemberMoved(15, ANA.incarnation, A, B, epoch, (B, A))
    ]
    assert ANA.incarnation not in room.replica.local


def test_an_update_is_emitted_once_and_announced_again(room: RoomHarness) -> None:
    updated = Updated(ANA.kind, ANA.id, '{"a":1}', 11, ANA.incarnation)
    assert changes(room, 11, updated) == [MemberUpdated(11, ANA.kind, ANA.id, {"a": 1}, ANA.incarnation)]
    assert changes(room, 12, updated) == []
    room.replica.resync(0.0)
    (row,) = msgspec.msgpack.decode(next_request(room, RESYNC).arguments[2])
    assert (row["member"]["metadata"], row["member"]["updated"]) == ('{"a":1}', 11)


def test_a_snapshot_emits_missed_updates(room: RoomHarness) -> None:
    changes(room, 11, UNA)
    later = [structs.replace(one, metadata={"a": 1}, updated=14) for one in (BEN, UNA)]
    room.replica.resync(0.0)
    assert resynced(room, ANA, *later, version=15) == [
        MemberUpdated(15, one.kind, one.id, {"a": 1}) for one in (BEN, UNA)
    ]


def test_the_words_of_a_moderator_behind_a_gap_are_not_lost(room: RoomHarness) -> None:
    assert changes(room, 12, leaving(BEN, LeaveReason.KICKED, '{"reason":"spam"}')) == []
    assert resynced(room, ANA, version=12) == [MemberLeft(12, BEN.incarnation, LeaveReason.KICKED, Notice("spam"))]


def test_a_departing_member_that_leaves_does_not_keep_the_room(room: RoomHarness) -> None:
    changes(room, 11, Moved(ANA.incarnation, B, 1), leaving(ANA, LEFT))
    assert room.room.idle
    assert room.replica.version is None


@settings(max_examples=120, phases=QUICK)
@given(st.data())
def test_nodes_agree_in_the_end_without_faults(shared_store: Store, data: st.DataObject) -> None:
    _play(shared_store, data, STEPS)


@settings(max_examples=150, phases=QUICK)
@given(st.data())
def test_nodes_agree_in_the_end_with_faults(shared_store: Store, data: st.DataObject) -> None:
    _play(shared_store, data, [*STEPS, *MISHAPS])


@settings(max_examples=60, phases=QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_nodes_agree_in_the_end_although_keys_are_deleted(
    shared_store: Store, expected_logs: ExpectedLogs, data: st.DataObject
) -> None:
    expected_logs.allow("mcp_actors.redis", "room repaired")
    _play(shared_store, data, [*STEPS, *DAMAGE, "attach", "break", "unanswered"])


@pytest.fixture(autouse=True)
def _nodes_may_be_fenced(expected_logs: ExpectedLogs) -> None:
    expected_logs.allow("mcp_actors.redis", "this node was declared dead")


def _play(store: Store, data: st.DataObject, steps: list[str]) -> None:
    world = World(store)
    nodes = [SteppedNode(world, name) for name in (A, B, C)]
    for node in nodes:
        node.attach()
    for number in range(data.draw(st.integers(1, 40))):
        node = data.draw(st.sampled_from(nodes))
        _step(world, node, data.draw(st.sampled_from(steps)), number, data)
    world.come_to_rest()
    check_at_rest(world, [ROOM, OTHER])


def _step(world: World, node: SteppedNode, step: str, number: int, data: st.DataObject) -> None:  # noqa: C901, PLR0912
    match step:
        case "join":
            name = data.draw(st.sampled_from(["ana", "ben", "cia"]))
            member = peer(name, node.id) if data.draw(st.booleans()) else user(name, 1, node.id)
            member = structs.replace(member, incarnation=Incarnation(f"{node.id}.{number}"))
            node.join(member, data.draw(st.sampled_from([ROOM, OTHER])))
        case "leave":
            there = [one for one, state in node.asked.items() if state in {"asked", "joined"}]
            if there:
                node.leave(data.draw(st.sampled_from(there)))
        case "update":
            here = [one for one, state in node.asked.items() if state == "joined"]
            if here:
                node.update(data.draw(st.sampled_from(here)), {"n": data.draw(st.integers(0, 3))})
        case "write":
            node.write()
        case "unanswered":
            node.write(answered=False)
        case "undone":
            node.write(done=False)
        case "read":
            node.read()
        case "read one":
            node.read(1)
        case "tend":
            node.bucket.housekeeping()
            world.now += 0.5
        case "break":
            node.detach()
        case "attach":
            node.attach()
        case "restart" | "empty":
            world.restart(empty=step == "empty")
        case "dead":
            world.declare_dead(node)
        case _:
            _damage(world.store, node, step, data.draw(st.sampled_from([ROOM, OTHER])))


def _damage(store: Store, node: SteppedNode, what: str, room: RoomId) -> None:
    match what:
        case "members":
            store.redis.delete(store.keys.members(room))
        case "state":
            store.redis.delete(store.keys.state(room))
        case "rooms of":
            store.redis.delete(store.keys.rooms_of(node.id))
        case _:
            for field in store.redis.hkeys(store.keys.members(room))[:1]:
                store.redis.hdel(store.keys.members(room), field)
