from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.entries import Change, Changes, Frame, Moved, OwnerFenced, Snapshot
from mcp_actors.broker.redis.scripts import RESYNC
from mcp_actors.broker.redis.sequence_tracker import EPOCH
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import (
    CutoverAcked,
    FramesLost,
    HandedOver,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    PresenceChanged,
    Receipt,
    RemoteBroadcast,
    RemoteSignal,
    Unsubscribed,
)
from tests.broker.redis.buckets import (
    ANA,
    BEN,
    CIA,
    KEYS,
    LEASE,
    UNA,
    BucketHarness,
    claim_ben,
    frames_by_inbox,
    make_bucket,
    receive_cutover,
)
from tests.broker.redis.lua import ROOM, A, B, C, leaving, peer, presence, user
from tests.broker.redis.nodes import SteppedNode, World, check_at_rest

if TYPE_CHECKING:
    from mcp_actors.protocol.identifiers import NodeId
    from tests.broker.redis.lua import Store
    from tests.conftest import ExpectedLogs

MISHAPS = ["break", "unanswered", "undone", "restart", "empty"]


def test_frames_are_emitted_once_and_in_order(home: BucketHarness) -> None:
    for number in (1, 2, 1, 3, 3, 2):
        home.frame(number)
    assert home.news() == [home.signalled(1), home.signalled(2), home.signalled(3)]
    assert home.bucket.counters.duplicates == 3


def test_a_broadcast_is_emitted(home: BucketHarness) -> None:
    home.frame(1, UNA, ANA, "broadcast", 7)
    assert home.news() == [RemoteBroadcast(UNA.incarnation, ANA.incarnation, b"frame 1", 7)]


def test_lost_frames_are_detected(home: BucketHarness, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "frames from another node were lost")
    home.frame(1)
    home.frame(4)
    assert home.news() == [home.signalled(1), FramesLost(ANA.incarnation), home.signalled(4)]
    assert home.bucket.counters.gaps == 1


def test_frames_of_unknown_members_are_dropped(home: BucketHarness) -> None:
    home.frame(1, CIA)
    assert home.news() == []
    assert home.bucket.counters.stale == 1
    home.changed(11, CIA)
    assert home.news() == [MemberJoined(11, CIA)]


def test_frames_of_members_that_left_are_dropped(home: BucketHarness) -> None:
    home.changed(11, leaving(BEN, LeaveReason.LEFT))
    home.frame(1)
    assert home.news() == [MemberLeft(11, BEN.incarnation, LeaveReason.LEFT)]


def test_frames_for_a_member_from_before_this_node_had_the_room_are_returned(home: BucketHarness) -> None:
    home.frame(1, UNA, user("eve"), "broadcast", 7)
    home.frame(1, BEN, CIA, "signal", 8)
    home.changed(11, CIA)
    home.frame(1, BEN, CIA, "signal", 9)
    assert home.news() == [MemberJoined(11, CIA)]
    assert home.bucket.counters.stale == 3
    returned = [(frame.delivery_id, frame.body) for frame in frames_by_inbox(home.written())[KEYS.inbox(B)]]
    assert returned == [(7, b"0"), (8, b"0"), (9, b"3")]


def test_a_handover_that_is_read_again_lets_no_frames_in_that_are_read_again_behind_it(home: BucketHarness) -> None:
    home.changed(11, CIA)
    home.bucket.receive([Frame(ROOM, B, CIA.incarnation, 1, "handover", 0, b"from an earlier stay here")])
    home.frame(1, BEN, CIA, "signal", 9)
    assert home.news() == [MemberJoined(11, CIA)]
    returned = [(frame.delivery_id, frame.body) for frame in frames_by_inbox(home.written())[KEYS.inbox(B)]]
    assert returned == [(9, b"3")]


def test_frames_for_a_member_that_left_reach_the_other_users(home: BucketHarness) -> None:
    eve = user("eve")
    home.bucket.open_room(ROOM).join(eve, 10)
    home.changed(11, eve)
    home.changed(12, leaving(eve, LeaveReason.LEFT))
    home.news()
    home.frame(1, UNA, eve, "broadcast", 7)
    home.frame(1, UNA, eve, "broadcast", 7)
    assert home.news() == [RemoteBroadcast(UNA.incarnation, eve.incarnation, b"frame 1", 7)]


def test_frames_wait_for_the_snapshot_with_their_senders(home: BucketHarness) -> None:
    home.changed(12, leaving(UNA, LeaveReason.LEFT))  # 11 is missing: all is asked for
    home.frame(1, CIA)
    home.frame(2, CIA)
    home.frame(1, peer("nobody", B))
    assert home.news() == []
    home.answer([b"OK"])
    home.snapshot(ANA, BEN, CIA, version=12, token="1")  # noqa: S106 - of a question
    left = MemberLeft(12, UNA.incarnation, LeaveReason.LEFT)
    assert home.news() == [left, MemberJoined(12, CIA), home.signalled(1, CIA), home.signalled(2, CIA)]
    assert home.bucket.counters.stale == 1


def test_waiting_frames_are_limited() -> None:
    made = make_bucket(max_remote_messages=2)
    made.changed(12)
    for number in (1, 2, 3):
        made.frame(number, CIA)
    assert made.bucket.counters.stale == 1


def test_waiting_frames_of_an_abandoned_room_are_dropped() -> None:
    made = make_bucket(max_remote_messages=2)
    made.changed(12)
    for number in (1, 2):
        made.frame(number, CIA)
    made.bucket.abandon(ROOM)
    made.bucket.open_room(ROOM).join(peer("zoe"), 10)
    made.frame(1, CIA, peer("zoe"))
    assert made.bucket.counters.stale == 0


def test_receipts_are_emitted(home: BucketHarness) -> None:
    for delivery_id, body in enumerate((b"0", b"1", b"2", b"3")):
        home.bucket.receive([Frame(ROOM, BEN.incarnation, ANA.incarnation, 0, "receipt", delivery_id, body)])
    ana, ben = ANA.incarnation, BEN.incarnation
    assert home.news() == [
        Receipt(ana, ben, 0, delivered=False),
        Receipt(ana, ben, 1, delivered=True),
        Receipt(ana, ben, 2, delivered=True, queued=True),
        Receipt(ana, ben, 3, delivered=False, moved=True),
    ]


def test_a_receipt_goes_to_the_node_of_the_sender(home: BucketHarness) -> None:
    receipts = [
        Receipt(BEN.incarnation, ANA.incarnation, 5, delivered=True),
        Receipt(BEN.incarnation, ANA.incarnation, 5, delivered=True, queued=True),
        Receipt(BEN.incarnation, ANA.incarnation, 5, delivered=False),
        Receipt(BEN.incarnation, ANA.incarnation, 5, delivered=False, full=True),
        Receipt(BEN.incarnation, ANA.incarnation, 5, delivered=False, superseded=8),
    ]
    for receipt in receipts:
        home.bucket.sender.send_receipt(ROOM, BEN, receipt)
    other = BucketHarness(node=B)
    other.bucket.open_room(ROOM).join(BEN, 10)
    other.snapshot(BEN)
    other.news()
    (command,) = home.written().commands
    assert command[1] == KEYS.inbox(B)
    read: Any = entries.read([b"frames", command[-1]])
    other.bucket.receive(read)
    assert other.news() == receipts


def test_senders_learn_that_a_node_is_gone(home: BucketHarness) -> None:
    home.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"one", 3)
    home.bucket.sender.send(ROOM, "broadcast", ANA, [UNA], b"two", 0)
    home.bucket.sender.send_receipt(ROOM, BEN, Receipt(BEN.incarnation, ANA.incarnation, 5, delivered=True))
    home.answer(None)
    home.now += RedisSettings(lease=LEASE).grace
    home.bucket.housekeeping()
    assert home.news() == []
    home.answer(None)
    home.now += 0.1
    home.bucket.housekeeping()
    assert home.news() == [
        Receipt(ANA.incarnation, BEN.incarnation, 3, delivered=False),
        Receipt(ANA.incarnation, UNA.incarnation, 0, delivered=False),
    ]
    assert home.bucket.counters.unreachable == 3


def test_frames_for_a_missing_inbox_are_retried(home: BucketHarness) -> None:
    home.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"one", 3)
    home.answer(None)
    woken = home.woken
    home.bucket.housekeeping()
    assert home.woken > woken
    (command,) = home.written().commands
    assert command[:2] == ("XADD", KEYS.inbox(B))


def test_frames_are_not_given_up_while_the_link_is_down(home: BucketHarness) -> None:
    home.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"one", 3)
    home.answer(None)
    home.bucket.link_down()
    home.now += 10 * LEASE
    home.bucket.housekeeping()
    assert home.news() == []


def test_the_sequence_numbers_of_a_member_that_left_are_kept_while_frames_may_be_replayed(home: BucketHarness) -> None:
    home.frame(1)
    home.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"one", 0)
    channels = home.bucket.rooms[ROOM].replica.sequences
    assert len(channels) == 2
    home.changed(11, leaving(BEN, LeaveReason.LEFT))
    home.now += RedisSettings().replay_seconds + LEASE
    home.bucket.housekeeping()
    assert len(channels) == 2
    home.now += 0.1
    home.bucket.housekeeping()
    assert len(channels) == 0


def test_sending_in_a_room_that_was_just_lost_is_unavailable(home: BucketHarness) -> None:
    home.changed(11, leaving(ANA, LeaveReason.NODE_LOST))  # the room's mail still waits
    with pytest.raises(Unavailable, match="join it again"):
        home.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"late", 3)


@pytest.mark.parametrize(
    ("old", "node", "told"), [(B, C, [B, C]), (A, C, [C]), (B, A, [B])], ids=["others", "from here", "to here"]
)
def test_a_cutover_is_sent_to_the_other_nodes_of_the_move(
    home: BucketHarness, old: NodeId, node: NodeId, told: list[NodeId]
) -> None:
    home.bucket.sender.ack_cutover(ROOM, MemberMoved(11, CIA.incarnation, old, node, 3, (A, B, C)))
    word = Frame(ROOM, A, CIA.incarnation, 3, "cutover", 0, b"")
    assert frames_by_inbox(home.written()) == {KEYS.inbox(one): [word] for one in told}


def test_a_cutover_follows_all_earlier_frames(home: BucketHarness) -> None:
    home.bucket.sender.send(ROOM, "signal", ANA, [BEN], b"before", 0)
    home.bucket.sender.ack_cutover(ROOM, MemberMoved(11, BEN.incarnation, B, C, 1, (A, B)))
    home.bucket.sender.send(ROOM, "signal", ANA, [structs.replace(BEN, node=C, epoch=1)], b"after", 0)
    sent = frames_by_inbox(home.written())
    assert [frame.kind for frame in sent[KEYS.inbox(B)]] == ["signal", "cutover"]
    assert [(frame.kind, frame.number) for frame in sent[KEYS.inbox(C)]] == [("cutover", 1), ("signal", EPOCH + 1)]


def test_a_cutover_is_emitted_with_its_epoch(home: BucketHarness) -> None:
    receive_cutover(home, B, 4)
    assert home.news() == [CutoverAcked(ANA.incarnation, B, 4)]


def test_a_cutover_waits_behind_earlier_frames() -> None:
    made = BucketHarness()
    made.bucket.open_room(ROOM).join(peer("ana"), 10)
    made.answer([b"OK", b"10"])
    made.frame(1)
    receive_cutover(made, B)
    assert made.news() == []
    made.snapshot(ANA, BEN)
    assert made.news()[-2:] == [made.signalled(1), CutoverAcked(ANA.incarnation, B, 1)]


def test_a_handover_goes_to_the_new_node(home: BucketHarness) -> None:
    home.bucket.sender.hand_over(ROOM, structs.replace(ANA, node=C, epoch=2), b"state")
    assert frames_by_inbox(home.written()) == {
        KEYS.inbox(C): [Frame(ROOM, A, ANA.incarnation, 2, "handover", 0, b"state")]
    }


def test_a_repeated_handover_is_emitted_once(home: BucketHarness) -> None:
    claim_ben(home, epoch=1)
    for _ in range(2):
        home.bucket.receive([Frame(ROOM, B, BEN.incarnation, 1, "handover", 0, b"state")])
    assert home.news() == [HandedOver(BEN.incarnation, b"state", B)]
    assert home.bucket.counters.duplicates == 1


def test_a_handover_of_an_earlier_move_is_ignored(home: BucketHarness) -> None:
    claim_ben(home, epoch=3)
    for epoch in (1, 3):
        home.bucket.receive([Frame(ROOM, B, BEN.incarnation, epoch, "handover", 0, b"by move %d" % epoch)])
    assert home.news() == [HandedOver(BEN.incarnation, b"by move 3", B)]
    assert home.bucket.counters.stale == 1


def test_a_frame_of_an_earlier_epoch_is_answered_and_not_emitted(home: BucketHarness) -> None:
    claim_ben(home, epoch=2)
    home.written()
    for number, epoch in ((1, 0), (2 * EPOCH + 1, 2)):
        home.bucket.receive([Frame(ROOM, UNA.incarnation, BEN.incarnation, number, "signal", 7, b"", epoch=epoch)])
    assert home.news() == [RemoteSignal(UNA.incarnation, BEN.incarnation, b"", 7)]
    assert home.bucket.counters.stale == 1
    assert frames_by_inbox(home.written()) == {
        KEYS.inbox(B): [Frame(ROOM, BEN.incarnation, UNA.incarnation, 0, "receipt", 7, b"3")]
    }


def test_a_frame_without_an_id_of_an_earlier_epoch_is_answered_too_but_not_one_that_is_read_again(
    home: BucketHarness,
) -> None:
    claim_ben(home, epoch=2)
    home.written()
    stale = Frame(ROOM, UNA.incarnation, BEN.incarnation, 1, "signal", 0, b"", epoch=0)
    for _ in range(2):
        home.bucket.receive([stale])
    assert frames_by_inbox(home.written()) == {
        KEYS.inbox(B): [Frame(ROOM, BEN.incarnation, UNA.incarnation, 0, "receipt", 0, b"3")]
    }
    assert (home.bucket.counters.stale, home.bucket.counters.duplicates) == (1, 1)


def test_frames_of_a_member_that_were_sent_by_a_fenced_owner_are_dropped(home: BucketHarness) -> None:
    home.changed(11, Moved(BEN.incarnation, C, 2))
    home.frame(1)
    home.changed(12, OwnerFenced(BEN.incarnation, 2))
    home.news()
    home.frame(2)
    home.frame(2 * EPOCH + 1)
    assert home.news() == [home.signalled(2 * EPOCH + 1)]
    assert home.bucket.counters.stale == 1


def test_frames_of_different_epochs_are_counted_separately(home: BucketHarness) -> None:
    home.frame(1)
    home.changed(11, Moved(BEN.incarnation, C, 1))
    home.news()
    for number in (EPOCH + 1, EPOCH + 2, 2):
        home.frame(number)
    assert home.news() == [home.signalled(EPOCH + 1), home.signalled(EPOCH + 2)]
    assert home.bucket.counters.gaps == 0


def test_frames_for_a_member_that_moved_away_are_emitted_until_it_is_released(home: BucketHarness) -> None:
    home.changed(11, Moved(ANA.incarnation, B, 1))
    home.news()
    home.frame(1)
    receive_cutover(home, B)
    assert home.news() == [home.signalled(1), CutoverAcked(ANA.incarnation, B, 1)]
    room = home.bucket.rooms[ROOM]
    home.bucket.deliver(room, room.replica.release(ANA.incarnation))
    assert home.news() == [Unsubscribed()]
    assert len(home.bucket.rooms) == 0
    home.frame(2)
    assert home.news() == []


def test_a_fenced_node_unsubscribes_from_members_that_moved_away(home: BucketHarness) -> None:
    home.changed(11, Moved(ANA.incarnation, B, 1))
    home.news()
    home.bucket.link_down()
    home.bucket.link_up("run", fenced=True)
    assert home.news() == [Unsubscribed()]
    assert len(home.bucket.rooms) == 0


def test_cutovers_and_handovers_are_replayed(home: BucketHarness) -> None:
    move = MemberMoved(11, CIA.incarnation, B, C, 1, (A, B, C))
    home.bucket.sender.ack_cutover(ROOM, move)
    home.bucket.sender.hand_over(ROOM, structs.replace(ANA, node=C, epoch=1), b"state")
    first = frames_by_inbox(home.answer(b"1-1", b"1-1"))
    home.bucket.link_down()
    home.bucket.link_up("another")
    again = frames_by_inbox(home.written())
    assert again == first
    assert [frame.kind for frame in again[KEYS.inbox(C)]] == ["cutover", "handover"]


def _offsets(home: BucketHarness, *names: str) -> list[bytes]:
    return [getattr(event, "offset", b"") for event in home.news() if not names or type(event).__name__ in names]


def test_frames_have_offsets_if_sessions_can_resume() -> None:
    home = make_bucket(resume_window=30.0)
    home.news()
    frames = [Frame(ROOM, BEN.incarnation, ANA.incarnation, number, "signal", 0, b"") for number in (1, 2)]
    home.bucket.receive([*frames], b"5-1")
    home.bucket.receive([Frame(ROOM, UNA.incarnation, ANA.incarnation, 1, "broadcast", 0, b"")], b"5-2")
    assert _offsets(home) == [b"5-1.0@a", b"5-1.1@a", b"5-2.0@a"]


def test_frames_have_no_offsets_if_sessions_cannot_resume(home: BucketHarness) -> None:
    home.bucket.receive([Frame(ROOM, BEN.incarnation, ANA.incarnation, 1, "signal", 0, b"")], b"5-1")
    assert _offsets(home) == [b""]


def test_changes_have_offsets() -> None:
    home = make_bucket(resume_window=30.0)
    home.news()
    changes: list[Change] = [
        CIA,
        presence(BEN, detached=True),
        Moved(BEN.incarnation, C, 1),
        leaving(CIA, LeaveReason.LEFT),
    ]
    home.bucket.receive(Changes(ROOM, 10, 11, changes), b"7-3")
    heard = home.news()
    assert [type(event) for event in heard] == [
        MemberJoined,
        PresenceChanged,
        MemberMoved,
        PresenceChanged,
        MemberLeft,
    ]
    assert [getattr(event, "offset", b"") for event in heard] == [b"7-3.%d@a" % index for index in (0, 1, 2, 2, 3)]


def test_a_frame_that_waits_keeps_its_offset() -> None:
    made = BucketHarness(resume_window=30.0)
    made.bucket.open_room(ROOM).join(peer("ana"), 10)
    made.answer([b"OK", b"10"])
    made.bucket.receive([Frame(ROOM, BEN.incarnation, ANA.incarnation, 1, "signal", 0, b"")], b"5-1")
    made.bucket.receive(Snapshot(ROOM, 10, "run", "", [ANA, BEN]), b"6-1")
    assert _offsets(made, "RemoteSignal") == [b"5-1.0@a"]


MISHAPS = ["break", "unanswered", "undone", "restart", "empty"]


@settings(max_examples=60)
@given(st.data())
def test_frames_arrive_once_and_in_order_with_faults(  # noqa: C901, PLR0912
    shared_store: Store, data: st.DataObject
) -> None:
    world = World(shared_store)
    nodes = [SteppedNode(world, name) for name in (A, B, C)]
    members = {}
    for node in nodes:
        node.attach()
        members[node.id] = peer(f"of {node.id}", node.id)
        node.join(members[node.id])
    world.settle()
    sent: dict[tuple[str, str], list[bytes]] = {}
    for number in range(data.draw(st.integers(1, 40))):
        node = data.draw(st.sampled_from(nodes))
        match data.draw(st.sampled_from(["send", "send", "send", "write", "read", "attach", *MISHAPS])):
            case "send":
                other = data.draw(st.sampled_from([one for one in nodes if one is not node]))
                node.signal(members[node.id].incarnation, members[other.id], number)
                pair = (members[node.id].incarnation, members[other.id].incarnation)
                sent.setdefault(pair, []).append(str(number).encode())
            case "write":
                node.write()
            case "read":
                node.read(data.draw(st.integers(1, 5)))
            case "attach":
                node.attach()
            case "break":
                node.detach()
            case "unanswered":
                node.write(answered=False)
            case "undone":
                node.write(done=False)
            case "restart":
                world.restart(empty=False)
            case "empty":
                world.restart(empty=True)
    world.come_to_rest()
    check_at_rest(world, [ROOM])
    arrived: dict[tuple[str, str], list[bytes]] = {}
    for node in nodes:
        assert list(node.asked.values()) == ["joined"]
        for event in node.frames:
            arrived.setdefault((event.sender, event.target), []).append(event.frame)
    assert arrived == sent


def test_frames_of_a_member_that_has_moved_wait_for_the_snapshot_that_says_so(home: BucketHarness) -> None:
    home.changed(13, leaving(peer("missed"), LeaveReason.LEFT))
    assert home.asked() == [RESYNC.digest]
    home.frame(EPOCH + 1)
    home.frame(1)
    assert home.news() == [home.signalled(1)]
    home.snapshot(ANA, structs.replace(BEN, node=C, epoch=1), version=13, token="1")  # noqa: S106 - of a question
    assert [type(one) for one in home.news()][-2:] == [MemberMoved, RemoteSignal]
