from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.ledger import Ledger


def ledger_of(count: int) -> tuple[Ledger, list[int]]:
    """Return the ledger of a sender, and when each of its messages was sent."""
    ledger = Ledger(1)
    return ledger, [ledger.send(0, 10 * (number + 1)) for number in range(count)]


def test_messages_that_arrive_in_order_are_delivered() -> None:
    ledger, left = ledger_of(3)
    assert all(ledger.arrive(0, time) for time in left)
    assert ledger.balance() == {
        "sent": 3,
        "delivered": 3,
        "lost": 0,
        "duplicated": 0,
        "reordered": 0,
        "amiss": 0,
    }


def test_a_message_that_does_not_arrive_is_lost_and_reorders_nothing() -> None:
    ledger, (first, _, third) = ledger_of(3)
    ledger.arrive(0, first)
    ledger.arrive(0, third)
    assert (ledger.delivered, ledger.lost, ledger.reordered) == (2, 1, 0)


def test_a_second_copy_is_a_duplicate() -> None:
    ledger, (only,) = ledger_of(1)
    assert ledger.arrive(0, only)
    assert not ledger.arrive(0, only)
    assert (ledger.delivered, ledger.duplicated, ledger.lost) == (1, 1, 0)


def test_only_a_message_that_arrives_after_a_later_one_is_reordered() -> None:
    ledger, (first, second, third) = ledger_of(3)
    for time in (second, third, first):
        ledger.arrive(0, time)
    assert (ledger.delivered, ledger.reordered) == (3, 1)


def test_messages_of_different_senders_have_no_order() -> None:
    ledger = Ledger(2)
    early, late = ledger.send(0, 10), ledger.send(1, 20)
    ledger.arrive(1, late)
    ledger.arrive(0, early)
    assert ledger.reordered == 0


def test_times_of_sending_are_unique_per_sender() -> None:
    ledger = Ledger(1)
    assert [ledger.send(0, now) for now in (10, 10, 9, 20)] == [10, 11, 12, 20]


@given(st.lists(st.integers(0, 9)))
def test_the_counts_agree_with_a_recount(arrivals: list[int]) -> None:
    ledger, left = ledger_of(10)
    for number in arrivals:
        ledger.arrive(0, left[number])
    firsts = list(dict.fromkeys(arrivals))
    overtaken = sum(any(earlier > number for earlier in firsts[:place]) for place, number in enumerate(firsts))
    assert (ledger.delivered, ledger.lost) == (len(firsts), 10 - len(firsts))
    assert (ledger.duplicated, ledger.reordered) == (len(arrivals) - len(firsts), overtaken)
