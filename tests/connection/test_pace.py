"""Deliveries are spread over time, however many clients cause them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.connection.pace import NO_PACE, Pace


def test_deliveries_are_booked_one_behind_the_other() -> None:
    pace = Pace(100)
    assert [pace.book(50, now) for now in (0.0, 0.0, 1.0, 9.0)] == [0.5, 1.0, 0.5, 0.5]


def test_a_client_that_sends_now_and_then_waits_no_longer_than_all_others_together_sent_at_once() -> None:
    pace = Pace(1000)
    due = [0.0] * 20
    now = 0.0
    for _ in range(200):
        sender = min(range(20), key=due.__getitem__)
        now = max(now, due[sender])
        due[sender] = now + pace.book(100, now)
    assert pace.book(100, now) <= 21 * 100 / 1000 + 1e-6


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 5)), min_size=1))
def test_no_more_is_booked_than_the_rate(bookings: list[tuple[int, int]]) -> None:
    pace, now, booked = Pace(100), 0.0, 0
    for deliveries, passed in bookings:
        now += passed
        booked += deliveries
        assert now + pace.book(deliveries, now) >= booked / 100 - 1e-6


def test_without_a_rate_nobody_waits() -> None:
    assert NO_PACE.book(10**9, 5.0) == pytest.approx(0.0)
