from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import structs

from mcp_actors.broker.redis.entries import StoredMember
from mcp_actors.broker.redis.outage import (
    accept_leaves,
    expire_suspects,
    extend_suspicion,
    join_locally,
    leave_locally,
    refuse_joins,
    refuse_moderation,
)
from mcp_actors.broker.redis.requests import Operation, Request
from mcp_actors.broker.redis.scripts import CLAIM, JOIN, LEAVE, RESYNC
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    JoinRefused,
    LeaveAccepted,
    MemberJoined,
    MemberLeft,
    Moderated,
)
from mcp_actors.protocol.identifiers import Incarnation
from tests.broker.redis.lua import ROOM, A, B, C, leaving, peer, user
from tests.broker.redis.nodes import SteppedNode, World, check_at_rest
from tests.broker.redis.rooms import (
    ANA,
    BEN,
    CIA,
    GRACE,
    LEFT,
    LOST,
    RoomHarness,
    add_amy,
    at_a,
    changes,
    joining,
    next_request,
    resynced,
    snapshot,
)

if TYPE_CHECKING:
    from tests.broker.redis.lua import Store


def test_a_remote_member_that_redis_lost_is_suspected_until_its_deadline(room: RoomHarness) -> None:
    room.room.resync_anew(0.0)
    assert resynced(room, ANA, version=20, run_id="another") == []
    assert not room.room.quiet
    expire_suspects(room.replica, GRACE - 0.1, GRACE + 6)
    assert room.send() is None
    expire_suspects(room.replica, GRACE, GRACE + 6)
    sent = next_request(room)
    assert sent.request == Request(Operation.EXPIRE, (BEN.incarnation,))
    assert msgspec.msgpack.decode(sent.arguments[0]) == [structs.asdict(StoredMember.of(BEN))]
    expire_suspects(room.replica, GRACE, GRACE + 6)
    room.answer(b"OK", b"1")
    assert room.send() is None
    assert changes(room, 21, leaving(BEN, LOST)) == [MemberLeft(21, BEN.incarnation, LOST)]
    assert room.room.quiet


@pytest.mark.parametrize("how", ["snapshot", "change"])
def test_a_suspect_that_comes_back_causes_no_event(room: RoomHarness, how: str) -> None:
    snapshot(room, ANA, version=20, run_id="another")
    if how == "snapshot":
        assert snapshot(room, ANA, BEN, version=21, run_id="another") == []
    else:
        assert changes(room, 21, BEN) == []
    expire_suspects(room.replica, 2 * GRACE, 3 * GRACE)
    assert room.send() is None
    assert room.room.quiet


def test_a_suspect_stays_suspected_over_later_snapshots_without_it(room: RoomHarness) -> None:
    snapshot(room, ANA, version=20, run_id="another")
    assert snapshot(room, ANA, CIA, version=21, run_id="another") == [MemberJoined(21, CIA)]
    assert BEN.incarnation in room.replica.members


def test_suspects_get_all_their_time_again_after_an_outage(room: RoomHarness) -> None:
    snapshot(room, ANA, version=20, run_id="another")
    extend_suspicion(room.replica, 0.0, 50.0)
    expire_suspects(room.replica, 49.0, 60.0)
    assert room.send() is None
    expire_suspects(room.replica, 50.0, 60.0)
    assert next_request(room).request.operation is Operation.EXPIRE


def test_a_new_peer_replaces_a_suspect_of_the_same_id(room: RoomHarness) -> None:
    snapshot(room, ANA, version=20, run_id="another")
    rival = structs.replace(BEN, incarnation=Incarnation("c.ben"), node=C)
    assert changes(room, 21, rival) == [MemberLeft(21, BEN.incarnation, LOST), MemberJoined(21, rival)]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_a_refused_member_that_joins_after_all_is_seen_to_join_and_leave(store: Store, beside: bool) -> None:
    world = World(store)
    node, other = SteppedNode(world, A), SteppedNode(world, B)
    node.attach()
    other.attach()
    other.join(BEN)
    if beside:
        node.join(peer("cia"))
    for one in world.nodes:
        one.write()
        one.read()
    node.join(peer("ana"))
    node.write(answered=False)
    world.now += 60.0
    node.bucket.housekeeping()
    assert node.asked[ANA.incarnation] == "refused"
    world.come_to_rest()
    assert node.asked[ANA.incarnation] == "refused"
    assert _seen(other) == [MemberJoined, MemberLeft]
    assert not beside or _seen(node) == [MemberJoined, LeaveAccepted, MemberLeft]
    check_at_rest(world, [ROOM])


def _seen(node: SteppedNode) -> list[type]:
    """The types of all events about Ana at a node."""
    told = (event for _, event in node.heard if isinstance(event, MemberJoined | LeaveAccepted | MemberLeft))
    return [type(event) for event in told if _whose(event) == ANA.incarnation]


def _whose(event: MemberJoined | LeaveAccepted | MemberLeft) -> Incarnation:
    return event.member.incarnation if isinstance(event, MemberJoined) else event.incarnation


def test_overdue_joins_are_refused_and_not_sent() -> None:
    room = RoomHarness()
    room.now = 1.0
    room.join(peer("ana"))
    room.now = 5.0
    room.join(peer("ben"))
    assert refuse_joins(room.replica, 5.0) == [JoinRefused(ANA.incarnation, ErrorCode.UNAVAILABLE)]
    assert refuse_joins(room.replica, 5.0) == []
    assert next_request(room, JOIN).request.members == ("a.ben",)


@pytest.mark.parametrize("broken", [False, True], ids=["under way", "unanswered"])
def test_a_refused_join_that_may_have_succeeded_is_followed_by_a_leave(broken: bool) -> None:
    room = joining()
    next_request(room, JOIN)
    if broken:
        room.link_lost()
    assert refuse_joins(room.replica, 1.0) == [JoinRefused(ANA.incarnation, ErrorCode.UNAVAILABLE)]
    if not broken:
        room.answer(b"OK", b"10")
    asked = []
    while (sent := room.send()) is not None:
        asked.append(sent.request.operation)
        room.answer(b"OK", b"10")
    assert asked[-1:] == [Operation.LEAVE]


def test_a_member_in_the_room_is_not_refused(room: RoomHarness) -> None:
    assert refuse_joins(room.replica, 100.0) == []


def test_local_joins_get_the_next_order(room: RoomHarness) -> None:
    room.join(peer("zoe"), 10)
    room.join(user("uma"), 10)
    zoe, uma = structs.replace(peer("zoe"), order=3), structs.replace(user("uma"), order=1)
    assert join_locally(room.replica, 1.0) == [MemberJoined(10, zoe), MemberJoined(10, uma)]
    assert room.replica.provisional
    assert room.send() is None
    assert join_locally(room.replica, 1.0) == []


def test_a_new_room_can_be_joined_locally() -> None:
    room = joining()
    (joined,) = join_locally(room.replica, 1.0)
    assert joined == MemberJoined(0, ANA)
    room.room.resync_anew(2.0)
    assert next_request(room, RESYNC).announced == [(ANA.incarnation, 0, True)]
    assert snapshot(room, ANA, version=10, token="1") == []  # noqa: S106 - of a sent
    assert not room.replica.provisional


def test_local_joins_are_refused_if_the_id_is_taken_or_the_room_is_full(room: RoomHarness) -> None:
    for name, incarnation, capacity in (("ben", "a.1", 10), ("zoe", "a.2", 2)):
        room.join(structs.replace(peer(name), incarnation=Incarnation(incarnation)), capacity)
    assert join_locally(room.replica, 1.0) == [
        JoinRefused(Incarnation("a.1"), ErrorCode.PEER_ID_TAKEN),
        JoinRefused(Incarnation("a.2"), ErrorCode.ROOM_FULL),
    ]
    assert not room.replica.provisional


def test_a_user_id_is_not_claimed_locally_while_its_owner_is_there(room: RoomHarness) -> None:
    owner, claimer = structs.replace(user("una", 1, B, order=1), verified=True), user("una", 2)
    room.replica.add(owner)
    room.join(claimer)
    assert join_locally(room.replica, 1.0) == [JoinRefused(claimer.incarnation, ErrorCode.PEER_ID_TAKEN)]
    again = structs.replace(user("una", 3), verified=True)
    room.join(again)
    assert join_locally(room.replica, 1.0) == [MemberJoined(10, structs.replace(again, order=2))]


def test_claims_wait_for_redis(room: RoomHarness) -> None:
    room.claim(at_a(BEN))
    next_request(room, CLAIM)
    room.link_lost()
    assert refuse_joins(room.replica, 100.0) == join_locally(room.replica, 100.0) == []
    next_request(room, CLAIM)


def test_a_local_leave_is_emitted_if_another_member_of_the_node_stays(room: RoomHarness) -> None:
    add_amy(room)
    room.leave(ANA.incarnation, LEFT)
    assert leave_locally(room.replica) == [MemberLeft(11, ANA.incarnation, LEFT)]
    assert room.replica.provisional


def test_a_local_leave_of_the_last_member_of_the_node_waits_for_redis(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    assert leave_locally(room.replica) == []


def test_a_local_join_replaces_a_peer_of_this_node_that_leaves(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    again = structs.replace(peer("ana"), incarnation=Incarnation("a.again"))
    room.join(again, 2)
    assert join_locally(room.replica, 1.0) == [
        MemberLeft(10, ANA.incarnation, LEFT),
        MemberJoined(10, structs.replace(again, order=3)),
    ]
    room.room.resync_anew(2.0)
    assert next_request(room, RESYNC).announced == [("a.again", 0, True)]


@pytest.mark.parametrize("sent", [False, True], ids=["not sent", "sent"])
def test_a_join_is_refused_although_its_member_wants_to_leave_again(sent: bool) -> None:
    room = joining()
    if sent:
        next_request(room, JOIN)
        room.link_lost()
    room.leave(ANA.incarnation, LEFT)
    assert refuse_joins(room.replica, 1.0) == [JoinRefused(ANA.incarnation, ErrorCode.UNAVAILABLE)]
    assert refuse_joins(room.replica, 1.0) == []
    asked = []
    while (request := room.send()) is not None:
        asked.append(request.request.operation)
        room.answer(b"OK", b"10")
    assert asked == ([Operation.JOIN, Operation.LEAVE] if sent else [])


@pytest.mark.parametrize("sent", [False, True], ids=["not sent", "sent"])
def test_a_leave_is_accepted_once_and_sent_all_the_same(room: RoomHarness, sent: bool) -> None:
    room.leave(ANA.incarnation, LEFT)
    if sent:
        next_request(room, LEAVE)
        room.link_lost()
    assert accept_leaves(room.replica) == [LeaveAccepted(ANA.incarnation, LEFT)]
    assert accept_leaves(room.replica) == []
    assert next_request(room, LEAVE).request.members == (ANA.incarnation,)


def test_members_that_stay_or_are_not_in_the_room_yet_are_not_let_go(room: RoomHarness) -> None:
    room.join(peer("zoe"))
    room.leave(peer("zoe").incarnation, LEFT)
    assert accept_leaves(room.replica) == []


def test_requests_of_moderators_are_refused_and_not_sent(room: RoomHarness) -> None:
    amy = Incarnation("a.amy")
    add_amy(room)
    room.room.moderate(ANA.incarnation, Operation.LOCK, ())
    next_request(room)
    room.link_lost()
    room.room.moderate(amy, Operation.CLOSE, ("",))
    room.leave(ANA.incarnation, LEFT)
    assert refuse_moderation(room.replica) == [
        Moderated(ANA.incarnation, done=False, failed=True),
        Moderated(amy, done=False, failed=True),
    ]
    assert next_request(room, LEAVE).request.operation is Operation.LEAVE
    room.answer(b"OK", b"12")
    assert room.send() is None


def test_an_earlier_snapshot_that_is_read_again_does_not_undo_local_changes(room: RoomHarness) -> None:
    room.leave(ANA.incarnation, LEFT)
    room.join(structs.replace(peer("ana"), incarnation=Incarnation("a.again")), 10)
    join_locally(room.replica, 1.0)
    room.room.resync_anew(2.0)
    next_request(room, RESYNC)
    assert snapshot(room, ANA, BEN, version=10) == []
    assert set(room.replica.members) == {"a.again", BEN.incarnation}
