"""Token buckets: a sender within the rate is never slowed, and no sender gets more."""

from __future__ import annotations

from itertools import accumulate
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.connection.token_bucket import TokenBucket

PAUSES = st.lists(st.floats(0, 30), min_size=1, max_size=60)
RATES = st.builds(TokenBucket, st.floats(0.1, 1000), st.integers(1, 100))


def let_in(rate: TokenBucket, times: list[float]) -> list[float]:
    """Return the times of the senders that were let in; a refused sender is not charged."""
    due, passed = 0.0, []
    for now in times:
        spent = rate.spend(due, now, 1)
        if rate.wait(spent, now) <= 1e-9:
            due = spent
            passed.append(now)
    return passed


@given(RATES, PAUSES)
def test_no_period_lets_in_more_than_the_burst_and_the_rate(rate: TokenBucket, pauses: list[float]) -> None:
    passed = let_in(rate, list(accumulate(pauses)))
    for first, begin in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            assert last - first + 1 <= rate.burst + (end - begin) / rate.interval + 1e-6


@given(RATES, st.lists(st.floats(1, 10), min_size=1, max_size=60))
def test_a_sender_within_the_rate_is_always_let_in(rate: TokenBucket, gaps: list[float]) -> None:
    times = list(accumulate(gap * rate.interval for gap in gaps))
    assert let_in(rate, times) == times


@given(RATES, st.integers(1, 500), st.floats(0, 1e6))
def test_an_overdrawn_bucket_is_at_zero_after_the_wait(rate: TokenBucket, count: int, now: float) -> None:
    due = rate.spend(0.0, now, count)
    wait = rate.wait(due, now)
    assert isclose(wait, (count - rate.burst) * rate.interval, rel_tol=1e-6, abs_tol=1e-6)
    assert abs(rate.wait(due, now + wait)) < 1e-6


def test_a_rate_of_0_is_no_limit() -> None:
    rate = TokenBucket(0, 1)
    due = rate.spend(0.0, 5.0, 10**9)
    assert rate.wait(due, 5.0) < 0
    assert due <= 5.0
