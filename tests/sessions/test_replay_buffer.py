from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcp_actors.protocol.codec import JSON
from mcp_actors.protocol.handover import SessionState
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.sessions.replay_buffer import HELD_LIMIT, MAX_DROPPED, ReplayBuffer

HEAD, BODY = b'"sender":"ben",', b'"type":"x"}'
SIZE = len(HEAD) + len(BODY)


def filled(count: int, max_frames: int = 1000, max_bytes: int = 1_000_000) -> ReplayBuffer:
    buffer = ReplayBuffer(max_frames, max_bytes)
    for _ in range(count):
        buffer.append(HEAD, BODY)
    return buffer


def numbers(buffer: ReplayBuffer, received: int = 0) -> list[int]:
    return [number for number, _, _ in buffer.after(received)]


def test_messages_are_numbered_from_1() -> None:
    buffer = ReplayBuffer(10, 1000)
    assert [buffer.append(HEAD, BODY) for _ in range(3)] == [1, 2, 3]
    assert (buffer.last, len(buffer), buffer.bytes) == (3, 3, 3 * SIZE)


@pytest.mark.parametrize(
    ("received", "complete", "replayed"),
    [(0, True, [1, 2, 3]), (1, True, [2, 3]), (3, True, []), (4, False, []), (2**53, False, [])],
)
def test_a_client_gets_the_messages_after_the_last_one_it_received(
    received: int, complete: bool, replayed: list[int]
) -> None:
    buffer = filled(3)
    assert (buffer.is_complete(received), numbers(buffer, received)) == (complete, replayed)


def test_the_oldest_message_is_lost_when_there_are_too_many() -> None:
    buffer = filled(5, max_frames=3)
    assert numbers(buffer) == [3, 4, 5]
    assert [buffer.is_complete(received) for received in (0, 1, 2, 3)] == [False, False, True, True]


def test_the_oldest_messages_are_lost_when_there_are_too_many_bytes() -> None:
    assert numbers(filled(5, max_bytes=3 * SIZE)) == [3, 4, 5]


def test_a_large_message_takes_the_place_of_many_before_it() -> None:
    buffer = filled(3000, max_frames=10_000, max_bytes=100_000)
    buffer.append(b"", b"x" * 99_970)
    assert numbers(buffer) == [3000, 3001]


def test_a_message_larger_than_the_buffer_is_not_kept() -> None:
    buffer = filled(1, max_bytes=100)
    assert buffer.append(b"", b"x" * 101) == 2
    assert (numbers(buffer), buffer.bytes) == ([], 0)
    assert [buffer.is_complete(received) for received in (1, 2)] == [False, True]
    buffer.append(HEAD, BODY)
    assert numbers(buffer) == [3]


def test_acknowledged_messages_make_room_for_others() -> None:
    buffer = filled(3, max_bytes=3 * SIZE)
    buffer.acknowledge(2)
    buffer.append(HEAD, BODY)
    buffer.append(HEAD, BODY)
    assert numbers(buffer) == [3, 4, 5]


def test_a_late_or_false_acknowledgement_does_no_harm() -> None:
    buffer = filled(5)
    buffer.acknowledge(3)
    buffer.acknowledge(2)
    assert numbers(buffer) == [4, 5]
    buffer.acknowledge(10**30)
    assert (numbers(buffer), buffer.bytes) == ([], 0)
    assert buffer.append(HEAD, BODY) == 6


def test_the_state_holds_whole_messages_and_another_buffer_continues_from_it() -> None:
    buffer = filled(11)
    buffer.acknowledge(8)
    state = buffer.state()
    assert state == SessionState(11, [JSON.prefix(HEAD, number) + BODY for number in (9, 10, 11)])
    other = ReplayBuffer(10, 1000)
    other.restore(state, lossy=False)
    assert [JSON.prefix(head, number) + body for number, head, body in other.after(9)] == state.kept[1:]
    assert (other.append(HEAD, BODY), other.bytes) == (12, 4 * SIZE)
    assert [other.is_complete(received) for received in (7, 8, 11, 12)] == [False, True, True, True]


def test_a_buffer_keeps_its_own_limits_when_it_continues_from_a_state() -> None:
    buffer = ReplayBuffer(2, 1000)
    buffer.restore(filled(5).state(), lossy=False)
    assert numbers(buffer) == [2, 3, 4, 5]
    buffer.acknowledge(5)
    for _ in range(3):
        buffer.append(HEAD, BODY)
    assert numbers(buffer) == [7, 8]


def test_messages_that_are_held_push_out_the_others_and_are_never_pushed_out() -> None:
    buffer = filled(3, max_frames=3)
    held = 0
    while buffer.has_room(SIZE):
        held = buffer.append(HEAD, BODY, hold=True)
    assert (held, numbers(buffer)) == (6, [4, 5, 6])
    buffer.append(HEAD, BODY)
    assert numbers(buffer) == [4, 5, 6, 7]


@pytest.mark.parametrize("size", [SIZE, SIZE + 1])
def test_messages_are_held_up_to_the_limit_of_bytes(size: int) -> None:
    buffer = filled(9, max_bytes=3 * SIZE)
    for _ in range(2):
        buffer.append(HEAD, BODY, hold=True)
    assert buffer.has_room(size) == (size == SIZE)


def test_what_comes_behind_messages_that_are_held_is_kept_up_to_as_much_again() -> None:
    buffer = ReplayBuffer(3, 1000)
    for hold in (True, True, True, False, False, False):
        buffer.append(HEAD, BODY, hold=hold)
    assert numbers(buffer) == [1, 2, 3, 4, 5, 6]
    assert not buffer.has_room(0)
    buffer.append(HEAD, BODY)
    assert numbers(buffer) == [2, 3, 4, 5, 6, 7]


def test_there_is_room_again_when_the_last_message_that_is_held_is_acknowledged() -> None:
    buffer = ReplayBuffer(3, 1000)
    for hold in (True, True, False):
        buffer.append(HEAD, BODY, hold=hold)
    buffer.acknowledge(1)
    assert numbers(buffer) == [2, 3]
    buffer.acknowledge(2)
    assert numbers(buffer) == [3]
    for _ in range(3):
        assert buffer.has_room(SIZE)
        buffer.append(HEAD, BODY, hold=True)
    assert (buffer.has_room(0), numbers(buffer)) == (False, [4, 5, 6])


def test_a_message_for_which_there_is_no_room_leaves_a_gap_that_another_buffer_knows_too() -> None:
    buffer = ReplayBuffer(3, 1000)
    for hold in (True, True, False, False):
        buffer.keep(HEAD, BODY, hold=hold)
    assert numbers(buffer) == [1, 2, 3]
    other = ReplayBuffer(10, 1000)
    other.restore(buffer.state(), lossy=False)
    for one in (buffer, other):
        assert [one.is_complete(received) for received in (0, 3)] == [False, False]
        one.append(HEAD, BODY)
        assert [one.is_complete(received) for received in (3, 4)] == [False, True]


def test_a_client_that_has_not_passed_a_gap_does_not_get_everything() -> None:
    buffer = ReplayBuffer(10, 1000)
    buffer.restore(filled(7).state(), lossy=True)
    buffer.append(HEAD, BODY)
    assert [buffer.is_complete(received) for received in (7, 8)] == [False, True]


@given(
    refused=st.lists(st.booleans(), max_size=12),
    received=st.integers(0, 14),
    acknowledged=st.integers(0, 12),
    held=st.integers(0, 12),
)
def test_refused_messages_are_withheld_and_no_number_is_missing(
    refused: list[bool], received: int, acknowledged: int, held: int
) -> None:
    buffer = ReplayBuffer(100, 10_000)
    bodies = [b"%d:%s}" % (i, b"no" if no else b"yes") for i, no in enumerate(refused)]
    for i, body in enumerate(bodies):
        buffer.append(b"", body, hold=i >= held)
    buffer.acknowledge(acknowledged)
    room_before = [buffer.has_room(size) for size in range(9_800, 10_001)]
    buffer.withhold(received, lambda text: b"no" in text)
    left = [body for i, body in enumerate(bodies) if i >= acknowledged and (i < received or not refused[i])]
    assert [body for _, _, body in buffer.after(0)] == left
    assert buffer.last == len(refused) - sum(refused[max(received, acknowledged) :])
    assert numbers(buffer) == list(range(buffer.last - len(left) + 1, buffer.last + 1))
    assert buffer.bytes == sum(map(len, left))
    assert buffer.is_complete(received) == (min(acknowledged, len(refused)) <= received <= len(refused))
    assert [buffer.has_room(size) for size in range(9_800, 10_001)] >= room_before
    buffer.acknowledge(buffer.last)
    assert (len(buffer), buffer.bytes, buffer.has_room(10_000)) == (0, 0, True)


def test_a_gap_stays_where_it_is_among_the_messages_that_are_not_withheld() -> None:
    buffer = filled(4)
    state = buffer.state()
    buffer.restore(state, lossy=True)
    buffer.append(HEAD, b"no")
    buffer.append(HEAD, BODY)
    buffer.withhold(1, lambda text: b"no" in text)
    assert numbers(buffer, 4) == [5]
    assert [buffer.is_complete(received) for received in (3, 4, 5)] == [False, False, True]


LOBBY, PRIVATE, THIRD = RoomId("lobby"), RoomId("private"), RoomId("third")


def test_a_flood_in_one_room_pushes_out_no_message_of_another() -> None:
    buffer = ReplayBuffer(16, 1_000_000)
    buffer.append(HEAD, b"a friend's", PRIVATE)
    for number in range(200):
        buffer.append(HEAD, b"flood %d" % number, LOBBY)
        if number == 50:
            buffer.append(HEAD, b"another friend's", THIRD)
    kept = [body for _, _, body in buffer.after(0)]
    assert kept[:2] == [b"a friend's", b"another friend's"]
    assert kept[2:] == [b"flood %d" % number for number in range(202 - len(kept), 200)]
    assert 14 <= len(kept) == len(buffer) <= 16
    assert buffer.bytes == sum(len(HEAD) + len(body) for body in kept)
    assert [number for number, _, _ in buffer.after(0)][:2] == [1, 53]
    assert [buffer.is_complete(received) for received in (0, 1, 53, buffer.last)] == [False, False, False, True]


def test_large_messages_of_one_room_push_out_no_small_one_of_another() -> None:
    buffer = ReplayBuffer(100, 1000)
    for number in range(20):
        buffer.append(b"", b"x" * 300, LOBBY)
        buffer.append(b"", b"small", PRIVATE)
        assert buffer.bytes <= 1000
        assert [body for _, _, body in buffer.after(0)].count(b"small") == number + 1


def test_a_small_flood_pushes_out_no_large_message_of_another_room() -> None:
    buffer = ReplayBuffer(16, 1000)
    buffer.append(b"", b"x" * 400, PRIVATE)
    for _ in range(100):
        buffer.append(b"", b"!", LOBBY)
    assert buffer.after(0)[0] == (1, b"", b"x" * 400)


def test_places_of_dropped_messages_are_bounded() -> None:
    buffer = ReplayBuffer(8, 1000)
    buffer.append(HEAD, BODY, PRIVATE)
    for _ in range(MAX_DROPPED * 8 - 1):
        buffer.append(HEAD, BODY, LOBBY)
    assert numbers(buffer)[0] == 1
    assert len(buffer.state().kept) == MAX_DROPPED * 8
    buffer.append(HEAD, BODY, LOBBY)
    assert numbers(buffer)[0] > 1
    assert len(buffer.state().kept) <= MAX_DROPPED * 8


def test_another_buffer_continues_from_a_state_with_dropped_messages_and_knows_the_rooms() -> None:
    buffer = ReplayBuffer(16, 10_000)
    buffer.append(b"", b'"room":"private"}', PRIVATE)
    for _ in range(40):
        buffer.append(b"", b'"room":"lobby"}', LOBBY)
    other = ReplayBuffer(16, 10_000)
    other.restore(buffer.state(), lossy=False)
    assert other.after(0) == buffer.after(0)
    assert other.bytes == buffer.bytes
    assert [other.is_complete(received) for received in (0, 1, 41)] == [False, False, True]
    other.acknowledge(41 - 10)
    assert numbers(other) == list(range(32, 42))
    again = ReplayBuffer(16, 10_000)
    again.restore(buffer.state(), lossy=False)
    assert {room for _, _, room in again.kept()} == {LOBBY, PRIVATE}


def test_messages_that_are_held_leave_room_for_those_of_other_rooms() -> None:
    buffer = ReplayBuffer(16, 1_000_000)
    held = {LOBBY: 0, PRIVATE: 0, THIRD: 0}
    for room in held:
        while buffer.has_room(SIZE, room, alone=False):
            buffer.append(HEAD, BODY, room, hold=True)
            held[room] += 1
    assert held == {LOBBY: 8, PRIVATE: 4, THIRD: 2}
    assert buffer.has_room(SIZE, LOBBY, alone=True)
    sizes = ReplayBuffer(1000, 16 * SIZE)
    while sizes.has_room(SIZE, LOBBY, alone=False):
        sizes.append(HEAD, BODY, LOBBY, hold=True)
    assert len(sizes) == 8
    assert sizes.has_room(SIZE, PRIVATE, alone=False)


def test_a_message_of_a_room_that_holds_too_much_is_lost_and_that_of_another_is_kept() -> None:
    buffer = ReplayBuffer(8, 1_000_000)
    for _ in range(10):
        buffer.keep(HEAD, BODY, LOBBY, hold=True, alone=False)
    assert len(buffer) == 4
    buffer.keep(HEAD, BODY, PRIVATE, hold=False, alone=False)
    assert numbers(buffer) == [1, 2, 3, 4, 5]


ROOMS = st.sampled_from([LOBBY, PRIVATE, THIRD, None])


@example(steps=[(LOBBY, 1, True), (LOBBY, 1, False), (LOBBY, 1, False), 1], max_frames=1, max_bytes=8)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(ROOMS, st.integers(1, 30), st.booleans()),
            st.integers(-1, 60),
        ),
        max_size=80,
    ),
    max_frames=st.integers(1, 16),
    max_bytes=st.integers(1, 200),
)
def test_a_buffer_with_several_rooms_stays_within_its_limits_and_knows_what_it_lost(
    steps: list[tuple[RoomId | None, int, bool] | int], max_frames: int, max_bytes: int
) -> None:
    buffer = ReplayBuffer(max_frames, max_bytes)
    sent: list[tuple[int, bytes]] = []
    held = acknowledged = 0
    times = 1
    for step in steps:
        if isinstance(step, int):  # drops what is acknowledged, and leaves the rest to the next message
            buffer.acknowledge(step)
            acknowledged = max(acknowledged, min(step, len(sent)))
        else:
            room, size, wanted = step
            hold = wanted and buffer.has_room(size, room, alone=False)
            number = buffer.append(b"", b"x" * size, room, hold=hold)
            sent.append((number, b"x" * size))
            held = number if hold else held
            times = HELD_LIMIT if held > acknowledged else 1
        kept = buffer.after(0)
        assert len(kept) == len(buffer) <= times * max_frames
        assert buffer.bytes == sum(len(body) for _, _, body in kept) <= times * max_bytes
        assert [number for number, _ in sent] == list(range(1, len(sent) + 1))
        assert {(number, body) for number, _, body in kept} <= set(sent)
        for received in range(acknowledged, len(sent) + 1):
            replayed = [number for number, _, _ in buffer.after(received)]
            if buffer.is_complete(received):
                assert replayed == list(range(received + 1, len(sent) + 1))
        other = ReplayBuffer(max_frames, max_bytes)
        other.restore(buffer.state(), lossy=False)
        assert other.is_complete(len(sent)) == buffer.is_complete(len(sent))


BODIES = st.tuples(st.binary(max_size=4), st.binary(min_size=1, max_size=12))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), BODIES),
        st.tuples(st.just("hold"), BODIES),
        st.tuples(st.just("acknowledge"), st.integers(-1, 40)),
        st.tuples(st.just("move"), st.booleans()),
    ),
    max_size=60,
)


@given(steps=STEPS, max_frames=st.integers(1, 6), max_bytes=st.integers(1, 40))
def test_a_buffer_keeps_the_latest_messages_in_order_within_its_limits(
    steps: list[tuple[str, object]], max_frames: int, max_bytes: int
) -> None:
    buffer = ReplayBuffer(max_frames, max_bytes)
    sent: list[tuple[bytes, bytes]] = []
    acknowledged = held = moves = 0
    for step, value in steps:
        if isinstance(value, tuple):
            hold = step == "hold" and not moves and buffer.has_room(len(value[0]) + len(value[1]))
            sent.append(value)
            assert buffer.append(*value, hold=hold) == len(sent)
            held += hold
        elif step == "acknowledge" and isinstance(value, int):
            buffer.acknowledge(value)
            acknowledged = max(acknowledged, min(value, len(sent)))
        else:
            moves += 1
            state, buffer = buffer.state(), ReplayBuffer(max_frames, max_bytes)
            buffer.restore(state, lossy=False)
        kept = buffer.after(0)
        times = HELD_LIMIT if held or moves else 1
        assert len(kept) == len(buffer) <= times * max_frames
        assert buffer.bytes == sum(len(head) + len(body) for _, head, body in kept) <= times * max_bytes
        first = len(sent) - len(kept) + 1
        assert [(number, head + body) for number, head, body in kept] == [
            (number, head + body) for number, (head, body) in enumerate(sent[first - 1 :], first)
        ]
        assert first > acknowledged
        for received in range(len(sent) + 2):
            replayed = [number for number, _, _ in buffer.after(received)]
            assert buffer.is_complete(received) == (
                received <= len(sent) and replayed == list(range(received + 1, len(sent) + 1)) and received >= first - 1
            )
