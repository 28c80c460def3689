from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from mcp_actors.broker.redis.bucket import Bucket
from mcp_actors.broker.redis.connection import LinkLost
from mcp_actors.broker.redis.entries import Audit, AuditedRoom, Changes, Damaged, Frame, Moved, Snapshot
from mcp_actors.broker.redis.requests import Operation
from mcp_actors.broker.redis.scripts import AUDIT, CLAIM, JOIN, LEAVE, RESYNC
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    JoinRefused,
    LeaveAccepted,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    Moderated,
    Unsubscribed,
)
from mcp_actors.protocol.identifiers import RoomId
from tests.broker.redis.buckets import (
    ANA,
    BEN,
    CIA,
    KEYS,
    LEASE,
    OK,
    BucketHarness,
    make_bucket,
)
from tests.broker.redis.lua import ROOM, A, B, leaving, peer

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs


def test_a_join_is_sent_and_emitted_when_it_is_read() -> None:
    made = BucketHarness()
    made.bucket.open_room(ROOM).join(peer("ana"), 10)
    assert made.woken
    batch = made.answer([b"OK", b"10"])
    (command,) = batch.commands
    assert command[:2] == ("EVALSHA", JOIN.digest)
    assert command[3 : 3 + command[2]] == KEYS.of_room(ROOM, [A])
    assert made.news() == []
    made.snapshot(BEN, ANA)
    assert made.news() == [MemberJoined(10, BEN), MemberJoined(10, ANA)]


def test_a_room_is_forgotten_with_its_refused_join() -> None:
    made = BucketHarness()
    made.bucket.open_room(ROOM).join(peer("ana"), 10)
    made.answer([b"TAKEN", b"9"])
    assert made.news() == [JoinRefused(ANA.incarnation, ErrorCode.PEER_ID_TAKEN)]
    assert len(made.bucket.rooms) == 0


def test_a_room_is_forgotten_with_its_last_member(home: BucketHarness) -> None:
    home.bucket.rooms[ROOM].leave(ANA.incarnation, LeaveReason.LEFT)
    assert home.asked() == [LEAVE.digest]
    home.changed(11, leaving(ANA, LeaveReason.LEFT))
    assert home.news() == [MemberLeft(11, ANA.incarnation, LeaveReason.LEFT), Unsubscribed()]


def test_entries_of_unknown_rooms_are_ignored(home: BucketHarness) -> None:
    home.bucket.receive(Changes(RoomId("another"), 0, 1, [BEN]))
    home.bucket.receive(Snapshot(RoomId("another"), 1, "run", "", [BEN]))
    home.bucket.receive([Frame(RoomId("another"), "b.ben", "a.ana", 1, "signal", 0, b"")])
    assert home.news() == []
    assert home.bucket.counters.stale == 1


def test_abandoning_an_unknown_room_does_nothing(home: BucketHarness) -> None:
    home.bucket.abandon(RoomId("another"))
    assert home.written().commands == []


def test_an_abandoned_room_removes_its_members(home: BucketHarness) -> None:
    home.bucket.abandon(ROOM)
    home.answer([b"OK", b"11"])
    home.changed(11, leaving(ANA, LeaveReason.DISCONNECTED))
    assert home.news() == []
    assert len(home.bucket.rooms) == 0


@pytest.mark.parametrize("reply", [[b"FENCED"], NoPermissionError("no permissions")], ids=["fenced", "denied"])
def test_a_reply_that_concerns_the_whole_node_ends_the_link(home: BucketHarness, reply: Any) -> None:
    home.bucket.open_room(ROOM).join(peer("zoe"), 10)
    with pytest.raises(LinkLost):
        home.answer(reply)


def test_joins_without_memory_are_refused_and_logged_once(home: BucketHarness, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis is out of memory, joins are refused")
    for name in ("zoe", "zed"):
        home.bucket.open_room(ROOM).join(peer(name), 10)
        home.answer(OutOfMemoryError("OOM"))
        assert home.news() == [JoinRefused(peer(name).incarnation, ErrorCode.UNAVAILABLE)]
    assert len(expected_logs.records) == 1


def test_a_request_that_redis_refuses_fails_in_its_room_alone(home: BucketHarness, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis refused a request")
    home.bucket.open_room(ROOM).join(peer("zoe"), 10)
    home.answer(ResponseError("WRONGTYPE"))
    assert home.news() == [JoinRefused(peer("zoe").incarnation, ErrorCode.UNAVAILABLE)]
    home.bucket.rooms[ROOM].leave(ANA.incarnation, LeaveReason.LEFT)
    home.answer(ResponseError("WRONGTYPE"))
    assert home.news()[0] == MemberLeft(10, ANA.incarnation, LeaveReason.LEFT)


def test_a_confirmed_join_that_does_not_arrive_is_repeated(home: BucketHarness) -> None:
    home.bucket.open_room(ROOM).join(peer("zoe"), 10)
    home.answer([b"OK", b"11"])
    home.now += 100.0
    home.bucket.housekeeping()
    home.answer([b"OK"])  # the whole room comes first
    assert home.asked() == [JOIN.digest]


def test_requests_without_a_reply_are_repeated_over_the_next_link(home: BucketHarness) -> None:
    home.bucket.rooms[ROOM].leave(ANA.incarnation, LeaveReason.LEFT)
    batch = home.written()
    home.bucket.queue.give_back(batch)
    home.bucket.link_down()
    assert not home.bucket.up
    assert home.written().commands == []
    home.bucket.link_up("run", fenced=False)
    assert home.asked() == [LEAVE.digest]


def test_requests_wait_while_the_link_is_down(home: BucketHarness) -> None:
    home.bucket.link_down()
    home.bucket.open_room(ROOM).join(peer("zoe"), 10)
    assert home.written().commands == []
    home.bucket.link_up("run", fenced=False)
    assert home.asked() == [JOIN.digest]


def test_rooms_that_this_node_left_before_redis_lost_that_are_announced_later() -> None:
    made = BucketHarness()
    made.bucket.link_up("run")
    made.written()
    made.bucket.link_up("another")
    made.written()
    made.now += RedisSettings(lease=LEASE).grace - 1
    made.bucket.housekeeping()
    assert not made.written().commands
    made.now += 2
    made.bucket.housekeeping()
    batch = made.answer([b"room123"])
    assert [command[0] for command in batch.commands] == ["SMEMBERS"]
    assert made.asked() == [RESYNC.digest]


def test_a_restarted_server_gets_rooms_first_and_then_replayed_frames(home: BucketHarness) -> None:
    home.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"kept", 0)
    home.answer(OK)
    home.bucket.open_room(ROOM).join(peer("zoe"), 10)
    home.bucket.queue.give_back(home.written())
    home.bucket.link_down()
    home.bucket.link_up("another", fenced=False)
    resync, replayed = home.written().commands
    assert resync[:2] == ("EVALSHA", RESYNC.digest)
    assert replayed[:2] == ("XADD", KEYS.inbox(B))
    assert (home.bucket.counters.epochs, home.bucket.counters.replayed, home.bucket.counters.resyncs) == (1, 1, 1)


def test_frames_kept_for_replay_do_not_age_while_redis_is_away() -> None:
    made = make_bucket(replay_seconds=10.0)
    made.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"kept", 0)
    made.answer(OK)
    made.now += 9.0
    made.bucket.link_down()
    made.now += 1000.0
    made.bucket.housekeeping()
    made.bucket.link_up("another", fenced=False)
    assert made.bucket.counters.replayed == 1
    assert [command[0] for command in made.written().commands] == ["EVALSHA", "XADD"]


def test_frames_kept_for_replay_age_while_redis_is_there() -> None:
    made = make_bucket(replay_seconds=10.0)
    made.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"kept", 0)
    made.answer(OK)
    for _ in range(3):
        made.now += 4.0
        made.bucket.housekeeping()
        made.bucket.link_down()
        made.bucket.link_up("run", fenced=False)
    made.bucket.link_down()
    made.bucket.link_up("another", fenced=False)
    assert made.bucket.counters.replayed == 0


def test_sequence_numbers_of_members_that_left_do_not_age_while_redis_is_away(home: BucketHarness) -> None:
    home.frame(1)
    home.changed(11, leaving(BEN, LeaveReason.LEFT))
    sequences = home.bucket.rooms[ROOM].replica.sequences
    home.bucket.link_down()
    home.now += 1000.0
    home.bucket.housekeeping()
    home.bucket.link_up("run")
    home.bucket.housekeeping()
    assert len(sequences) == 1
    home.now += 1000.0
    home.bucket.housekeeping()
    assert len(sequences) == 0


def test_sequence_numbers_of_a_member_that_is_back_are_kept(home: BucketHarness) -> None:
    home.frame(1)
    home.changed(11, leaving(BEN, LeaveReason.LEFT))
    home.changed(12, BEN)
    home.now += 1000.0
    home.bucket.housekeeping()
    assert len(home.bucket.rooms[ROOM].replica.sequences) == 1


def test_a_difference_found_by_an_audit_is_repaired_and_counted(
    home: BucketHarness, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "room repaired")
    agreed = AuditedRoom(ROOM, 10, 3, [], 2, 1, sound=True)
    home.bucket.receive(Audit([agreed, structs.replace(agreed, room=RoomId("another"))]))
    assert home.written().commands == []
    home.bucket.receive(Audit([structs.replace(agreed, members=2)]))
    (command,) = home.answer([b"OK"]).commands
    assert command[1] == RESYNC.digest
    assert home.bucket.counters.repaired == 1
    assert home.news() == []


def test_damage_that_another_node_found_is_repaired_without_a_log(home: BucketHarness) -> None:
    home.bucket.receive(Damaged(RoomId("another")))
    home.bucket.receive(Damaged(ROOM))
    (command,) = home.answer([b"OK"]).commands
    assert command[1] == RESYNC.digest
    assert home.bucket.counters.repaired == 0


def test_an_audit_that_redis_refuses_is_logged_once_per_interval(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis refused an audit of rooms")
    made = make_bucket(audit_interval=10.0)
    made.bucket.housekeeping()
    (command,) = made.answer(ResponseError("WRONGTYPE")).commands
    assert command[1] == AUDIT.digest
    made.now += 9.0
    made.bucket.housekeeping()
    assert made.asked() == []
    made.now += 1.0
    made.bucket.housekeeping()
    assert made.asked() == [AUDIT.digest]


def test_a_fenced_node_emits_its_leaves_and_drops_its_frames(
    home: BucketHarness,
) -> None:
    home.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"void", 0)
    home.bucket.link_down()
    home.bucket.link_up("run", fenced=True)
    assert home.news() == [MemberLeft(10, ANA.incarnation, LeaveReason.NODE_LOST), Unsubscribed()]
    assert home.written().commands == []
    assert len(home.bucket.rooms) == 0


def test_joins_in_flight_go_on_after_the_node_was_fenced() -> None:
    made = make_bucket()
    made.bucket.open_room(ROOM).join(peer("zoe"), 10)
    made.written()
    made.bucket.link_down()
    made.news()
    made.bucket.link_up("run", fenced=True)
    assert made.news() == [MemberLeft(10, ANA.incarnation, LeaveReason.NODE_LOST), Unsubscribed()]
    (command,) = made.written().commands
    assert command[1] == JOIN.digest
    assert command[-2:] == ("1", "")


def test_joins_are_refused_after_the_outage_patience() -> None:
    made = make_bucket(outage_patience=2.0)
    made.news()
    made.bucket.link_down()
    made.bucket.open_room(ROOM).join(peer("zoe"), 10)
    made.now += 2.0
    made.bucket.housekeeping()
    assert made.news() == []
    made.now += 0.1
    made.bucket.housekeeping()
    assert made.news() == [JoinRefused(peer("zoe").incarnation, ErrorCode.UNAVAILABLE)]
    made.bucket.link_up("run", fenced=False)
    assert made.written().commands == []


def test_a_leave_is_accepted_at_once_while_the_link_is_down(home: BucketHarness) -> None:
    home.bucket.link_down()
    home.bucket.open_room(ROOM).leave(ANA.incarnation, LeaveReason.LEFT)
    assert home.news() == [LeaveAccepted(ANA.incarnation, LeaveReason.LEFT)]
    home.bucket.housekeeping()
    assert home.news() == []
    home.bucket.link_up("run", fenced=False)
    assert home.asked() == [LEAVE.digest]


def test_a_leave_under_way_is_accepted_when_the_link_breaks(home: BucketHarness) -> None:
    home.bucket.open_room(ROOM).leave(ANA.incarnation, LeaveReason.LEFT)
    assert home.asked() == [LEAVE.digest]
    assert home.news() == []
    home.bucket.link_down()
    home.bucket.housekeeping()
    assert home.news() == [LeaveAccepted(ANA.incarnation, LeaveReason.LEFT)]


def test_requests_of_moderators_wait_for_the_outage_patience_and_then_no_longer(home: BucketHarness) -> None:
    refused = Moderated(ANA.incarnation, done=False, failed=True)
    room = home.bucket.rooms[ROOM]
    home.bucket.link_down()
    home.now += 1.0
    room.moderate(ANA.incarnation, Operation.LOCK, ())
    home.now += 0.9
    home.bucket.housekeeping()
    assert home.news() == []
    home.now += 0.2
    home.bucket.housekeeping()
    assert home.news() == [refused]
    room.moderate(ANA.incarnation, Operation.LOCK, ())
    assert home.news() == [refused]
    home.bucket.link_up("run", fenced=False)
    assert home.asked() == []


def test_joins_succeed_locally_if_the_operator_wants_that() -> None:
    made = make_bucket(outage_joins="local")
    made.news()
    made.bucket.link_down()
    made.bucket.open_room(ROOM).join(peer("zoe"), 10)
    made.now += 2.1
    made.bucket.housekeeping()
    assert made.news() == [MemberJoined(10, structs.replace(peer("zoe"), order=3))]
    made.bucket.link_up("run", fenced=False)
    assert made.asked() == [RESYNC.digest]


def test_an_overdue_snapshot_is_requested_again(home: BucketHarness) -> None:
    home.changed(12, CIA)
    assert home.asked() == [RESYNC.digest]
    home.bucket.link_down()
    home.bucket.link_up("run", fenced=False)
    home.answer([b"OK"])
    home.now += LEASE
    home.bucket.housekeeping()
    assert home.asked() == []
    home.now += 0.1
    home.bucket.housekeeping()
    assert home.asked() == [RESYNC.digest]


def test_what_a_slow_listener_returns_is_kept_to_be_awaited() -> None:
    class Later:
        def __await__(self) -> Any:
            yield

    later = Later()
    bucket = Bucket(KEYS, A, lambda _room, _event: later, RedisSettings(), lambda: None, lambda: 0.0)
    bucket.link_up("run", fenced=False)
    bucket.open_room(ROOM).join(peer("ana"), 10)
    bucket.receive(Snapshot(ROOM, 1, "run", "", [ANA]))
    assert bucket.slow == [later]


def test_a_claim_is_repeated_with_the_owner_of_the_member(home: BucketHarness) -> None:
    ben = structs.replace(BEN, node=A, epoch=1)
    home.bucket.open_room(ROOM).claim(ben)
    home.answer([b"OWNER", b"b"])
    (command,) = home.answer([b"OK", b"11", b"1"]).commands
    assert command[1] == CLAIM.digest
    assert command[-1] == B
    home.changed(11, Moved(BEN.incarnation, A, 1))
    assert home.news() == [MemberMoved(11, BEN.incarnation, B, A, 1, (B, A))]


def test_a_claim_of_a_member_that_nobody_has_announced_yet_is_repeated_after_a_pause(home: BucketHarness) -> None:
    home.bucket.open_room(ROOM).claim(structs.replace(BEN, node=A, epoch=1))
    home.answer([b"LATER", b"900"])
    home.bucket.housekeeping()
    assert home.asked() == []
    home.now += 0.25
    home.bucket.housekeeping()
    assert home.asked() == [CLAIM.digest]


def test_a_claim_is_repeated_over_the_next_link(home: BucketHarness) -> None:
    home.bucket.open_room(ROOM).claim(structs.replace(BEN, node=A, epoch=1))
    assert home.asked() == [CLAIM.digest]
    home.bucket.link_down()
    home.now += 100.0
    home.bucket.housekeeping()
    assert home.news() == []
    home.bucket.link_up("run")
    assert home.asked() == [CLAIM.digest]
