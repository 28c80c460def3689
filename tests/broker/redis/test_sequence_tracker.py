from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.broker.redis.sequence_tracker import EPOCH, Arrival, SequenceTracker


def test_frames_are_counted_for_each_source_and_target() -> None:
    channels = SequenceTracker()
    assert [channels.next("a", "b") for _ in range(3)] == [1, 2, 3]
    assert channels.next("a", "c") == 1
    assert channels.next("b", "a") == 1
    assert channels.next("a", "b") == 4


def test_sent_and_received_frames_are_counted_separately() -> None:
    channels = SequenceTracker()
    channels.next("a", "b")
    assert channels.arrived("a", "b", 1) is Arrival.NEXT
    assert channels.next("a", "b") == 2


def test_a_repeated_frame_is_detected() -> None:
    channels = SequenceTracker()
    arrivals = [channels.arrived("a", "b", number) for number in (1, 1, 2, 1, 2, 3)]
    again, following = Arrival.AGAIN, Arrival.NEXT
    assert arrivals == [following, again, following, again, again, following]


def test_a_gap_is_reported_once() -> None:
    channels = SequenceTracker()
    assert channels.arrived("a", "b", 2) is Arrival.GAP
    assert channels.arrived("a", "b", 3) is Arrival.NEXT
    assert channels.arrived("a", "b", 1) is Arrival.AGAIN
    assert channels.arrived("a", "b", 7) is Arrival.GAP
    assert channels.arrived("a", "b", 6) is Arrival.AGAIN


def test_frames_of_one_source_do_not_count_for_another() -> None:
    channels = SequenceTracker()
    assert channels.arrived("a", "b", 1) is Arrival.NEXT
    assert channels.arrived("c", "b", 1) is Arrival.NEXT
    assert channels.arrived("a", "c", 1) is Arrival.NEXT


def test_a_forgotten_member_leaves_nothing_behind_as_source_or_as_target() -> None:
    channels = SequenceTracker()
    for source, target in (("a", "b"), ("b", "a"), ("b", "c")):
        channels.next(source, target)
        channels.arrived(source, target, 1)
    assert len(channels) == 6
    channels.forget("a")
    assert len(channels) == 2
    channels.forget("c")
    assert len(channels) == 0


def test_forgetting_one_member_keeps_the_counts_of_the_others() -> None:
    channels = SequenceTracker()
    channels.next("b", "c")
    channels.arrived("b", "c", 1)
    channels.forget("a")
    assert channels.next("b", "c") == 2
    assert channels.arrived("b", "c", 1) is Arrival.AGAIN


@given(st.lists(st.integers(1, 20), max_size=60))
def test_no_frame_counts_twice_and_none_counts_before_an_earlier_one(numbers: list[int]) -> None:
    channels = SequenceTracker()
    counted = [number for number in numbers if channels.arrived("a", "b", number) is not Arrival.AGAIN]
    assert counted == sorted(set(counted))
    assert counted[-1:] == ([max(numbers)] if numbers else [])


@given(st.lists(st.integers(1, 20), max_size=60))
def test_a_gap_is_seen_exactly_where_numbers_are_skipped(numbers: list[int]) -> None:
    channels, last = SequenceTracker(), 0
    for number in numbers:
        arrival = channels.arrived("a", "b", number)
        assert (arrival is Arrival.GAP) == (number > last + 1)
        last = max(last, number)


def test_each_move_starts_the_numbers_of_a_new_epoch() -> None:
    old, new = SequenceTracker(), SequenceTracker()
    assert [old.next("a", "b") for _ in range(2)] == [1, 2]
    assert [new.next("a", "b", 1) for _ in range(2)] == [EPOCH + 1, EPOCH + 2]
    assert new.next("a", "b", 3) == 3 * EPOCH + 1


def test_numbers_never_fall_when_epochs_are_known_late() -> None:
    channels = SequenceTracker()
    channels.next("a", "b", 2)
    assert channels.next("a", "b", 1) == 2 * EPOCH + 2


def test_the_first_frame_of_an_epoch_is_no_gap() -> None:
    channels = SequenceTracker()
    assert channels.arrived("a", "b", 5) is Arrival.GAP
    assert channels.arrived("a", "b", EPOCH + 1) is Arrival.NEXT
    assert channels.arrived("a", "b", EPOCH + 2) is Arrival.NEXT
    assert channels.arrived("a", "b", 6) is Arrival.AGAIN
    assert channels.arrived("a", "b", 4 * EPOCH + 2) is Arrival.GAP
    assert channels.arrived("a", "b", 5 * EPOCH + 1) is Arrival.NEXT
