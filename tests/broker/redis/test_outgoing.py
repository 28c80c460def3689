from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.entries import MAX_FRAME_BYTES, MAX_FRAMES, Frame, pack_frame
from mcp_actors.broker.redis.outgoing import MAX_BATCH, Batch, Call, Outgoing
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


def _outgoing(**bounds: int) -> Outgoing:
    bounds = {"max_frames": 1000, "max_bytes": 1_000_000, "max_kept_bytes": KEPT_BYTES} | bounds
    return Outgoing(**bounds, max_entries=500, keep=KEEP, patience=PATIENCE)


def _frame(number: int, size: int = 1, source: str = "a") -> Frame:
    return Frame(ROOM, source, "b", number, "s", 0, bytes(size))


def _call(name: str, replies: list[Reply] | None = None) -> Call:
    return Call((name,), (lambda _reply: None) if replies is None else replies.append)


def _put(outgoing: Outgoing, inbox: str, *numbers: int) -> None:
    for number in numbers:
        outgoing.put(inbox, _frame(number))


def _written(batch: Batch) -> list[str | tuple[str, list[int]]]:
    """What the commands of a batch write: the names of calls, and inboxes with the numbers of frames."""
    return [
        (command[1], [frame.number for frame in decode_frames(command[-1])]) if command[0] == "XADD" else command[0]
        for command in batch.commands
    ]


def _all(outgoing: Outgoing) -> list[str | tuple[str, list[int]]]:
    """What all that waits would write, batch after batch."""
    written = []
    while outgoing:
        written += _written(outgoing.take())
    return written


def _settle(outgoing: Outgoing, *replies: Reply, now: float = 0.0) -> list[str | tuple[str, list[int]]]:
    """Take a batch and answer it; what was written."""
    batch = outgoing.take()
    outgoing.settle(batch, [*replies], now)
    return _written(batch)


# ---------------------------------------------------------------------------------------------------------- coalescing


def test_frames_for_one_inbox_travel_as_one_entry() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1, 2)
    _put(outgoing, Y, 3)
    _put(outgoing, X, 4)
    batch = outgoing.take()
    assert _written(batch) == [(X, [1, 2, 4]), (Y, [3])]
    assert not outgoing


def test_an_entry_is_read_as_the_frames_that_were_put() -> None:
    outgoing = _outgoing()
    sent = [_frame(1, 0), _frame(2, 300), _frame(3, 70_000)]
    for frame in sent:
        outgoing.put(X, frame)
    read: list[Any] = [entries.read([b"r", command[-1]]) for command in outgoing.take().commands]
    assert [frame for part in read for frame in part] == sent


def test_an_entry_is_never_the_first_of_its_stream_and_bounds_it() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    (command,) = outgoing.take().commands
    assert command[:-1] == ("XADD", X, "NOMKSTREAM", "MAXLEN", "~", 500, "*", "r")


def test_an_entry_holds_no_more_frames_than_it_may() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, *range(2 * MAX_FRAMES + 1))
    assert _all(outgoing) == [
        (X, [*range(MAX_FRAMES)]),
        (X, [*range(MAX_FRAMES, 2 * MAX_FRAMES)]),
        (X, [2 * MAX_FRAMES]),
    ]


def test_an_entry_holds_no_more_bytes_than_it_may_but_for_a_single_frame() -> None:
    outgoing = _outgoing()
    for number, size in enumerate([THIRD, THIRD, THIRD, MAX_FRAME_BYTES + 1, 1, 1]):
        outgoing.put(X, _frame(number, size))
    assert _all(outgoing) == [(X, [0, 1]), (X, [2]), (X, [3]), (X, [4, 5])]


def test_an_entry_may_be_as_large_as_it_may_to_the_byte() -> None:
    overhead = len(pack_frame(_frame(1, THIRD))) - THIRD
    for spare, written in ((0, [(X, [1, 2])]), (-1, [(X, [1]), (X, [2])])):
        outgoing = _outgoing()
        outgoing.put(X, _frame(1, THIRD))
        outgoing.put(X, _frame(2, MAX_FRAME_BYTES - THIRD - 2 * overhead - spare))
        assert _all(outgoing) == written


def test_a_batch_is_no_larger_than_it_may_be() -> None:
    outgoing = _outgoing()
    for number in range(MAX_BATCH + 5):
        outgoing.call(_call(f"call {number}"))
    assert len(outgoing.take().commands) == MAX_BATCH
    assert _all(outgoing) == [f"call {number}" for number in range(MAX_BATCH, MAX_BATCH + 5)]


def test_a_batch_holds_one_entry_for_an_inbox_at_most() -> None:
    outgoing = _outgoing(max_frames=10_000)
    _put(outgoing, X, *range(3 * MAX_FRAMES))
    while outgoing:
        assert len(outgoing.take().commands) == 1


def test_calls_keep_their_place_among_the_frames() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    outgoing.call(_call("leave"))
    _put(outgoing, X, 2)
    _put(outgoing, Y, 3)
    outgoing.call(_call("join"))
    outgoing.call(_call("beat"))
    _put(outgoing, X, 4)
    assert _all(outgoing) == [(X, [1]), "leave", (X, [2]), (Y, [3]), "join", "beat", (X, [4])]


def test_first_calls_come_before_all_that_waits_in_their_order() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    outgoing.call(_call("old"))
    outgoing.call_first([_call("one"), _call("two")])
    assert _all(outgoing) == ["one", "two", (X, [1]), "old"]


@given(st.lists(st.tuples(st.sampled_from([X, Y, "call"]), st.integers(1, 40_000)), max_size=200))
def test_nothing_is_lost_or_overtakes_what_it_must_not(items: list[tuple[str, int]]) -> None:
    outgoing = _outgoing(max_frames=10_000, max_bytes=10**9)
    expected: dict[str, list[int]] = {X: [], Y: []}
    for number, (inbox, size) in enumerate(items):
        if inbox == "call":
            outgoing.call(_call(f"call {number}"))
            for numbers in expected.values():
                numbers.append(number)
        else:
            outgoing.put(inbox, _frame(number, size))
            expected[inbox].append(number)
    found: dict[str, list[int]] = {X: [], Y: []}
    for part in _all(outgoing):
        if isinstance(part, str):
            for numbers in found.values():
                numbers.append(int(part.removeprefix("call ")))
        else:
            found[part[0]] += part[1]
    assert found == expected


# ------------------------------------------------------------------------------------------------------------- answers


def test_the_reply_to_a_call_is_told_to_who_made_it() -> None:
    outgoing, replies = _outgoing(), list[Any]()
    outgoing.call(_call("one", replies))
    _put(outgoing, X, 1)
    outgoing.call(_call("two", replies))
    _settle(outgoing, [b"OK"], OK, None)
    assert replies == [[b"OK"], None]


def test_a_call_that_fails_does_not_keep_the_others_from_their_replies() -> None:
    outgoing, replies = _outgoing(), list[Any]()
    outgoing.call(Call(("bad",), _refuse))
    outgoing.call(_call("good", replies))
    _put(outgoing, X, 1)
    with pytest.raises(LookupError):
        _settle(outgoing, 1, 2, OK)
    assert replies == [2]
    assert outgoing.frames == 0


def _refuse(_reply: Reply) -> None:
    raise LookupError


def test_an_unanswered_batch_is_given_back_in_its_order_without_its_calls() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    outgoing.call(_call("leave"))
    _put(outgoing, X, 2, 3)
    _put(outgoing, Y, 4)
    batch = outgoing.take()
    _put(outgoing, X, 5)
    outgoing.give_back(batch)
    assert outgoing.frames == 5
    assert _all(outgoing) == [(X, [1, 2, 3, 5]), (Y, [4])]


def test_calls_that_wait_can_be_dropped_and_frames_stay() -> None:
    outgoing = _outgoing()
    outgoing.call(_call("join"))
    _put(outgoing, X, 1)
    outgoing.call(_call("leave"))
    _put(outgoing, X, 2)
    outgoing.drop_calls()
    assert _all(outgoing) == [(X, [1, 2])]


# -------------------------------------------------------------------------------------------------------------- bounds


def test_it_is_full_when_as_many_frames_wait_as_may() -> None:
    outgoing = _outgoing(max_frames=3)
    _put(outgoing, X, 1, 2)
    assert not outgoing.full
    _put(outgoing, Y, 3)
    assert outgoing.full


def test_it_is_full_when_as_many_bytes_wait_as_may() -> None:
    outgoing = _outgoing(max_bytes=2 * len(pack_frame(_frame(1, 500))))
    outgoing.put(X, _frame(1, 500))
    assert not outgoing.full
    outgoing.put(X, _frame(2, 500))
    assert outgoing.full


def test_calls_do_not_count() -> None:
    outgoing = _outgoing(max_frames=1)
    outgoing.call(_call("join"))
    assert not outgoing.full
    assert outgoing.frames == 0


def test_frames_wait_until_they_are_answered_and_not_only_taken() -> None:
    outgoing = _outgoing(max_frames=2)
    _put(outgoing, X, 1, 2)
    batch = outgoing.take()
    assert outgoing.full
    outgoing.give_back(batch)
    assert (outgoing.frames, outgoing.full) == (2, True)
    _settle(outgoing, OK)
    assert (outgoing.frames, outgoing.bytes, outgoing.full) == (0, 0, False)


def test_frames_held_for_a_missing_inbox_count() -> None:
    outgoing = _outgoing(max_frames=2)
    _put(outgoing, X, 1)
    _settle(outgoing, None)
    _put(outgoing, X, 2)
    assert outgoing.full
    assert len(outgoing.retry_held(PATIENCE + 1)) == 2
    assert (outgoing.frames, outgoing.bytes) == (0, 0)


# ----------------------------------------------------------------------------------------------------- missing inboxes


@pytest.mark.parametrize("reply", [None, ResponseError("OOM command not allowed")], ids=["missing", "refused"])
def test_frames_for_an_inbox_that_is_not_there_are_held_and_tried_again_in_order(reply: Reply) -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1, 2)
    _put(outgoing, Y, 3)
    _settle(outgoing, reply, OK)
    _put(outgoing, X, 4)
    assert not outgoing
    assert outgoing.retry_held(1.0) == []
    _put(outgoing, X, 5)
    assert _settle(outgoing, OK, now=1.0) == [(X, [1, 2, 4, 5])]
    assert outgoing.frames == 0


def test_frames_put_while_the_answer_was_awaited_are_held_behind_the_others() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    batch = outgoing.take()
    _put(outgoing, X, 2)
    _put(outgoing, Y, 3)
    outgoing.settle(batch, [None], 0.0)
    assert _all(outgoing) == [(Y, [3])]
    outgoing.retry_held(1.0)
    assert _all(outgoing) == [(X, [1, 2])]


def test_frames_behind_a_call_do_not_overtake_those_that_found_no_inbox() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    outgoing.call(_call("leave"))
    _put(outgoing, X, 2)
    batch = outgoing.take()
    _put(outgoing, X, 3)
    outgoing.settle(batch, [None, [b"OK"]], 0.0)
    assert not outgoing
    assert outgoing.retry_held(1.0) == []
    assert _all(outgoing) == [(X, [1, 2, 3])]


def test_an_inbox_that_is_missing_again_and_again_is_so_since_the_first_time() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    for now in (0.0, PATIENCE / 2, PATIENCE):
        _settle(outgoing, None, now=now)
        assert outgoing.retry_held(now) == []
    _settle(outgoing, None, now=PATIENCE + 0.1)
    assert outgoing.retry_held(PATIENCE + 0.1) == [_frame(1)]
    assert not outgoing


def test_frames_for_an_inbox_that_was_missing_for_too_long_are_returned_in_order() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1, 2)
    _put(outgoing, Y, 4)
    _settle(outgoing, None, OK)
    _put(outgoing, X, 3)
    assert [frame.number for frame in outgoing.retry_held(PATIENCE + 0.1)] == [1, 2, 3]
    assert outgoing.retry_held(PATIENCE + 0.2) == []


def test_an_inbox_that_was_back_has_all_its_time_again() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    _settle(outgoing, None, now=0.0)
    outgoing.retry_held(1.0)
    _settle(outgoing, OK, now=1.0)
    _put(outgoing, X, 2)
    _settle(outgoing, None, now=8.0)
    assert outgoing.retry_held(8.0 + PATIENCE) == []
    _settle(outgoing, None, now=8.0 + PATIENCE)
    assert outgoing.retry_held(8.1 + PATIENCE) == [_frame(2)]


def test_after_frames_were_returned_new_ones_have_all_their_time() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    _settle(outgoing, None, now=0.0)
    outgoing.retry_held(PATIENCE + 1)
    _put(outgoing, X, 2)
    _settle(outgoing, None, now=PATIENCE + 1)
    assert outgoing.retry_held(PATIENCE + 2) == []
    assert outgoing


# -------------------------------------------------------------------------------------------------------------- replay


def test_what_was_written_lately_is_written_again_before_what_waits() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1, 2)
    _put(outgoing, Y, 3)
    _settle(outgoing, OK, OK)
    _put(outgoing, X, 4)
    assert outgoing.replay(0.0) == 3
    assert outgoing.frames == 4
    assert _settle(outgoing, OK, OK) == [(X, [1, 2, 4]), (Y, [3])]
    assert outgoing.frames == outgoing.bytes == 0


def test_what_was_written_again_can_be_written_once_more() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1, 2)
    _settle(outgoing, OK)
    assert outgoing.replay(0.0) == 2
    assert outgoing.replay(0.0) == 0
    _settle(outgoing, OK)
    assert outgoing.replay(0.0) == 2
    assert _all(outgoing) == [(X, [1, 2])]


def test_what_was_not_answered_is_written_behind_what_was() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    _settle(outgoing, OK)
    _put(outgoing, X, 2)
    outgoing.give_back(outgoing.take())
    outgoing.replay(0.0)
    assert _all(outgoing) == [(X, [1, 2])]


def test_what_was_written_long_ago_is_forgotten() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    _settle(outgoing, OK, now=0.0)
    _put(outgoing, X, 2)
    _settle(outgoing, OK, now=KEEP / 2)
    _put(outgoing, X, 3)
    _settle(outgoing, OK, now=KEEP + 0.1)
    assert outgoing.replay(0.0) == 2
    assert _all(outgoing) == [(X, [2, 3])]


def test_no_more_bytes_are_kept_than_may_be() -> None:
    size = len(pack_frame(_frame(1, 1000)))
    outgoing = _outgoing(max_kept_bytes=3 * size)
    for number in range(10):
        outgoing.put(X, _frame(number, 1000))
        _settle(outgoing, OK)
    assert outgoing.replay(0.0) == 3
    assert _all(outgoing) == [(X, [7, 8, 9])]


def test_a_frame_larger_than_what_may_be_kept_is_not_kept() -> None:
    outgoing = _outgoing(max_kept_bytes=100)
    outgoing.put(X, _frame(1, 1000))
    _settle(outgoing, OK)
    assert outgoing.replay(0.0) == 0


def test_what_was_held_is_not_kept_as_written() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    _settle(outgoing, None)
    assert outgoing.replay(0.0) == 0
    outgoing.retry_held(1.0)
    assert _all(outgoing) == [(X, [1])]


def test_what_is_written_again_and_missing_is_held_before_what_was_held_already() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    _settle(outgoing, OK)
    _put(outgoing, X, 2)
    _settle(outgoing, None)
    outgoing.replay(0.0)
    _settle(outgoing, None)
    outgoing.retry_held(1.0)
    assert _all(outgoing) == [(X, [1, 2])]


def test_what_is_written_again_to_an_inbox_that_is_back_does_not_end_the_sending() -> None:
    outgoing = _outgoing()
    _put(outgoing, X, 1)
    _settle(outgoing, OK)
    _put(outgoing, X, 2)
    _settle(outgoing, None)
    outgoing.replay(0.0)
    _settle(outgoing, OK)
    assert outgoing.retry_held(1.0) == []
    assert (outgoing.frames, _all(outgoing)) == (0, [])


def test_a_node_that_was_declared_dead_drops_all() -> None:
    outgoing = _outgoing()
    _put(outgoing, Y, 1)
    _settle(outgoing, OK)
    _put(outgoing, X, 2)
    _settle(outgoing, None)
    _put(outgoing, Y, 3)
    outgoing.call(_call("join"))
    outgoing.clear()
    assert not outgoing
    assert (outgoing.frames, outgoing.bytes) == (0, 0)
    assert outgoing.replay(0.0) == 0
    assert outgoing.retry_held(PATIENCE + 1) == []
    assert _all(outgoing) == []


@given(st.data())
def test_the_counts_are_those_of_what_waits_whatever_happens(data: st.DataObject) -> None:
    outgoing, number = _outgoing(), 0
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["put", "answer", "break", "replay", "wait"])):
            case "put":
                number += 1
                outgoing.put(data.draw(st.sampled_from([X, Y])), _frame(number))
            case "answer":
                batch = outgoing.take()
                number += 1
                outgoing.put(X, _frame(number))
                missing = data.draw(st.sampled_from([set(), {X}, {X, Y}]))
                outgoing.settle(batch, [None if command[1] in missing else OK for command in batch.commands], 0.0)
            case "break":
                outgoing.give_back(outgoing.take())
            case "replay":
                outgoing.replay(0.0)
            case "wait":
                outgoing.retry_held(1.0)
    outgoing.retry_held(2.0)
    waiting = []
    while outgoing:
        waiting += outgoing.take().commands
    frames = [frame for command in waiting for frame in decode_frames(command[-1])]
    assert outgoing.frames == len(frames)
    assert outgoing.bytes == sum(len(pack_frame(frame)) for frame in frames)
    for inbox in (X, Y):
        numbers = [frame.number for command in waiting if command[1] == inbox for frame in decode_frames(command[-1])]
        assert numbers == sorted(set(numbers))
