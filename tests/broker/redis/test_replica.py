from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

from mcp_actors.broker.redis.entries import Change, Changes, Gone, Marked, Moved, Snapshot
from mcp_actors.broker.redis.questions import Ask, Question, Request
from mcp_actors.broker.redis.replica import Fenced, Replica
from mcp_actors.broker.redis.scripts import CLAIM, JOIN, LEAVE, MARK, RESYNC
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    ClaimRefused,
    Event,
    HandedOver,
    JoinRefused,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    Vacated,
)
from mcp_actors.protocol.identifiers import Incarnation, RoomId
from tests.broker.redis.lua import ROOM, A, B, C, peer, user
from tests.broker.redis.nodes import SteppedNode, World, check_at_rest

if TYPE_CHECKING:
    from mcp_actors.protocol.identifiers import NodeId
    from tests.broker.redis.lua import Store
    from tests.conftest import ExpectedLogs

OTHER = RoomId("other")
STEPS = ["join", "join", "join", "leave", "leave", "write", "write", "read", "read", "read one", "read one", "tend"]
MISHAPS = ["break", "unanswered", "undone", "attach", "attach", "attach", "restart", "empty", "dead"]
ANA = structs.replace(peer("ana"), order=1)
BEN = structs.replace(peer("ben", B), order=2)
CIA = structs.replace(peer("cia", C), order=3)
UNA = structs.replace(user("una", node=B), order=1)
LEFT, LOST = LeaveReason.LEFT, LeaveReason.NODE_LOST
GRACE = 9.0
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Schedules are not made smaller where they fail: on a real server that takes minutes."""


def _ask(replica: Replica, script: object = None) -> Question:
    question = replica.ask(0.0)
    assert question is not None
    assert script is None or question.script is script
    return question


def _told(replica: Replica, *members: Member, version: int, token: str = "", epoch: str = "run") -> list[Event]:
    return replica.told(Snapshot(ROOM, version, epoch, token, [*members]), 0.0, GRACE)


def _changed(replica: Replica, version: int, *changes: Change, after: int = 0) -> list[Event]:
    return replica.changed(Changes(ROOM, after or version - 1, version, [*changes]), 0.0)


def _joining(*members: Member) -> Replica:
    replica = Replica(ROOM, A)
    for member in members or (peer("ana"),):
        replica.join(member, 10, 0.0)
    return replica


@pytest.fixture
def replica() -> Replica:
    """With ana, of this node, and ben, of another; at version 10."""
    made = _joining()
    _ask(made, JOIN)
    made.answered([b"OK", b"10"], 0.0)
    _told(made, ANA, BEN, version=10)
    return made


def _resynced(replica: Replica, *members: Member, version: int, epoch: str = "run") -> list[Event]:
    """The answer to a question for all of the room: its snapshot, then its reply."""
    question = _ask(replica, RESYNC)
    token = str(question.arguments[0])
    events = _told(replica, *members, version=version, token=token, epoch=epoch)
    return events + replica.answered([b"OK"], 0.0)


# ------------------------------------------------------------------------------------------------- joining and leaving


def test_a_join_is_heard_when_the_room_is_read_and_not_when_it_is_answered() -> None:
    replica = _joining()
    question = _ask(replica, JOIN)
    assert question.nodes == [A]
    assert question.arguments[-4:] == [10, "1", "", ""]
    assert replica.answered([b"OK", b"10"], 0.0) == []
    assert _told(replica, BEN, ANA, version=10) == [MemberJoined(10, BEN), MemberJoined(10, ANA)]


def test_a_room_may_be_read_before_the_join_is_answered() -> None:
    replica = _joining()
    _ask(replica)
    assert _told(replica, ANA, version=10) == [MemberJoined(10, ANA)]
    assert replica.answered([b"OK", b"10"], 0.0) == []
    assert replica.quiet


def test_own_members_come_last_and_the_others_in_the_order_they_joined() -> None:
    replica = _joining()
    events = _told(replica, CIA, structs.replace(ANA, order=4), BEN, version=10)
    assert [event.member.id for event in events if isinstance(event, MemberJoined)] == ["ben", "cia", "ana"]


def test_one_question_is_under_way_at_a_time_and_they_keep_their_order() -> None:
    replica = _joining()
    replica.leave(ANA.incarnation, LEFT)
    replica.join(peer("zoe"), 10, 0.0)
    asked = []
    while (question := replica.ask(0.0)) is not None:
        assert replica.ask(0.0) is None
        asked.append((question.request.ask, *question.request.about))
        replica.answered([b"OK", b"1"], 0.0)
    assert asked == [(Ask.JOIN, "a.ana"), (Ask.LEAVE, "a.ana"), (Ask.JOIN, "a.zoe")]


def test_asking_twice_is_asking_once() -> None:
    replica = _joining(peer("ana"), peer("ana"))
    _ask(replica)
    replica.answered([b"OK", b"10"], 0.0)
    assert replica.ask(0.0) is None
    replica.leave(ANA.incarnation, LEFT)
    replica.leave(ANA.incarnation, LeaveReason.TIMEOUT)
    assert _ask(replica, LEAVE).arguments[-1] == "left"
    replica.answered([b"OK", b"11"], 0.0)
    assert replica.ask(0.0) is None


def test_a_refused_join_is_heard_once_and_forgotten(replica: Replica) -> None:
    replica.join(peer("zoe"), 1, 0.0)
    _ask(replica, JOIN)
    assert replica.answered([b"FULL", b"10"], 0.0) == [JoinRefused(peer("zoe").incarnation, ErrorCode.ROOM_FULL)]
    assert list(replica.own) == [ANA.incarnation]


def test_a_refusal_is_not_heard_before_what_made_it(replica: Replica) -> None:
    replica.join(peer("cia"), 10, 0.0)
    _ask(replica, JOIN)
    assert replica.answered([b"TAKEN", b"11"], 0.0) == []
    assert not replica.idle
    refused = JoinRefused(peer("cia").incarnation, ErrorCode.PEER_ID_TAKEN)
    assert _changed(replica, 11, CIA) == [MemberJoined(11, CIA), refused]


def test_a_node_that_redis_names_is_declared_and_the_question_asked_again(replica: Replica) -> None:
    replica.leave(ANA.incarnation, LEFT)
    assert _ask(replica, LEAVE).nodes == [A, B]
    assert replica.answered([b"KEYS", b"c"], 0.0) == []
    assert _ask(replica, LEAVE).nodes == [A, B, C]


def test_a_refusal_of_this_node_raises_and_the_question_stays(replica: Replica) -> None:
    replica.leave(ANA.incarnation, LEFT)
    _ask(replica, LEAVE)
    with pytest.raises(Fenced):
        replica.answered([b"FENCED"], 0.0)
    _ask(replica, LEAVE)


def test_a_leave_is_heard_when_it_is_read_and_the_last_one_vacates(replica: Replica) -> None:
    replica.leave(ANA.incarnation, LEFT)
    _ask(replica, LEAVE)
    assert replica.answered([b"OK", b"11"], 0.0) == []
    assert _changed(replica, 11, Gone(ANA.incarnation, LEFT)) == [MemberLeft(11, ANA.incarnation, LEFT), Vacated()]
    assert replica.idle
    assert replica.version is None
    assert replica.members == {}


def test_a_join_and_a_leave_that_are_answered_before_anything_is_read_are_both_heard() -> None:
    replica = _joining()
    for reply in ([b"OK", b"10"], [b"OK", b"11"]):
        _ask(replica)
        replica.answered(reply, 0.0)
        replica.leave(ANA.incarnation, LEFT)
    events = [*_told(replica, ANA, version=10), *_changed(replica, 11, Gone(ANA.incarnation, LEFT))]
    assert events == [MemberJoined(10, ANA), MemberLeft(11, ANA.incarnation, LEFT), Vacated()]


def test_members_that_leave_together_do_so_in_one_version(replica: Replica) -> None:
    _changed(replica, 11, UNA)
    events = _changed(replica, 12, Gone(BEN.incarnation, LOST), Gone(UNA.incarnation, LOST))
    assert events == [MemberLeft(12, BEN.incarnation, LOST), MemberLeft(12, UNA.incarnation, LOST)]


# ------------------------------------------------------------------------------------------------- versions, snapshots


def test_changes_that_were_applied_are_dropped(replica: Replica) -> None:
    assert _changed(replica, 10, CIA) == []
    assert _changed(replica, 9, Gone(BEN.incarnation, LEFT)) == []
    assert replica.ask(0.0) is None


def test_a_missing_change_is_asked_for_once(replica: Replica) -> None:
    assert _changed(replica, 12, CIA) == []
    assert _changed(replica, 13, UNA) == []
    assert not replica.settled
    events = _resynced(replica, ANA, CIA, UNA, version=13)
    assert {type(event) for event in events} == {MemberLeft, MemberJoined}
    assert replica.ask(0.0) is None
    assert replica.settled


def test_a_version_that_jumps_after_the_known_one_is_no_gap(replica: Replica) -> None:
    assert _changed(replica, 5000, CIA, after=10) == [MemberJoined(5000, CIA)]
    assert replica.ask(0.0) is None


def test_nothing_is_heard_of_a_room_before_its_snapshot() -> None:
    replica = _joining()
    assert _changed(replica, 10, BEN) == []
    assert replica.version is None


def test_an_old_snapshot_is_dropped(replica: Replica) -> None:
    assert _told(replica, ANA, version=9) == []
    assert set(replica.members) == {ANA.incarnation, BEN.incarnation}


def test_a_snapshot_says_what_is_different(replica: Replica) -> None:
    left = MemberLeft(12, BEN.incarnation, LeaveReason.DISCONNECTED)
    assert _told(replica, ANA, CIA, version=12) == [left, MemberJoined(12, CIA)]
    assert _told(replica, ANA, CIA, version=12) == []


def test_only_the_snapshot_that_was_asked_for_ends_the_waiting(replica: Replica) -> None:
    _changed(replica, 12, CIA)
    question = _ask(replica, RESYNC)
    _told(replica, ANA, BEN, version=10, token="another")  # noqa: S106 - of a question
    assert not replica.settled
    _told(replica, ANA, BEN, CIA, version=12, token=str(question.arguments[0]))
    assert replica.settled


def test_a_snapshot_that_was_asked_for_before_a_second_restart_does_not_end_the_waiting(replica: Replica) -> None:
    replica.resync(0.0)
    first = str(_ask(replica, RESYNC).arguments[0])
    replica.unanswered()
    replica.resync_anew(5.0)
    assert replica.syncing_since == 5.0
    second = str(_ask(replica, RESYNC).arguments[0])
    assert first != second
    _told(replica, ANA, BEN, version=10, token=first)
    assert not replica.settled
    replica.answered([b"OK"], 5.0)
    assert replica.ask(0.0) is None


def test_a_snapshot_in_which_no_member_of_this_node_is_yet_begins_nothing() -> None:
    replica = _joining()
    assert _told(replica, BEN, version=9) == []
    assert replica.version is None


# --------------------------------------------------------------------------------------------------- what redis forgot


def test_an_own_member_that_redis_forgot_is_announced_again_and_never_left(replica: Replica) -> None:
    assert _told(replica, BEN, version=20, epoch="another") == []
    assert "in" in _ask(replica, RESYNC).arguments


def test_a_member_of_another_node_that_redis_forgot_is_suspected_until_its_time_is_over(replica: Replica) -> None:
    replica.resync_anew(0.0)
    assert _resynced(replica, ANA, version=20, epoch="another") == []
    assert not replica.quiet
    replica.expire(GRACE - 0.1, GRACE + 6)
    assert replica.ask(0.0) is None
    replica.expire(GRACE, GRACE + 6)
    question = _ask(replica)
    assert question.request == Request(Ask.EXPIRE, (BEN.incarnation,))
    assert question.arguments == ["pben", BEN.incarnation]
    replica.expire(GRACE, GRACE + 6)
    replica.answered([b"OK", b"1"], GRACE)
    assert replica.ask(0.0) is None
    assert _changed(replica, 21, Gone(BEN.incarnation, LOST)) == [MemberLeft(21, BEN.incarnation, LOST)]
    assert replica.quiet


@pytest.mark.parametrize("how", ["snapshot", "change"])
def test_a_suspect_that_comes_back_is_one_no_more_and_nothing_is_heard_of_it(replica: Replica, how: str) -> None:
    _told(replica, ANA, version=20, epoch="another")
    if how == "snapshot":
        assert _told(replica, ANA, BEN, version=21, epoch="another") == []
    else:
        assert _changed(replica, 21, BEN) == []
    replica.expire(2 * GRACE, 3 * GRACE)
    assert replica.ask(0.0) is None
    assert replica.quiet


def test_a_suspect_stays_one_over_later_snapshots_without_it(replica: Replica) -> None:
    _told(replica, ANA, version=20, epoch="another")
    assert _told(replica, ANA, CIA, version=21, epoch="another") == [MemberJoined(21, CIA)]
    assert BEN.incarnation in replica.members


def test_suspects_have_all_their_time_again_when_the_link_was_down(replica: Replica) -> None:
    _told(replica, ANA, version=20, epoch="another")
    replica.extend_suspicion(0.0, 50.0)
    replica.expire(49.0, 60.0)
    assert replica.ask(0.0) is None
    replica.expire(50.0, 60.0)
    assert _ask(replica).request.ask is Ask.EXPIRE


def test_another_with_the_id_of_a_suspect_takes_its_place(replica: Replica) -> None:
    _told(replica, ANA, version=20, epoch="another")
    rival = structs.replace(BEN, incarnation=Incarnation("c.ben"), node=C)
    assert _changed(replica, 21, rival) == [MemberLeft(21, BEN.incarnation, LOST), MemberJoined(21, rival)]


def test_a_join_under_way_when_redis_lost_its_data_is_neither_removed_nor_told_as_there(replica: Replica) -> None:
    replica.join(peer("zoe"), 10, 0.0)
    _ask(replica, JOIN)
    replica.unanswered()
    replica.resync_anew(0.0)
    arguments = _ask(replica, RESYNC).arguments
    whether = {arguments[i]: arguments[i + 7] for i in range(2, len(arguments), 8)}
    assert whether == {"pana": "in", "pzoe": "if"}
    assert _told(replica, ANA, version=20, token=str(arguments[0]), epoch="another") == []
    replica.answered([b"OK"], 0.0)
    _ask(replica, JOIN)
    replica.answered([b"OK", b"21"], 0.0)
    zoe = structs.replace(peer("zoe"), order=2)
    assert _changed(replica, 21, zoe) == [MemberJoined(21, zoe)]


def test_a_leave_under_way_when_redis_lost_its_data_brings_no_ghost(replica: Replica) -> None:
    replica.leave(ANA.incarnation, LEFT)
    _ask(replica, LEAVE)
    replica.unanswered()
    replica.resync_anew(0.0)
    assert _ask(replica, RESYNC).arguments[-1] == "if"
    events = _told(replica, BEN, version=20, token="1", epoch="another")  # noqa: S106 - of a question
    assert events == [MemberLeft(20, ANA.incarnation, LEFT), Vacated()]


def test_a_leave_that_redis_knows_nothing_of_is_followed_by_a_resync(replica: Replica) -> None:
    replica.leave(ANA.incarnation, LEFT)
    _ask(replica, LEAVE)
    assert replica.answered([b"NOOP"], 0.0) == []
    events = _resynced(replica, BEN, version=10)
    assert events == [MemberLeft(10, ANA.incarnation, LEFT), Vacated()]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_of_a_member_that_was_refused_and_got_in_after_all_its_room_hears_nothing(store: Store, beside: bool) -> None:
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
    node.bucket.tend()
    assert node.asked[ANA.incarnation] == "refused"
    world.come_to_rest()
    assert node.asked[ANA.incarnation] == "refused"
    assert any(isinstance(event, MemberLeft) and event.incarnation == ANA.incarnation for _, event in other.heard)
    check_at_rest(world, [ROOM])


def test_who_is_being_asked_in_again_when_its_leave_is_read_leaves_once_more_and_nobody_hears() -> None:
    replica = _joining()
    _ask(replica, JOIN)
    replica.answered([b"OK", b"10"], 0.0)
    replica.leave(ANA.incarnation, LEFT)
    _ask(replica, LEAVE)
    replica.answered([b"OK", b"11"], 0.0)
    replica.resync_anew(0.0)
    _ask(replica, JOIN)
    assert _told(replica, ANA, version=10) == [MemberJoined(10, ANA)]
    assert _changed(replica, 11, Gone(ANA.incarnation, LEFT)) == [MemberLeft(11, ANA.incarnation, LEFT), Vacated()]
    assert replica.answered([b"OK", b"12"], 0.0) == []
    _ask(replica, LEAVE)
    assert _told(replica, ANA, version=12) == []
    assert replica.answered([b"OK", b"13"], 0.0) == []
    assert _changed(replica, 13, Gone(ANA.incarnation, LEFT)) == [Vacated()]
    assert replica.idle


def test_a_leave_that_was_done_without_an_answer_lets_nobody_in_again(store: Store) -> None:
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


def test_a_join_that_was_done_and_then_lost_with_all_data_before_it_was_read_is_done_again(store: Store) -> None:
    world = World(store)
    node = SteppedNode(world, A)
    node.attach()
    node.join(peer("ana"))
    node.write()
    world.restart(empty=True)
    world.come_to_rest()
    assert node.asked == {ANA.incarnation: "joined"}
    check_at_rest(world, [ROOM])


def test_a_member_that_was_lost_before_it_was_read_gets_an_order_when_it_is_back(store: Store) -> None:
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


def test_a_member_whose_place_another_took_is_heard_to_be_out() -> None:
    replica = _joining()
    _ask(replica)
    replica.answered([b"OK", b"10"], 0.0)
    _told(replica, ANA, BEN, version=10)
    replica.resync_anew(0.0)
    _ask(replica, RESYNC)
    events = replica.answered([b"OK", ANA.incarnation.encode()], 0.0)
    assert events == [MemberLeft(10, ANA.incarnation, LOST), Vacated()]
    assert replica.own == {}


def test_an_own_member_that_was_given_another_order_has_to_join_again(replica: Replica) -> None:
    assert _told(replica, structs.replace(ANA, order=7), BEN, version=11) == []
    assert _ask(replica, LEAVE).arguments[1] == ANA.incarnation


# ------------------------------------------------------------------------------------------- outages, fences, failures


def test_joins_that_wait_for_too_long_are_given_up_and_not_asked_for() -> None:
    replica = Replica(ROOM, A)
    replica.join(peer("ana"), 10, 1.0)
    replica.join(peer("ben"), 10, 5.0)
    assert replica.give_up(5.0) == [JoinRefused(ANA.incarnation, ErrorCode.UNAVAILABLE)]
    assert replica.give_up(5.0) == []
    assert _ask(replica, JOIN).request.about == ("a.ben",)


@pytest.mark.parametrize("broken", [False, True], ids=["under way", "unanswered"])
def test_a_join_that_was_given_up_and_may_have_been_done_leaves_at_once(broken: bool) -> None:
    replica = _joining()
    _ask(replica, JOIN)
    if broken:
        replica.unanswered()
    assert replica.give_up(1.0) == [JoinRefused(ANA.incarnation, ErrorCode.UNAVAILABLE)]
    if not broken:
        replica.answered([b"OK", b"10"], 0.0)
    asked = []
    while (question := replica.ask(0.0)) is not None:
        asked.append(question.request.ask)
        replica.answered([b"OK", b"10"], 0.0)
    assert asked[-1:] == [Ask.LEAVE]


def test_a_member_that_is_in_is_not_given_up(replica: Replica) -> None:
    assert replica.give_up(100.0) == []


def test_joins_are_let_in_provisionally_with_the_next_order(replica: Replica) -> None:
    replica.join(peer("zoe"), 10, 0.0)
    replica.join(user("uma"), 10, 0.0)
    zoe, uma = structs.replace(peer("zoe"), order=3), structs.replace(user("uma"), order=1)
    assert replica.admit(1.0) == [MemberJoined(10, zoe), MemberJoined(10, uma)]
    assert replica.provisional
    assert replica.ask(0.0) is None
    assert replica.admit(1.0) == []


def test_a_room_that_is_new_can_be_entered_provisionally() -> None:
    replica = _joining()
    (joined,) = replica.admit(1.0)
    assert joined == MemberJoined(0, ANA)
    replica.resync_anew(2.0)
    assert _ask(replica, RESYNC).arguments[-1] == "in"
    assert _told(replica, ANA, version=10, token="1") == []  # noqa: S106 - of a question
    assert not replica.provisional


def test_what_this_node_knows_to_be_taken_or_full_is_refused_provisionally_too(replica: Replica) -> None:
    for name, incarnation, capacity in (("ben", "a.1", 10), ("zoe", "a.2", 2)):
        replica.join(structs.replace(peer(name), incarnation=Incarnation(incarnation)), capacity, 0.0)
    assert replica.admit(1.0) == [
        JoinRefused(Incarnation("a.1"), ErrorCode.PEER_ID_TAKEN),
        JoinRefused(Incarnation("a.2"), ErrorCode.ROOM_FULL),
    ]
    assert not replica.provisional


def test_a_node_that_was_declared_dead_hears_its_members_leave_and_asks_its_joins_again(replica: Replica) -> None:
    replica.join(peer("zoe"), 10, 0.0)
    replica.join(peer("yan"), 10, 0.0)
    replica.leave(peer("yan").incarnation, LEFT)
    assert replica.lost() == [MemberLeft(10, ANA.incarnation, LOST), Vacated()]
    asked = []
    while (question := replica.ask(0.0)) is not None:
        asked.append((question.request.ask, *question.request.about))
        replica.answered([b"DUP"], 0.0)
    assert asked == [(Ask.JOIN, "a.zoe"), (Ask.JOIN, "a.yan"), (Ask.LEAVE, "a.yan")]


def test_a_node_that_was_declared_dead_before_anything_was_read_hears_no_leave() -> None:
    replica = _joining()
    _ask(replica)
    replica.answered([b"OK", b"10"], 0.0)
    assert replica.lost() == []
    assert _ask(replica, JOIN).arguments[-3] == "1"


def test_a_room_that_failed_asks_its_members_out_and_is_told_all_anew(replica: Replica) -> None:
    replica.abandon()
    assert replica.members == {}
    replica.join(peer("zoe"), 10, 0.0)
    _ask(replica, LEAVE)
    replica.answered([b"OK", b"11"], 0.0)
    assert _ask(replica, JOIN).arguments[-3] == "1"
    assert _changed(replica, 11, Gone(ANA.incarnation, LeaveReason.DISCONNECTED)) == []
    zoe = structs.replace(peer("zoe"), order=3)
    assert _told(replica, BEN, zoe, version=12) == [MemberJoined(12, BEN), MemberJoined(12, zoe)]


# -------------------------------------------------------------------------------------------------------------- moves


def _at_a(member: Member, moves: int = 1) -> Member:
    """A member as it is when its session goes on at node A."""
    return structs.replace(member, node=A, moves=moves)


def _with_amy(replica: Replica) -> None:
    """With another member of this node, at version 11."""
    replica.join(peer("amy"), 10, 0.0)
    _ask(replica, JOIN)
    replica.answered([b"OK", b"11"], 0.0)
    _changed(replica, 11, structs.replace(peer("amy"), order=3))


def _claim(replica: Replica, member: Member = BEN, *, moves: int = 1) -> list[Event]:
    """Claim a member of another node, and have it: what is heard when that is read, before it is answered."""
    replica.claim(_at_a(member, moves), 0.0)
    _ask(replica, CLAIM)
    replica.answered([b"RIVAL", member.node.encode()], 0.0)
    _ask(replica, CLAIM)
    events = _changed(replica, (replica.version or 0) + 1, Moved(member.incarnation, A, moves))
    assert replica.answered([b"OK", b"%d" % (replica.version or 0), b"1"], 0.0) == []
    return events


def _ben_moved(version: int, old: NodeId = B, node: NodeId = A, moves: int = 1) -> MemberMoved:
    return MemberMoved(version, BEN.incarnation, old, node, moves, (B, A))


def test_a_member_is_claimed_from_the_node_that_redis_names_and_heard_when_that_is_read(replica: Replica) -> None:
    replica.claim(_at_a(BEN), 0.0)
    first = _ask(replica, CLAIM)
    assert first.arguments == ["pben", BEN.incarnation, 1, "", ""]
    assert replica.answered([b"RIVAL", b"b"], 0.0) == []
    second = _ask(replica, CLAIM)
    assert (second.rival, second.arguments[-1]) == (B, B)
    assert replica.answered([b"OK", b"11", b"1"], 0.0) == []
    assert _changed(replica, 11, Moved(BEN.incarnation, A, 1)) == [_ben_moved(11)]
    assert replica.quiet
    assert replica.members[BEN.incarnation] == _at_a(BEN)


def test_claiming_twice_is_claiming_once(replica: Replica) -> None:
    for _ in range(2):
        replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    replica.answered([b"OK", b"11", b"1"], 0.0)
    assert replica.ask(0.0) is None


def test_a_node_new_to_a_room_claims_one_of_it_as_it_is_told_all_of_it() -> None:
    replica = Replica(ROOM, A)
    replica.claim(structs.replace(_at_a(BEN), metadata={}), 0.0)
    assert _ask(replica, CLAIM).arguments[-2] == "1"
    replica.answered([b"RIVAL", b"b"], 0.0)
    _ask(replica, CLAIM)
    replica.answered([b"OK", b"11", b"1"], 0.0)
    ben = structs.replace(_at_a(BEN), metadata={"known": "to all"})
    heard = _told(replica, ben, CIA, version=11)
    assert heard == [
        MemberJoined(11, CIA),
        MemberJoined(11, ben),
        MemberMoved(11, BEN.incarnation, B, A, 1, (C, A)),
    ]
    assert replica.quiet


def test_of_two_claims_of_a_node_new_to_a_room_the_second_waits_for_its_own_move() -> None:
    replica = Replica(ROOM, A)
    replica.claim(_at_a(BEN), 0.0)
    replica.claim(_at_a(CIA), 0.0)
    _ask(replica, CLAIM)
    replica.answered([b"RIVAL", b"b"], 0.0)
    _ask(replica, CLAIM)
    replica.answered([b"OK", b"11", b"1"], 0.0)
    heard = _told(replica, _at_a(BEN), CIA, version=11)
    assert heard == [
        MemberJoined(11, CIA),
        MemberJoined(11, _at_a(BEN)),
        MemberMoved(11, BEN.incarnation, B, A, 1, (C, A)),
    ]
    _ask(replica, CLAIM)
    assert _changed(replica, 12, Moved(CIA.incarnation, A, 1)) == [MemberMoved(12, CIA.incarnation, C, A, 1, (C, A))]


def test_two_that_move_to_a_node_new_to_a_room_are_both_known_there_before_either_arrives() -> None:
    replica = Replica(ROOM, A)
    for moving in (BEN, CIA):
        replica.claim(_at_a(moving), 0.0)
        _ask(replica, CLAIM)
        replica.answered([b"OK", b"11", b"1"], 0.0)
    heard = _told(replica, _at_a(BEN), _at_a(CIA), version=12)
    assert [type(event) for event in heard] == [MemberJoined, MemberJoined, MemberMoved, MemberMoved]


def test_of_a_node_that_is_dead_or_has_stopped_no_word_is_awaited(replica: Replica) -> None:
    assert _changed(replica, 11, Moved(ANA.incarnation, B, 1, (A,))) == [
        MemberMoved(11, ANA.incarnation, A, B, 1, (B,)),
    ]


def test_a_change_has_its_own_place_also_where_one_before_it_made_no_difference(replica: Replica) -> None:
    changes = [Gone(Incarnation("nobody"), LeaveReason.LEFT), Gone(BEN.incarnation, LeaveReason.LEFT)]
    (left,) = replica.changed(Changes(ROOM, 10, 11, [*changes]), 0.0, lambda index: b"%d" % index)
    assert left == MemberLeft(11, BEN.incarnation, LeaveReason.LEFT, b"1")


def test_a_claim_that_was_answered_and_is_not_heard_of_is_asked_for_again_from_where_it_was() -> None:
    replica = Replica(ROOM, A)
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    replica.answered([b"RIVAL", b"b"], 0.0)
    _ask(replica, CLAIM)
    replica.answered([b"OK", b"11", b"1"], 0.0)
    assert replica.overdue(1.0)
    replica.resync_anew(1.0)
    _ask(replica, CLAIM)
    replica.answered([b"DUP"], 1.0)
    (_, moved) = _told(replica, _at_a(BEN), version=11)
    assert isinstance(moved, MemberMoved)
    assert moved.old == B


def test_where_the_node_of_a_claimed_member_is_dead_nothing_of_it_is_waited_for(replica: Replica) -> None:
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    assert replica.answered([b"OK", b"11", b"0"], 0.0) == [HandedOver(BEN.incarnation, b"")]


def test_a_claim_of_one_who_is_gone_or_has_moved_on_is_refused_and_forgotten(replica: Replica) -> None:
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    assert replica.answered([b"NOOP"], 0.0) == [ClaimRefused(BEN.incarnation)]
    assert list(replica.own) == [ANA.incarnation]


def test_a_claim_that_redis_cannot_do_is_refused(replica: Replica) -> None:
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    assert replica.failed() == [ClaimRefused(BEN.incarnation)]
    assert list(replica.own) == [ANA.incarnation]


def test_a_member_that_moved_away_is_kept_in_sight_until_it_is_handed_over() -> None:
    replica = _joining()
    _ask(replica, JOIN)
    replica.answered([b"OK", b"10"], 0.0)
    _told(replica, ANA, BEN, version=10)
    assert _changed(replica, 11, Moved(ANA.incarnation, B, 1)) == [MemberMoved(11, ANA.incarnation, A, B, 1, (B, A))]
    assert not replica.idle
    assert set(replica.members) == {ANA.incarnation, BEN.incarnation}
    assert replica.departed(ANA.incarnation) == [Vacated()]
    assert replica.idle


def test_a_node_with_others_in_the_room_hears_of_it_after_one_was_handed_over(replica: Replica) -> None:
    _with_amy(replica)
    _changed(replica, 12, Moved(ANA.incarnation, B, 1))
    assert replica.departed(ANA.incarnation) == []
    assert _changed(replica, 13, Gone(ANA.incarnation, LEFT, "pana")) == [MemberLeft(13, ANA.incarnation, LEFT)]


def test_a_member_that_moved_away_is_no_longer_asked_for_nor_announced_nor_let_go(replica: Replica) -> None:
    replica.mark(ANA.incarnation, away=True)
    _changed(replica, 11, Moved(ANA.incarnation, B, 1))
    replica.leave(ANA.incarnation, LEFT)
    replica.mark(ANA.incarnation, away=False)
    replica.resync(1.0)
    assert _ask(replica, RESYNC).arguments[2:] == []
    replica.answered([b"OK"], 1.0)
    assert replica.ask(1.0) is None


def test_a_move_that_is_read_late_moves_nobody_back(replica: Replica) -> None:
    assert _changed(replica, 11, Moved(BEN.incarnation, C, 2))
    assert _changed(replica, 12, Moved(BEN.incarnation, B, 1)) == []
    assert replica.members[BEN.incarnation].node == C
    assert _changed(replica, 13, Moved(Incarnation("nobody"), B, 1)) == []


@pytest.mark.parametrize("moves", [1, 2])
def test_a_room_as_a_whole_tells_of_the_moves_that_were_missed(replica: Replica, moves: int) -> None:
    replica.resync(0.0)
    assert _resynced(replica, structs.replace(ANA, node=B, moves=moves), BEN, version=15) == [
        MemberMoved(15, ANA.incarnation, A, B, moves, (B, A))
    ]
    assert ANA.incarnation not in replica.own


def test_a_member_that_was_away_is_back_with_its_move(replica: Replica) -> None:
    _changed(replica, 11, Marked(BEN.incarnation, away=True, field="pben"))
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    _changed(replica, 12, Moved(BEN.incarnation, A, 1))
    replica.answered([b"OK", b"12", b"1"], 0.0)
    assert _ask(replica, MARK).arguments == ["pben", BEN.incarnation, "0"]


def test_a_claimed_member_is_announced_as_moved_where_redis_has_lost_that(replica: Replica) -> None:
    _claim(replica)
    replica.resync_anew(1.0)
    arguments = _ask(replica, RESYNC).arguments[2:]
    rows = [arguments[start : start + 8] for start in range(0, len(arguments), 8)]
    assert [(row[1], row[6], row[7]) for row in rows] == [(ANA.incarnation, 0, "in"), (BEN.incarnation, 1, "in")]


def test_a_claim_that_is_not_answered_yet_announces_nothing_that_is_not_so(replica: Replica) -> None:
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    replica.unanswered()
    replica.resync(1.0)
    assert _ask(replica, RESYNC).arguments[-2:] == [0, "if"]


def test_claims_wait_for_a_redis_that_is_away(replica: Replica) -> None:
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    replica.unanswered()
    assert replica.give_up(100.0) == replica.admit(100.0) == []
    _ask(replica, CLAIM)


def test_a_claim_of_one_who_leaves_meanwhile_is_refused_before_that_is_told(replica: Replica) -> None:
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    heard = _changed(replica, 11, Gone(BEN.incarnation, LeaveReason.TIMEOUT, "pben"))
    assert heard == [ClaimRefused(BEN.incarnation), MemberLeft(11, BEN.incarnation, LeaveReason.TIMEOUT)]
    assert replica.answered([b"NOOP"], 0.0) == []
    assert list(replica.own) == [ANA.incarnation]


def test_a_claim_is_asked_for_again_after_this_node_was_declared_dead(replica: Replica) -> None:
    replica.claim(_at_a(BEN), 0.0)
    _ask(replica, CLAIM)
    replica.unanswered()
    assert replica.lost() == [MemberLeft(10, ANA.incarnation, LOST), Vacated()]
    assert _ask(replica, CLAIM).arguments[-2] == "1"


def test_of_two_that_claim_a_member_the_first_loses_it_to_the_second(replica: Replica) -> None:
    _claim(replica, moves=1)
    assert _changed(replica, 12, Moved(BEN.incarnation, C, 2)) == [MemberMoved(12, BEN.incarnation, A, C, 2, (A,))]
    assert list(replica.own) == [ANA.incarnation]


def test_a_claim_that_comes_second_is_heard_of_as_refused_after_the_first(replica: Replica) -> None:
    replica.claim(_at_a(BEN, 1), 0.0)
    _ask(replica, CLAIM)
    moved = MemberMoved(11, BEN.incarnation, B, C, 2, (B, A))
    assert _changed(replica, 11, Moved(BEN.incarnation, C, 2)) == [moved]
    assert replica.answered([b"NOOP"], 0.0) == [ClaimRefused(BEN.incarnation)]
    assert list(replica.own) == [ANA.incarnation]


def test_a_leave_that_comes_after_the_move_removes_nobody(replica: Replica) -> None:
    _with_amy(replica)
    replica.leave(ANA.incarnation, LEFT)
    _ask(replica, LEAVE)
    assert _changed(replica, 12, Moved(ANA.incarnation, B, 1)) == [MemberMoved(12, ANA.incarnation, A, B, 1, (B, A))]
    assert replica.answered([b"NOOP"], 0.0) == []
    assert ANA.incarnation in replica.members
    assert replica.ask(0.0) is None


def test_a_member_that_was_to_leave_when_it_moved_keeps_no_room_in_sight(replica: Replica) -> None:
    replica.leave(ANA.incarnation, LEFT)
    assert _changed(replica, 11, Moved(ANA.incarnation, B, 1))[1:] == [Vacated()]


def test_a_member_that_left_while_it_moved_away_is_waited_for_no_longer(replica: Replica) -> None:
    _changed(replica, 11, Moved(ANA.incarnation, B, 1), Gone(ANA.incarnation, LEFT, "pana"))
    assert replica.idle
    assert replica.version is None


def test_a_node_that_is_declared_dead_while_one_moves_away_hears_that_it_is_in_no_room(replica: Replica) -> None:
    _changed(replica, 11, Moved(ANA.incarnation, B, 1))
    assert replica.lost() == [Vacated()]
    assert replica.idle


# ---------------------------------------------------------------------------------------------- against a real server


@settings(max_examples=120, phases=QUICK)
@given(st.data())
def test_nodes_agree_in_the_end_when_nothing_goes_wrong(shared_store: Store, data: st.DataObject) -> None:
    _play(shared_store, data, STEPS)


@settings(max_examples=150, phases=QUICK)
@given(st.data())
def test_nodes_agree_in_the_end_whatever_happens_on_the_way(shared_store: Store, data: st.DataObject) -> None:
    _play(shared_store, data, [*STEPS, *MISHAPS])


@pytest.fixture(autouse=True)
def _nodes_may_be_declared_dead(expected_logs: ExpectedLogs) -> None:
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
            node.bucket.tend()
            world.now += 0.5
        case "break":
            node.detach()
        case "attach":
            node.attach()
        case "restart" | "empty":
            world.restart(empty=step == "empty")
        case "dead":
            world.declare_dead(node)
