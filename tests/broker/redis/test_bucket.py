from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from redis.exceptions import OutOfMemoryError, ResponseError

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.bucket import SUSPICION, Bucket, RedisSettings
from mcp_actors.broker.redis.channels import ERA
from mcp_actors.broker.redis.connection import LinkLost
from mcp_actors.broker.redis.entries import Change, Changes, Frame, Gone, Marked, Moved, Snapshot
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.scripts import CLAIM, JOIN, LEAVE, RESYNC
from mcp_actors.protocol.errors import ErrorCode, Unavailable
from mcp_actors.protocol.events import (
    Announced,
    Event,
    FramesLost,
    HandedOver,
    JoinRefused,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    MemberMarked,
    MemberMoved,
    Receipt,
    Signalled,
    Switched,
    Vacated,
)
from mcp_actors.protocol.identifiers import NodeId, RoomId
from tests.broker.redis.lua import ROOM, A, B, C, peer, user
from tests.broker.redis.nodes import SteppedNode, World, check_at_rest

if TYPE_CHECKING:
    from mcp_actors.broker.redis.outgoing import Batch
    from tests.broker.redis.lua import Store
    from tests.conftest import ExpectedLogs

LEASE = 6.0
KEYS = Keys("test", 0, 1)
ANA = structs.replace(peer("ana"), order=1)
BEN = structs.replace(peer("ben", B), order=2)
CIA = structs.replace(peer("cia", B), order=3)
UNA = structs.replace(user("una", node=B), order=1)
OK = b"1-1"


class Home:
    """A bucket of node A with a clock that is set by hand, and what its rooms hear."""

    def __init__(self, **fields: Any) -> None:
        self.now = 100.0
        self.heard: list[Event] = []
        self.woken = 0
        self.bucket = Bucket(
            KEYS, A, self._hear, RedisSettings(**{"lease": LEASE} | fields), self._wake, lambda: self.now
        )
        self.bucket.attached("run", fenced=False)

    def _hear(self, room: RoomId, event: Event) -> None:
        assert room == ROOM
        self.heard.append(event)

    def _wake(self) -> None:
        self.woken += 1

    def news(self) -> list[Event]:
        """What was heard since the last look."""
        heard, self.heard = self.heard, []
        return heard

    def written(self) -> Batch:
        """What would be written now."""
        return self.bucket.outgoing.take()

    def answer(self, *replies: Any) -> Batch:
        """Write, and get these replies."""
        batch = self.written()
        self.bucket.outgoing.settle(batch, [*replies], self.now)
        return batch

    def asked(self) -> list[str]:
        """The digests of the scripts that would be called now."""
        return [command[1] for command in self.written().commands if command[0] == "EVALSHA"]

    def snapshot(self, *members: Member, version: int = 10, token: str = "", epoch: str = "run") -> None:
        """The room as a whole is read."""
        self.bucket.take(Snapshot(ROOM, version, epoch, token, [*members]))

    def changed(self, version: int, *changes: Change) -> None:
        """A change of the room is read."""
        self.bucket.take(Changes(ROOM, version - 1, version, [*changes]))

    def frame(self, number: int, sender: Member = BEN, target: Member = ANA, kind: Any = "s", ticket: int = 0) -> None:
        """A frame is read."""
        body = f"frame {number}".encode()
        self.bucket.take([Frame(ROOM, sender.incarnation, target.incarnation, number, kind, ticket, body)])

    def signalled(self, number: int, sender: Member = BEN) -> Signalled:
        """What is heard of a frame."""
        return Signalled(sender.incarnation, ANA.incarnation, f"frame {number}".encode(), 0)


@pytest.fixture
def home() -> Home:
    """With ana, of this node, and ben and una, of another."""
    made = _home()
    made.news()
    return made


def _home(**fields: Any) -> Home:
    made = Home(**fields)
    made.bucket.join(ROOM, peer("ana"), 10)
    made.answer([b"OK", b"10"])
    made.snapshot(ANA, BEN, UNA)
    return made


# ---------------------------------------------------------------------------------------------------------- membership


def test_a_join_is_asked_for_and_heard_when_it_is_read() -> None:
    made = Home()
    made.bucket.join(ROOM, peer("ana"), 10)
    assert made.woken
    batch = made.answer([b"OK", b"10"])
    (command,) = batch.commands
    assert command[:2] == ("EVALSHA", JOIN.digest)
    assert command[3:7] == (KEYS.nodes, KEYS.room(ROOM), KEYS.nodes_of(ROOM), KEYS.rooms_of(A))
    assert command[7] == KEYS.inbox(A)
    assert made.news() == []
    made.snapshot(BEN, ANA)
    assert made.news() == [MemberJoined(10, BEN), MemberJoined(10, ANA)]


def test_a_refused_join_is_heard_and_leaves_nothing() -> None:
    made = Home()
    made.bucket.join(ROOM, peer("ana"), 10)
    made.answer([b"TAKEN", b"9"])
    assert made.news() == [JoinRefused(ANA.incarnation, ErrorCode.PEER_ID_TAKEN)]
    assert len(made.bucket) == 0


def test_a_room_is_forgotten_with_the_last_member(home: Home) -> None:
    home.bucket.leave(ROOM, ANA.incarnation, LeaveReason.LEFT)
    assert home.asked() == [LEAVE.digest]
    home.changed(11, Gone(ANA.incarnation, LeaveReason.LEFT))
    assert home.news() == [MemberLeft(11, ANA.incarnation, LeaveReason.LEFT), Vacated()]


def test_what_is_read_of_an_unknown_room_is_dropped(home: Home) -> None:
    home.bucket.take(Changes(RoomId("another"), 0, 1, [BEN]))
    home.bucket.take(Snapshot(RoomId("another"), 1, "run", "", [BEN]))
    home.bucket.take([Frame(RoomId("another"), "b.ben", "a.ana", 1, "s", 0, b"")])
    assert home.news() == []
    assert home.bucket.counters.stale == 1


def test_leaving_or_abandoning_an_unknown_room_does_nothing(home: Home) -> None:
    home.bucket.leave(RoomId("another"), ANA.incarnation, LeaveReason.LEFT)
    home.bucket.abandon(RoomId("another"))
    assert home.written().commands == []


def test_an_abandoned_room_asks_its_members_out(home: Home) -> None:
    home.bucket.abandon(ROOM)
    home.answer([b"OK", b"11"])
    home.changed(11, Gone(ANA.incarnation, LeaveReason.DISCONNECTED))
    assert home.news() == []
    assert len(home.bucket) == 0


@pytest.mark.parametrize("reply", [[b"FENCED"], OutOfMemoryError("OOM")], ids=["fenced", "full"])
def test_a_server_that_can_do_nothing_for_this_node_ends_the_link(home: Home, reply: Any) -> None:
    home.bucket.join(ROOM, peer("zoe"), 10)
    with pytest.raises(LinkLost):
        home.answer(reply)


def test_what_cannot_be_done_about_a_room_is_refused_to_whom_it_is_about(
    home: Home, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "refuses what is asked about a room")
    home.bucket.join(ROOM, peer("zoe"), 10)
    home.answer(ResponseError("WRONGTYPE"))
    assert home.news() == [JoinRefused(peer("zoe").incarnation, ErrorCode.UNAVAILABLE)]
    home.bucket.leave(ROOM, ANA.incarnation, LeaveReason.LEFT)
    home.answer(ResponseError("WRONGTYPE"))
    assert home.news()[0] == MemberLeft(10, ANA.incarnation, LeaveReason.LEFT)


def test_a_join_that_was_answered_and_is_not_heard_of_is_asked_for_again(home: Home) -> None:
    home.bucket.join(ROOM, peer("zoe"), 10)
    home.answer([b"OK", b"11"])
    home.now += 100.0
    home.bucket.tend()
    home.answer([b"OK"])  # the whole room comes first
    assert home.asked() == [JOIN.digest]


def test_what_was_not_answered_is_asked_again_over_the_next_link(home: Home) -> None:
    home.bucket.leave(ROOM, ANA.incarnation, LeaveReason.LEFT)
    batch = home.written()
    home.bucket.outgoing.give_back(batch)
    home.bucket.detached()
    assert not home.bucket.up
    assert home.written().commands == []
    home.bucket.attached("run", fenced=False)
    assert home.asked() == [LEAVE.digest]


def test_what_is_asked_while_the_link_is_down_waits(home: Home) -> None:
    home.bucket.detached()
    home.bucket.join(ROOM, peer("zoe"), 10)
    assert home.written().commands == []
    home.bucket.attached("run", fenced=False)
    assert home.asked() == [JOIN.digest]


def test_rooms_are_synchronized_first_when_the_server_runs_anew(home: Home) -> None:
    home.bucket.send(ROOM, "s", ANA, BEN, b"kept", 0)
    home.answer(OK)
    home.bucket.join(ROOM, peer("zoe"), 10)
    home.bucket.outgoing.give_back(home.written())
    home.bucket.detached()
    home.bucket.attached("another", fenced=False)
    resync, replayed = home.written().commands
    assert resync[:2] == ("EVALSHA", RESYNC.digest)
    assert replayed[:2] == ("XADD", KEYS.inbox(B))
    assert (home.bucket.counters.epochs, home.bucket.counters.replayed, home.bucket.counters.resyncs) == (1, 1, 1)


def test_a_node_that_was_declared_dead_tells_its_rooms_and_drops_what_waits(
    home: Home,
) -> None:
    home.bucket.send(ROOM, "s", ANA, BEN, b"void", 0)
    home.bucket.detached()
    home.bucket.attached("run", fenced=True)
    assert home.news() == [MemberLeft(10, ANA.incarnation, LeaveReason.NODE_LOST), Vacated()]
    assert home.written().commands == []
    assert len(home.bucket) == 0


def test_joins_under_way_go_on_after_the_node_was_declared_dead() -> None:
    made = _home()
    made.bucket.join(ROOM, peer("zoe"), 10)
    made.written()
    made.bucket.detached()
    made.news()
    made.bucket.attached("run", fenced=True)
    assert made.news() == [MemberLeft(10, ANA.incarnation, LeaveReason.NODE_LOST), Vacated()]
    (command,) = made.written().commands
    assert command[1] == JOIN.digest
    assert peer("zoe").incarnation in command
    assert command[-3:] == ("1", "", "")


def test_joins_are_refused_when_redis_is_away_for_longer_than_they_wait() -> None:
    made = _home(outage_patience=2.0)
    made.news()
    made.bucket.detached()
    made.bucket.join(ROOM, peer("zoe"), 10)
    made.now += 2.0
    made.bucket.tend()
    assert made.news() == []
    made.now += 0.1
    made.bucket.tend()
    assert made.news() == [JoinRefused(peer("zoe").incarnation, ErrorCode.UNAVAILABLE)]
    made.bucket.attached("run", fenced=False)
    assert made.written().commands == []


def test_joins_are_let_in_by_this_node_alone_where_the_operator_says_so() -> None:
    made = _home(outage_joins="local")
    made.news()
    made.bucket.detached()
    made.bucket.join(ROOM, peer("zoe"), 10)
    made.now += 2.1
    made.bucket.tend()
    assert made.news() == [MemberJoined(10, structs.replace(peer("zoe"), order=3))]
    made.bucket.attached("run", fenced=False)
    assert made.asked() == [RESYNC.digest]


def test_a_snapshot_that_does_not_come_is_asked_for_again(home: Home) -> None:
    home.changed(12, CIA)
    assert home.asked() == [RESYNC.digest]
    home.bucket.detached()
    home.bucket.attached("run", fenced=False)
    home.answer([b"OK"])
    home.now += LEASE
    home.bucket.tend()
    assert home.asked() == []
    home.now += 0.1
    home.bucket.tend()
    assert home.asked() == [RESYNC.digest]


def test_a_listener_that_is_slow_is_awaited_later() -> None:
    class Later:
        def __await__(self) -> Any:
            yield

    later = Later()
    bucket = Bucket(KEYS, A, lambda _room, _event: later, RedisSettings(), lambda: None, lambda: 0.0)
    bucket.attached("run", fenced=False)
    bucket.join(ROOM, peer("ana"), 10)
    bucket.take(Snapshot(ROOM, 1, "run", "", [ANA]))
    assert bucket.slow == [later]


# -------------------------------------------------------------------------------------------------------------- frames


def test_frames_of_members_are_heard_once_and_in_order(home: Home) -> None:
    for number in (1, 2, 1, 3, 3, 2):
        home.frame(number)
    assert home.news() == [home.signalled(1), home.signalled(2), home.signalled(3)]
    assert home.bucket.counters.duplicates == 3


def test_a_message_for_users_is_announced(home: Home) -> None:
    home.frame(1, UNA, ANA, "m", 7)
    assert home.news() == [Announced(UNA.incarnation, ANA.incarnation, b"frame 1", 7)]


def test_frames_that_were_lost_on_the_way_are_noticed(home: Home, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "frames of another node were lost")
    home.frame(1)
    home.frame(4)
    assert home.news() == [home.signalled(1), FramesLost(ANA.incarnation), home.signalled(4)]
    assert home.bucket.counters.gaps == 1


def test_frames_of_unknown_members_are_dropped(home: Home) -> None:
    home.frame(1, CIA)
    assert home.news() == []
    assert home.bucket.counters.stale == 1
    home.changed(11, CIA)
    assert home.news() == [MemberJoined(11, CIA)]


def test_frames_of_members_who_left_are_dropped(home: Home) -> None:
    home.changed(11, Gone(BEN.incarnation, LeaveReason.LEFT))
    home.frame(1)
    assert home.news() == [MemberLeft(11, BEN.incarnation, LeaveReason.LEFT)]


def test_frames_that_come_before_the_snapshot_are_kept_until_then(home: Home) -> None:
    home.changed(12, Gone(UNA.incarnation, LeaveReason.LEFT))  # 11 is missing: all is asked for
    home.frame(1, CIA)
    home.frame(2, CIA)
    home.frame(1, peer("nobody", B))
    assert home.news() == []
    home.answer([b"OK"])
    home.snapshot(ANA, BEN, CIA, version=12, token="1")  # noqa: S106 - of a question
    left = MemberLeft(12, UNA.incarnation, LeaveReason.LEFT)
    assert home.news() == [left, MemberJoined(12, CIA), home.signalled(1, CIA), home.signalled(2, CIA)]
    assert home.bucket.counters.stale == 1


def test_no_more_early_frames_are_kept_than_may_wait() -> None:
    made = _home(max_remote_messages=2)
    made.changed(12)
    for number in (1, 2, 3):
        made.frame(number, CIA)
    assert made.bucket.counters.stale == 1


def test_early_frames_of_a_room_that_was_given_up_do_not_count_for_ever() -> None:
    made = _home(max_remote_messages=2)
    made.changed(12)
    for number in (1, 2):
        made.frame(number, CIA)
    made.bucket.abandon(ROOM)
    made.bucket.join(ROOM, peer("zoe"), 10)
    made.frame(1, CIA, peer("zoe"))
    assert made.bucket.counters.stale == 0


def test_receipts_are_told_to_the_room(home: Home) -> None:
    for ticket, body in ((3, b"1"), (4, b"0")):
        home.bucket.take([Frame(ROOM, BEN.incarnation, ANA.incarnation, 0, "r", ticket, body)])
    told = [Receipt(ANA.incarnation, BEN.incarnation, 3, True), Receipt(ANA.incarnation, BEN.incarnation, 4, False)]
    assert home.news() == told


def test_a_receipt_goes_to_the_node_of_the_sender(home: Home) -> None:
    for delivered in (True, False):
        home.bucket.confirm(ROOM, BEN, Receipt(BEN.incarnation, ANA.incarnation, 5, delivered))
    other = Home()
    other.bucket._node = B
    other.bucket.join(ROOM, BEN, 10)
    other.snapshot(BEN)
    other.news()
    (command,) = home.written().commands
    assert command[1] == KEYS.inbox(B)
    read: Any = entries.read([b"r", command[-1]])
    other.bucket.take(read)
    assert other.news() == [
        Receipt(BEN.incarnation, ANA.incarnation, 5, True), Receipt(BEN.incarnation, ANA.incarnation, 5, False),
    ]  # fmt: skip


def test_frames_for_a_node_that_is_gone_are_returned_to_their_senders(home: Home) -> None:
    home.bucket.send(ROOM, "s", ANA, BEN, b"one", 3)
    home.bucket.send(ROOM, "m", ANA, UNA, b"two", 0)
    home.bucket.confirm(ROOM, BEN, Receipt(BEN.incarnation, ANA.incarnation, 5, delivered=True))
    home.answer(None)
    home.now += SUSPICION * LEASE
    home.bucket.tend()
    assert home.news() == []
    home.answer(None)
    home.now += 0.1
    home.bucket.tend()
    assert home.news() == [
        Receipt(ANA.incarnation, BEN.incarnation, 3, delivered=False),
        Receipt(ANA.incarnation, UNA.incarnation, 0, delivered=False),
    ]
    assert home.bucket.counters.unreachable == 3


def test_frames_for_a_missing_inbox_are_tried_again_when_it_is_tended(home: Home) -> None:
    home.bucket.send(ROOM, "s", ANA, BEN, b"one", 3)
    home.answer(None)
    woken = home.woken
    home.bucket.tend()
    assert home.woken > woken
    (command,) = home.written().commands
    assert command[:2] == ("XADD", KEYS.inbox(B))


def test_nothing_is_returned_while_the_link_is_down(home: Home) -> None:
    home.bucket.send(ROOM, "s", ANA, BEN, b"one", 3)
    home.answer(None)
    home.bucket.detached()
    home.now += 10 * LEASE
    home.bucket.tend()
    assert home.news() == []


def test_the_counts_of_a_member_who_left_are_kept_for_as_long_as_frames_may_come_again(home: Home) -> None:
    home.frame(1)
    home.bucket.send(ROOM, "s", ANA, BEN, b"one", 0)
    channels = home.bucket._replicas[ROOM].channels
    assert len(channels) == 2
    home.changed(11, Gone(BEN.incarnation, LeaveReason.LEFT))
    home.now += RedisSettings().replay_seconds + LEASE
    home.bucket.tend()
    assert len(channels) == 2
    home.now += 0.1
    home.bucket.tend()
    assert len(channels) == 0


def test_a_frame_of_a_member_of_whom_the_room_has_not_heard_yet_that_it_is_gone_is_no_bug(home: Home) -> None:
    home.changed(11, Gone(ANA.incarnation, LeaveReason.NODE_LOST))  # the room's mail still waits
    with pytest.raises(Unavailable, match="join it again"):
        home.bucket.send(ROOM, "s", ANA, BEN, b"late", 3)


# --------------------------------------------------------------------------------------------------------------- moves


def _sent(batch: Batch) -> dict[str, list[Frame]]:
    """The frames that a batch writes, by inbox."""
    found: dict[str, list[Frame]] = {}
    for command in batch.commands:
        if command[0] == "XADD":
            frames = entries.read([b"r", command[-1]])
            assert isinstance(frames, list)
            found.setdefault(command[1], []).extend(frames)
    return found


def _word(home: Home, of: NodeId, moves: int = 1) -> None:
    """The word of a node that it has heard of ana's move is read."""
    home.bucket.take([Frame(ROOM, of, ANA.incarnation, moves, "w", 0, b"")])


def test_a_claim_is_asked_for_with_the_rooms_of_the_node_that_has_the_member(home: Home) -> None:
    ben = structs.replace(BEN, node=A, moves=1)
    home.bucket.claim(ROOM, ben)
    home.answer([b"RIVAL", b"b"])
    (command,) = home.answer([b"OK", b"11", b"1"]).commands
    count = command[2]
    assert command[1] == CLAIM.digest
    assert command[3 : 3 + count][-1] == KEYS.rooms_of(B)
    home.changed(11, Moved(BEN.incarnation, A, 1))
    assert home.news() == [MemberMoved(11, BEN.incarnation, B, A, 1, (B, A))]


def test_a_claim_waits_for_a_link_that_is_broken_and_is_asked_for_once_more(home: Home) -> None:
    home.bucket.claim(ROOM, structs.replace(BEN, node=A, moves=1))
    assert home.asked() == [CLAIM.digest]
    home.bucket.detached()
    home.now += 100.0
    home.bucket.tend()
    assert home.news() == []
    home.bucket.attached("run")
    assert home.asked() == [CLAIM.digest]


@pytest.mark.parametrize(
    ("old", "node", "told"), [(B, C, [B, C]), (A, C, [C]), (B, A, [B])], ids=["others", "from here", "to here"]
)
def test_both_nodes_of_a_move_are_told_that_it_was_heard_but_for_this_one(
    home: Home, old: NodeId, node: NodeId, told: list[NodeId]
) -> None:
    home.bucket.switch(ROOM, MemberMoved(11, CIA.incarnation, old, node, 3, (A, B, C)))
    word = Frame(ROOM, A, CIA.incarnation, 3, "w", 0, b"")
    assert _sent(home.written()) == {KEYS.inbox(one): [word] for one in told}


def test_the_word_that_a_move_was_heard_follows_all_that_was_sent_before(home: Home) -> None:
    home.bucket.send(ROOM, "s", ANA, BEN, b"before", 0)
    home.bucket.switch(ROOM, MemberMoved(11, BEN.incarnation, B, C, 1, (A, B)))
    home.bucket.send(ROOM, "s", ANA, structs.replace(BEN, node=C, moves=1), b"after", 0)
    sent = _sent(home.written())
    assert [frame.kind for frame in sent[KEYS.inbox(B)]] == ["s", "w"]
    assert [(frame.kind, frame.number) for frame in sent[KEYS.inbox(C)]] == [("w", 1), ("s", ERA + 1)]


def test_the_word_of_a_node_is_heard_with_the_move_it_is_about(home: Home) -> None:
    _word(home, B, 4)
    assert home.news() == [Switched(ANA.incarnation, B, 4)]


def test_the_word_of_a_node_waits_behind_what_came_from_it_before() -> None:
    made = Home()
    made.bucket.join(ROOM, peer("ana"), 10)
    made.answer([b"OK", b"10"])
    made.frame(1)
    _word(made, B)
    assert made.news() == []
    made.snapshot(ANA, BEN)
    assert made.news()[-2:] == [made.signalled(1), Switched(ANA.incarnation, B, 1)]


def test_what_is_handed_over_goes_to_the_node_that_has_the_member_now(home: Home) -> None:
    home.bucket.hand_over(ROOM, structs.replace(ANA, node=C, moves=2), b"state")
    assert _sent(home.written()) == {KEYS.inbox(C): [Frame(ROOM, A, ANA.incarnation, 2, "h", 0, b"state")]}


def test_what_is_handed_over_is_heard_once_though_it_is_written_twice(home: Home) -> None:
    _claimed(home, moves=1)
    for _ in range(2):
        home.bucket.take([Frame(ROOM, B, BEN.incarnation, 1, "h", 0, b"state")])
    assert home.news() == [HandedOver(BEN.incarnation, b"state")]
    assert home.bucket.counters.duplicates == 1


def test_what_was_handed_over_when_a_member_came_here_before_is_not_heard_again(home: Home) -> None:
    _claimed(home, moves=3)
    for moves in (1, 3):
        home.bucket.take([Frame(ROOM, B, BEN.incarnation, moves, "h", 0, b"by move %d" % moves)])
    assert home.news() == [HandedOver(BEN.incarnation, b"by move 3")]
    assert home.bucket.counters.stale == 1


def test_what_was_sent_to_a_member_when_it_was_here_before_is_not_heard_again_and_is_answered(home: Home) -> None:
    _claimed(home, moves=2)
    home.written()
    for number, moves in ((1, 0), (2 * ERA + 1, 2)):
        home.bucket.take([Frame(ROOM, UNA.incarnation, BEN.incarnation, number, "s", 7, b"", moves=moves)])
    assert home.news() == [Signalled(UNA.incarnation, BEN.incarnation, b"", 7)]
    assert home.bucket.counters.stale == 1
    assert _sent(home.written()) == {KEYS.inbox(B): [Frame(ROOM, BEN.incarnation, UNA.incarnation, 0, "r", 7, b"0")]}


def _claimed(home: Home, *, moves: int) -> None:
    """Ben goes on here."""
    home.bucket.claim(ROOM, structs.replace(BEN, node=A, moves=moves))
    home.answer([b"OK", b"11", b"1"])
    home.changed(11, Moved(BEN.incarnation, A, moves))
    home.news()


def test_frames_from_where_a_member_was_and_from_where_it_is_are_counted_apart(home: Home) -> None:
    home.frame(1)
    home.changed(11, Moved(BEN.incarnation, C, 1))
    home.news()
    for number in (ERA + 1, ERA + 2, 2):
        home.frame(number)
    assert home.news() == [home.signalled(ERA + 1), home.signalled(ERA + 2)]
    assert home.bucket.counters.gaps == 0


def test_what_comes_for_a_member_that_moved_away_is_heard_until_it_is_released(home: Home) -> None:
    home.changed(11, Moved(ANA.incarnation, B, 1))
    home.news()
    home.frame(1)
    _word(home, B)
    assert home.news() == [home.signalled(1), Switched(ANA.incarnation, B, 1)]
    home.bucket.release(ROOM, ANA.incarnation)
    assert home.news() == [Vacated()]
    assert len(home.bucket) == 0
    home.bucket.release(ROOM, ANA.incarnation)
    home.frame(2)
    assert home.news() == []


def test_a_node_that_is_declared_dead_hands_over_nothing_more(home: Home) -> None:
    home.changed(11, Moved(ANA.incarnation, B, 1))
    home.news()
    home.bucket.detached()
    home.bucket.attached("run", fenced=True)
    assert home.news() == [Vacated()]
    assert len(home.bucket) == 0


def test_what_was_said_of_a_move_is_said_again_to_a_server_that_lost_it(home: Home) -> None:
    move = MemberMoved(11, CIA.incarnation, B, C, 1, (A, B, C))
    home.bucket.switch(ROOM, move)
    home.bucket.hand_over(ROOM, structs.replace(ANA, node=C, moves=1), b"state")
    first = _sent(home.answer(b"1-1", b"1-1"))
    home.bucket.detached()
    home.bucket.attached("another")
    again = _sent(home.written())
    assert again == first
    assert [frame.kind for frame in again[KEYS.inbox(C)]] == ["w", "h"]


# -------------------------------------------------------------------------------------------------------------- places


def _at(home: Home, *names: str) -> list[bytes]:
    return [getattr(event, "at", b"") for event in home.news() if not names or type(event).__name__ in names]


def test_frames_are_heard_with_their_places_where_sessions_may_go_on() -> None:
    home = _home(resume_window=30.0)
    home.news()
    frames = [Frame(ROOM, BEN.incarnation, ANA.incarnation, number, "s", 0, b"") for number in (1, 2)]
    home.bucket.take([*frames], b"5-1")
    home.bucket.take([Frame(ROOM, UNA.incarnation, ANA.incarnation, 1, "m", 0, b"")], b"5-2")
    assert _at(home) == [b"5-1.0@a", b"5-1.1@a", b"5-2.0@a"]


def test_frames_have_no_places_where_sessions_may_not_go_on(home: Home) -> None:
    home.bucket.take([Frame(ROOM, BEN.incarnation, ANA.incarnation, 1, "s", 0, b"")], b"5-1")
    assert _at(home) == [b""]


def test_changes_of_a_room_are_heard_with_their_places() -> None:
    home = _home(resume_window=30.0)
    home.news()
    changes: list[Change] = [
        CIA,
        Marked(BEN.incarnation, away=True, field="pben"),
        Moved(BEN.incarnation, C, 1),
        Gone(CIA.incarnation, LeaveReason.LEFT, "pcia"),
    ]
    home.bucket.take(Changes(ROOM, 10, 11, changes), b"7-3")
    heard = home.news()
    assert [type(event) for event in heard] == [MemberJoined, MemberMarked, MemberMoved, MemberLeft]
    assert [getattr(event, "at", b"") for event in heard] == [b"7-3.%d@a" % index for index in range(4)]


def test_a_frame_that_waits_for_its_sender_keeps_its_place() -> None:
    made = Home(resume_window=30.0)
    made.bucket.join(ROOM, peer("ana"), 10)
    made.answer([b"OK", b"10"])
    made.bucket.take([Frame(ROOM, BEN.incarnation, ANA.incarnation, 1, "s", 0, b"")], b"5-1")
    made.bucket.take(Snapshot(ROOM, 10, "run", "", [ANA, BEN]), b"6-1")
    assert _at(made, "Signalled") == [b"5-1.0@a"]


# ---------------------------------------------------------------------------------------------- against a real server


MISHAPS = ["break", "unanswered", "undone", "restart", "empty"]


@settings(max_examples=60)
@given(st.data())
def test_frames_between_living_nodes_arrive_once_and_in_order_whatever_happens(  # noqa: C901, PLR0912
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
