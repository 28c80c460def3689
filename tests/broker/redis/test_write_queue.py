from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.connection import AccessDenied
from mcp_actors.broker.redis.entries import MAX_FRAME_BYTES, MAX_FRAMES, Frame, pack
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.broker.redis.write_queue import (
    MAX_BATCH,
    MAX_CALLS,
    MAX_POSTPONED,
    RETRY_REFUSED,
    Batch,
    Call,
    WriteQueue,
)
from mcp_actors.protocol.identifiers import RoomId

if TYPE_CHECKING:
    from mcp_actors.broker.redis.connection import Reply

ROOM = RoomId("room123")
X, Y = "inbox:x", "inbox:y"
OK = b"1-1"
KEEP = 10.0
PATIENCE = 9.0
KEPT_BYTES = 100_000
THIRD = MAX_FRAME_BYTES // 3
decode_frames = msgspec.msgpack.Decoder(list[Frame]).decode


def _queue(
    max_frames: int = 1000, max_bytes: int = 1_000_000, max_kept_bytes: int = KEPT_BYTES, max_kept: int = 1000
) -> WriteQueue:
    settings = RedisSettings(
        lease=PATIENCE / 1.5,
        max_remote_messages=max_frames,
        max_remote_bytes=max_bytes,
        replay_seconds=KEEP,
        max_replay_bytes=max_kept_bytes,
        max_replay_messages=max_kept,
        max_inbox_entries=500,
    )
    return WriteQueue(settings)


def _frame(number: int, size: int = 1, source: str = "a") -> Frame:
    return Frame(ROOM, source, "b", number, "signal", 0, bytes(size))


def _call(name: str, replies: list[Reply] | None = None, room: RoomId | None = ROOM) -> Call:
    return Call((name,), (lambda _reply: None) if replies is None else replies.append, room=room)


def _put(queue: WriteQueue, inbox: str, *numbers: int) -> None:
    for number in numbers:
        queue.put(inbox, _frame(number))


def _written(batch: Batch) -> list[str | tuple[str, list[int]]]:
    """The contents of a batch: the names of calls, and inboxes with the numbers of frames."""
    return [
        (command[1], [frame.number for frame in decode_frames(command[-1])]) if command[0] == "XADD" else command[0]
        for command in batch.commands
    ]


def _all(queue: WriteQueue) -> list[str | tuple[str, list[int]]]:
    """The contents of all batches that wait."""
    written = []
    while queue:
        written += _written(queue.take())
    return written


def _settle(queue: WriteQueue, *replies: Reply, now: float = 0.0) -> list[str | tuple[str, list[int]]]:
    """Take a batch and answer it; what was written."""
    batch = queue.take()
    queue.settle(batch, [*replies], now)
    return _written(batch)


def test_frames_for_one_inbox_travel_as_one_entry() -> None:
    queue = _queue()
    _put(queue, X, 1, 2)
    _put(queue, Y, 3)
    _put(queue, X, 4)
    batch = queue.take()
    assert _written(batch) == [(X, [1, 2, 4]), (Y, [3])]
    assert not queue


def test_an_entry_decodes_to_the_frames_that_were_put() -> None:
    queue = _queue()
    sent = [_frame(1, 0), _frame(2, 300), _frame(3, 70_000)]
    for frame in sent:
        queue.put(X, frame)
    read: list[Any] = [entries.read([b"frames", command[-1]]) for command in queue.take().commands]
    assert [frame for part in read for frame in part] == sent


def test_an_entry_never_creates_its_stream_and_limits_it() -> None:
    queue = _queue()
    _put(queue, X, 1)
    (command,) = queue.take().commands
    assert command[:-1] == ("XADD", X, "NOMKSTREAM", "MAXLEN", "~", 500, "*", "frames")


def test_an_entry_has_a_limit_of_frames() -> None:
    queue = _queue()
    _put(queue, X, *range(2 * MAX_FRAMES + 1))
    assert _all(queue) == [
        (X, [*range(MAX_FRAMES)]),
        (X, [*range(MAX_FRAMES, 2 * MAX_FRAMES)]),
        (X, [2 * MAX_FRAMES]),
    ]


def test_an_entry_has_a_limit_of_bytes_except_for_a_single_frame() -> None:
    queue = _queue()
    for number, size in enumerate([THIRD, THIRD, THIRD, MAX_FRAME_BYTES + 1, 1, 1]):
        queue.put(X, _frame(number, size))
    assert _all(queue) == [(X, [0, 1]), (X, [2]), (X, [3]), (X, [4, 5])]


def test_the_limit_of_an_entry_is_exact() -> None:
    overhead = len(pack(_frame(1, THIRD))) - THIRD
    for spare, written in ((0, [(X, [1, 2])]), (-1, [(X, [1]), (X, [2])])):
        queue = _queue()
        queue.put(X, _frame(1, THIRD))
        queue.put(X, _frame(2, MAX_FRAME_BYTES - THIRD - 2 * overhead - spare))
        assert _all(queue) == written


def test_a_batch_has_a_limit_of_commands() -> None:
    queue = _queue()
    for number in range(MAX_BATCH + 5):
        queue.put(f"inbox:{number}", _frame(number))
    assert len(queue.take().commands) == MAX_BATCH
    assert _all(queue) == [(f"inbox:{number}", [number]) for number in range(MAX_BATCH, MAX_BATCH + 5)]


def test_a_batch_has_a_lower_limit_of_calls() -> None:
    queue = _queue()
    for number in range(MAX_CALLS + 5):
        queue.call(_call(f"call {number}"))
    assert len(queue.take().commands) == MAX_CALLS
    assert _all(queue) == [f"call {number}" for number in range(MAX_CALLS, MAX_CALLS + 5)]


def test_frames_pass_the_calls_of_other_rooms_that_wait_for_the_next_batch_and_none_of_their_own() -> None:
    queue = _queue()
    for number in range(MAX_CALLS + 2):
        queue.call(_call(f"call {number}", room=RoomId(f"room {number}")))
    for number, room in enumerate((f"room {MAX_CALLS + 1}", "room 0", "calm")):
        queue.put(X, structs.replace(_frame(number), room=RoomId(room)))
    first, last = [f"call {number}" for number in range(MAX_CALLS)], [f"call {MAX_CALLS}", f"call {MAX_CALLS + 1}"]
    assert _written(queue.take()) == [*first, (X, [1, 2])]
    assert _written(queue.take()) == [*last, (X, [0])]


def test_a_call_does_not_pass_a_frame_of_its_room_that_waits() -> None:
    queue = _queue()
    for name in ("join", "leave"):
        _put(queue, X, 1)
        queue.call(_call(name))
    assert _written(queue.take()) == [(X, [1]), "join"]
    assert _written(queue.take()) == [(X, [1]), "leave"]


def test_a_search_for_frames_that_need_not_wait_has_an_end() -> None:
    queue = _queue(max_frames=10_000)
    for number in range(MAX_CALLS + MAX_POSTPONED):
        queue.call(_call(f"call {number}"))
    queue.put(X, structs.replace(_frame(1), room=RoomId("calm")))
    assert (X, [1]) not in _written(queue.take())
    assert (X, [1]) in _written(queue.take())


def test_a_batch_has_at_most_one_entry_per_inbox() -> None:
    queue = _queue(max_frames=10_000)
    _put(queue, X, *range(3 * MAX_FRAMES))
    while queue:
        assert len(queue.take().commands) == 1


def test_calls_keep_their_place_among_the_frames_of_their_room() -> None:
    queue = _queue()
    _put(queue, X, 1)
    queue.call(_call("leave"))
    _put(queue, X, 2)
    _put(queue, Y, 3)
    queue.call(_call("join"))
    queue.call(_call("beat"))
    _put(queue, X, 4)
    assert _all(queue) == [(X, [1]), "leave", (X, [2]), (Y, [3]), "join", "beat", (X, [4])]


def test_frames_need_not_wait_for_calls_of_other_rooms_or_of_none() -> None:
    queue = _queue()
    _put(queue, X, 1)
    queue.call(_call("save", room=None))
    queue.call(_call("join", room=RoomId("another")))
    _put(queue, X, 2)
    _put(queue, Y, 3)
    queue.call(_call("leave"))
    queue.put(Y, structs.replace(_frame(4), room=RoomId("third")))
    assert _written(queue.take()) == [(X, [1, 2]), "save", "join", (Y, [3, 4]), "leave"]


def test_first_calls_come_before_everything_in_their_order() -> None:
    queue = _queue()
    _put(queue, X, 1)
    queue.call(_call("old"))
    queue.call_first([_call("one"), _call("two")])
    assert _all(queue) == ["one", "two", (X, [1]), "old"]


@given(
    st.lists(
        st.tuples(st.sampled_from([X, Y, "call"]), st.sampled_from(["one", "two"]), st.integers(1, 40_000)),
        max_size=200,
    )
)
def test_nothing_is_lost_and_nothing_of_a_room_reordered(items: list[tuple[str, str, int]]) -> None:
    queue = _queue(max_frames=10_000, max_bytes=10**9)
    expected: dict[tuple[str, str], list[int]] = {(room, inbox): [] for room in ("one", "two") for inbox in (X, Y)}
    for number, (inbox, room, size) in enumerate(items):
        if inbox == "call":
            queue.call(_call(f"{room} {number}", room=RoomId(room)))
        else:
            queue.put(inbox, structs.replace(_frame(number, size), room=RoomId(room)))
        for of in (X, Y) if inbox == "call" else (inbox,):
            expected[room, of].append(number)
    found: dict[tuple[str, str], list[int]] = {key: [] for key in expected}
    for part in _all(queue):
        if isinstance(part, str):
            room, _, name = part.partition(" ")
            for of in (X, Y):
                found[room, of].append(int(name))
        else:
            for number in part[1]:
                found[items[number][1], part[0]].append(number)
    assert found == expected


def test_the_reply_to_a_call_reaches_its_callback() -> None:
    queue, replies = _queue(), list[Any]()
    queue.call(_call("one", replies))
    _put(queue, X, 1)
    queue.call(_call("two", replies))
    _settle(queue, [b"OK"], OK, None)
    assert replies == [[b"OK"], None]


def test_a_failing_callback_does_not_stop_the_others() -> None:
    queue, replies = _queue(), list[Any]()
    queue.call(Call(("bad",), _refuse))
    queue.call(_call("good", replies))
    _put(queue, X, 1)
    with pytest.raises(LookupError):
        _settle(queue, 1, 2, OK)
    assert replies == [2]
    assert queue.frames == 0


def _refuse(_reply: Reply) -> None:
    raise LookupError


def test_an_unacknowledged_batch_is_given_back_in_order_without_its_calls() -> None:
    queue = _queue()
    _put(queue, X, 1)
    queue.call(_call("leave"))
    _put(queue, X, 2, 3)
    _put(queue, Y, 4)
    batch = queue.take()
    _put(queue, X, 5)
    queue.give_back(batch)
    assert queue.frames == 5
    assert _all(queue) == [(X, [1, 2, 3, 5]), (Y, [4])]


def test_waiting_calls_can_be_dropped_without_the_frames() -> None:
    queue = _queue()
    queue.call(_call("join"))
    _put(queue, X, 1)
    queue.call(_call("leave"))
    _put(queue, X, 2)
    queue.drop_calls()
    assert _all(queue) == [(X, [1, 2])]


def test_it_is_full_at_the_limit_of_frames() -> None:
    queue = _queue(max_frames=3)
    _put(queue, X, 1, 2)
    assert not queue.full
    _put(queue, Y, 3)
    assert queue.full


def test_it_is_full_at_the_limit_of_bytes() -> None:
    queue = _queue(max_bytes=2 * len(pack(_frame(1, 500))))
    queue.put(X, _frame(1, 500))
    assert not queue.full
    queue.put(X, _frame(2, 500))
    assert queue.full


def test_calls_do_not_count() -> None:
    queue = _queue(max_frames=1)
    queue.call(_call("join"))
    assert not queue.full
    assert queue.frames == 0


def test_frames_count_until_they_are_acknowledged() -> None:
    queue = _queue(max_frames=2)
    _put(queue, X, 1, 2)
    batch = queue.take()
    assert queue.full
    queue.give_back(batch)
    assert (queue.frames, queue.full) == (2, True)
    _settle(queue, OK)
    assert (queue.frames, queue.bytes, queue.full) == (0, 0, False)


def test_frames_held_for_a_missing_inbox_count() -> None:
    queue = _queue(max_frames=2)
    _put(queue, X, 1)
    _settle(queue, None)
    _put(queue, X, 2)
    assert queue.full
    assert len(queue.retry_held(PATIENCE + 1)) == 2
    assert (queue.frames, queue.bytes) == (0, 0)


def test_refused_frames_wait_without_an_end_and_in_order() -> None:
    queue = _queue(max_frames=6)
    _put(queue, X, 1, 2)
    _put(queue, Y, 3)
    _settle(queue, ResponseError("OOM command not allowed"), OK)
    assert queue.refusal == "OOM command not allowed"
    _put(queue, X, 4)
    assert queue.retry_held(RETRY_REFUSED / 2) == []
    assert not queue
    for attempt in range(1, 50):
        now = attempt * RETRY_REFUSED
        assert queue.retry_held(now) == []
        _settle(queue, ResponseError("OOM command not allowed"), now=now)
    _put(queue, X, 5, 6, 7)
    assert queue.full
    assert queue.retry_held(60 * RETRY_REFUSED) == []
    assert _settle(queue, OK, now=60 * RETRY_REFUSED) == [(X, [1, 2, 4, 5, 6, 7])]
    assert (queue.frames, queue.refusal) == (0, "")


def test_frames_for_all_inboxes_keep_their_order_while_the_memory_is_full() -> None:
    queue, replies = _queue(), list[Any]()
    _put(queue, X, 1)
    batch = queue.take()
    _put(queue, Y, 2)
    queue.call(_call("leave", replies))
    queue.settle(batch, [OutOfMemoryError("OOM")], 0.0)
    _put(queue, X, 3)
    _put(queue, Y, 4)
    assert queue.retry_held(RETRY_REFUSED / 2) == []
    assert _settle(queue, "left") == ["leave"]
    assert queue.retry_held(RETRY_REFUSED) == []
    assert _settle(queue, OutOfMemoryError("OOM"), None, now=RETRY_REFUSED) == [(X, [1, 3]), (Y, [2, 4])]
    _put(queue, X, 5)
    _put(queue, Y, 6)
    assert queue.refusal
    assert queue.retry_held(2 * RETRY_REFUSED) == []
    assert _settle(queue, OK, OK, now=2 * RETRY_REFUSED) == [(X, [1, 3, 5]), (Y, [2, 4, 6])]
    assert (queue.frames, queue.refusal) == (0, "")


def test_a_session_is_not_handed_over_while_redis_refuses_its_messages_and_has_memory_again_at_once() -> None:
    queue, handover = _queue(), Frame(ROOM, "node", "a", 1, "handover", 0, b"")
    _put(queue, X, 1, 2)
    queue.put(Y, handover)
    _put(queue, Y, 3)
    assert _settle(queue, OutOfMemoryError("OOM")) == [(X, [1, 2])]
    assert queue.retry_held(RETRY_REFUSED) == []
    assert _settle(queue, OutOfMemoryError("OOM"), now=RETRY_REFUSED) == [(X, [1, 2])]
    assert queue.retry_held(2 * RETRY_REFUSED) == []
    assert _settle(queue, OK, now=2 * RETRY_REFUSED) == [(X, [1, 2])]
    written = queue.take()
    assert [frame for command in written.commands for frame in decode_frames(command[-1])] == [handover, _frame(3)]


def test_a_handover_travels_with_the_messages_of_others_and_those_for_the_same_node() -> None:
    queue = _queue()
    queue.put(X, _frame(1, source="other"))
    _put(queue, Y, 2)
    queue.put(Y, Frame(ROOM, "node", "a", 1, "handover", 0, b""))
    assert _written(queue.take()) == [(X, [1]), (Y, [2, 1])]


def test_refused_frames_whose_inbox_is_gone_are_returned_in_time() -> None:
    queue = _queue()
    _put(queue, X, 1)
    _settle(queue, ResponseError("OOM command not allowed"))
    queue.retry_held(100.0)
    _settle(queue, None, now=100.0)
    assert queue.retry_held(100.0 + PATIENCE) == []
    _settle(queue, None, now=100.0 + PATIENCE)
    assert queue.retry_held(100.1 + PATIENCE) == [_frame(1)]


def test_frames_without_the_permission_to_write_them_are_kept_and_end_the_link() -> None:
    queue = _queue()
    _put(queue, X, 1)
    with pytest.raises(AccessDenied, match="no permissions"):
        _settle(queue, NoPermissionError("User app has no permissions"))
    queue.retry_held(RETRY_REFUSED)
    assert _all(queue) == [(X, [1])]


@pytest.mark.parametrize("reply", [None, ResponseError("OOM command not allowed")], ids=["missing", "refused"])
def test_frames_for_a_missing_inbox_are_held_and_retried_in_order(reply: Reply) -> None:
    queue = _queue()
    _put(queue, X, 1, 2)
    _put(queue, Y, 3)
    _settle(queue, reply, OK)
    _put(queue, X, 4)
    assert not queue
    assert queue.retry_held(1.0) == []
    _put(queue, X, 5)
    assert _settle(queue, OK, now=1.0) == [(X, [1, 2, 4, 5])]
    assert queue.frames == 0


def test_frames_put_before_the_reply_are_held_behind_the_others() -> None:
    queue = _queue()
    _put(queue, X, 1)
    batch = queue.take()
    _put(queue, X, 2)
    _put(queue, Y, 3)
    queue.settle(batch, [None], 0.0)
    assert _all(queue) == [(Y, [3])]
    queue.retry_held(1.0)
    assert _all(queue) == [(X, [1, 2])]


def test_frames_behind_a_call_do_not_overtake_held_frames() -> None:
    queue = _queue()
    _put(queue, X, 1)
    queue.call(_call("leave"))
    _put(queue, X, 2)
    batch = queue.take()
    _put(queue, X, 3)
    queue.settle(batch, [None, [b"OK"]], 0.0)
    assert not queue
    assert queue.retry_held(1.0) == []
    assert _all(queue) == [(X, [1, 2, 3])]


def test_an_inbox_is_missing_since_the_first_time() -> None:
    queue = _queue()
    _put(queue, X, 1)
    for now in (0.0, PATIENCE / 2, PATIENCE):
        _settle(queue, None, now=now)
        assert queue.retry_held(now) == []
    _settle(queue, None, now=PATIENCE + 0.1)
    assert queue.retry_held(PATIENCE + 0.1) == [_frame(1)]
    assert not queue


def test_frames_for_a_long_missing_inbox_are_returned_in_order() -> None:
    queue = _queue()
    _put(queue, X, 1, 2)
    _put(queue, Y, 4)
    _settle(queue, None, OK)
    _put(queue, X, 3)
    assert [frame.number for frame in queue.retry_held(PATIENCE + 0.1)] == [1, 2, 3]
    assert queue.retry_held(PATIENCE + 0.2) == []


def test_an_inbox_that_was_back_gets_all_its_time_again() -> None:
    queue = _queue()
    _put(queue, X, 1)
    _settle(queue, None, now=0.0)
    queue.retry_held(1.0)
    _settle(queue, OK, now=1.0)
    _put(queue, X, 2)
    _settle(queue, None, now=8.0)
    assert queue.retry_held(8.0 + PATIENCE) == []
    _settle(queue, None, now=8.0 + PATIENCE)
    assert queue.retry_held(8.1 + PATIENCE) == [_frame(2)]


def test_new_frames_after_returned_ones_get_all_their_time() -> None:
    queue = _queue()
    _put(queue, X, 1)
    _settle(queue, None, now=0.0)
    queue.retry_held(PATIENCE + 1)
    _put(queue, X, 2)
    _settle(queue, None, now=PATIENCE + 1)
    assert queue.retry_held(PATIENCE + 2) == []
    assert queue


def test_recent_frames_are_replayed_before_waiting_ones() -> None:
    queue = _queue()
    _put(queue, X, 1, 2)
    _put(queue, Y, 3)
    _settle(queue, OK, OK)
    _put(queue, X, 4)
    assert queue.replay(0.0) == 3
    assert queue.frames == 4
    assert _settle(queue, OK, OK) == [(X, [1, 2, 4]), (Y, [3])]
    assert queue.frames == queue.bytes == 0


def test_replayed_frames_can_be_replayed_again() -> None:
    queue = _queue()
    _put(queue, X, 1, 2)
    _settle(queue, OK)
    assert queue.replay(0.0) == 2
    assert queue.replay(0.0) == 0
    _settle(queue, OK)
    assert queue.replay(0.0) == 2
    assert _all(queue) == [(X, [1, 2])]


def test_unacknowledged_frames_follow_replayed_ones() -> None:
    queue = _queue()
    _put(queue, X, 1)
    _settle(queue, OK)
    _put(queue, X, 2)
    queue.give_back(queue.take())
    queue.replay(0.0)
    assert _all(queue) == [(X, [1, 2])]


def test_old_frames_are_not_replayed() -> None:
    queue = _queue()
    _put(queue, X, 1)
    _settle(queue, OK, now=0.0)
    _put(queue, X, 2)
    _settle(queue, OK, now=KEEP / 2)
    _put(queue, X, 3)
    _settle(queue, OK, now=KEEP + 0.1)
    assert queue.replay(0.0) == 2
    assert _all(queue) == [(X, [2, 3])]


def test_frames_kept_for_replay_have_a_limit_of_bytes() -> None:
    size = len(pack(_frame(1, 1000)))
    queue = _queue(max_kept_bytes=3 * size)
    for number in range(10):
        queue.put(X, _frame(number, 1000))
        _settle(queue, OK)
    assert queue.replay(0.0) == 3
    assert _all(queue) == [(X, [7, 8, 9])]


def test_frames_kept_for_replay_have_a_limit_of_number() -> None:
    queue = _queue(max_kept=3)
    _put(queue, X, *range(10))
    _settle(queue, OK)
    assert queue.replay(0.0) == 3
    assert _all(queue) == [(X, [7, 8, 9])]


def test_a_frame_above_the_limit_is_not_kept_for_replay() -> None:
    queue = _queue(max_kept_bytes=100)
    queue.put(X, _frame(1, 1000))
    _settle(queue, OK)
    assert queue.replay(0.0) == 0


def test_held_frames_are_not_kept_for_replay() -> None:
    queue = _queue()
    _put(queue, X, 1)
    _settle(queue, None)
    assert queue.replay(0.0) == 0
    queue.retry_held(1.0)
    assert _all(queue) == [(X, [1])]


def test_replayed_frames_are_held_before_earlier_held_ones() -> None:
    queue = _queue()
    _put(queue, X, 1)
    _settle(queue, OK)
    _put(queue, X, 2)
    _settle(queue, None)
    queue.replay(0.0)
    _settle(queue, None)
    queue.retry_held(1.0)
    assert _all(queue) == [(X, [1, 2])]


def test_replaying_to_an_inbox_that_is_back_does_not_end_the_sending() -> None:
    queue = _queue()
    _put(queue, X, 1)
    _settle(queue, OK)
    _put(queue, X, 2)
    _settle(queue, None)
    queue.replay(0.0)
    _settle(queue, OK)
    assert queue.retry_held(1.0) == []
    assert (queue.frames, _all(queue)) == (0, [])


def test_clear_drops_everything() -> None:
    queue = _queue()
    _put(queue, Y, 1)
    _settle(queue, OK)
    _put(queue, X, 2)
    _settle(queue, None)
    _put(queue, Y, 3)
    queue.call(_call("join"))
    queue.clear()
    assert not queue
    assert (queue.frames, queue.bytes) == (0, 0)
    assert queue.replay(0.0) == 0
    assert queue.retry_held(PATIENCE + 1) == []
    assert _all(queue) == []


@given(st.data())
def test_the_counts_match_the_waiting_frames(data: st.DataObject) -> None:
    queue, number = _queue(), 0
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["put", "answer", "break", "replay", "wait"])):
            case "put":
                number += 1
                queue.put(data.draw(st.sampled_from([X, Y])), _frame(number))
            case "answer":
                batch = queue.take()
                number += 1
                queue.put(X, _frame(number))
                missing = data.draw(st.sampled_from([set(), {X}, {X, Y}]))
                queue.settle(batch, [None if command[1] in missing else OK for command in batch.commands], 0.0)
            case "break":
                queue.give_back(queue.take())
            case "replay":
                queue.replay(0.0)
            case "wait":
                queue.retry_held(1.0)
    queue.retry_held(2.0)
    waiting = []
    while queue:
        waiting += queue.take().commands
    frames = [frame for command in waiting for frame in decode_frames(command[-1])]
    assert queue.frames == len(frames)
    assert queue.bytes == sum(len(pack(frame)) for frame in frames)
    for inbox in (X, Y):
        numbers = [frame.number for command in waiting if command[1] == inbox for frame in decode_frames(command[-1])]
        assert numbers == sorted(set(numbers))
