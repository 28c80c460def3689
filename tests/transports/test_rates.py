"""Token buckets: nobody within the rate is slowed, and nobody gets more."""

from __future__ import annotations

from itertools import accumulate
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.transports.rates import Rate

PAUSES = st.lists(st.floats(0, 30), min_size=1, max_size=60)
RATES = st.builds(Rate, st.floats(0.1, 1000), st.integers(1, 100))


def let_in(rate: Rate, times: list[float]) -> list[float]:
    """When those came that were let in: who is not is charged nothing."""
    due, passed = 0.0, []
    for now in times:
        spent = rate.spend(due, now, 1)
        if rate.wait(spent, now) <= 1e-9:
            due = spent
            passed.append(now)
    return passed


@given(RATES, PAUSES)
def test_in_no_span_of_time_is_more_let_in_than_the_burst_and_what_the_rate_brings(
    rate: Rate, pauses: list[float]
) -> None:
    passed = let_in(rate, list(accumulate(pauses)))
    for first, begin in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            assert last - first + 1 <= rate.burst + (end - begin) / rate.interval + 1e-6


@given(RATES, st.lists(st.floats(1, 10), min_size=1, max_size=60))
def test_all_of_a_sender_that_keeps_to_the_rate_is_let_in(rate: Rate, gaps: list[float]) -> None:
    times = list(accumulate(gap * rate.interval for gap in gaps))
    assert let_in(rate, times) == times


@given(RATES, st.integers(1, 500), st.floats(0, 1e6))
def test_after_the_wait_it_was_told_there_is_room_for_what_was_too_much(rate: Rate, count: int, now: float) -> None:
    due = rate.spend(0.0, now, count)
    wait = rate.wait(due, now)
    assert isclose(wait, (count - rate.burst) * rate.interval, rel_tol=1e-6, abs_tol=1e-6)
    assert abs(rate.wait(due, now + wait)) < 1e-6


def test_no_rate_is_no_limit() -> None:
    rate = Rate(0, 1)
    due = rate.spend(0.0, 5.0, 10**9)
    assert rate.wait(due, 5.0) < 0
    assert due <= 5.0
