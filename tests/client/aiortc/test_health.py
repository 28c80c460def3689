"""Attempts and failures, on a clock of the test."""

from __future__ import annotations

from mcp_actors.client.aiortc.health import FAILED_AFTER, PAUSES, PairHealth


def attempts(health: PairHealth, until: float) -> list[float]:
    """When attempts begin, looking every half second."""
    times = []
    for step in range(int(until * 2) + 1):
        if health.is_attempt_due(step / 2):
            health.attempt(step / 2)
            times.append(step / 2)
    return times


def test_a_pair_that_is_not_connected_in_time_has_failed_once() -> None:
    health = PairHealth(0)
    assert not health.fail(FAILED_AFTER - 0.1)
    assert health.fail(FAILED_AFTER)
    assert health.has_failed
    assert not health.fail(FAILED_AFTER + 1)
    health.connect()
    assert (health.is_well, health.has_failed) == (True, False)


def test_a_broken_pair_is_healed_at_once_and_after_growing_pauses() -> None:
    health = PairHealth(0)
    health.connect()
    assert health.break_(0, 0)
    assert not health.break_(0, 0)
    assert attempts(health, 40) == [0, 2, 4, 7, 11, 17, 25, 33]
    assert PAUSES[-1] == 8


def test_it_lasts_since_the_other_side_was_heard() -> None:
    health = PairHealth(0)
    health.connect()
    health.break_(13, 10)
    assert health.lasts(14) == 4
    assert health.fail(10 + FAILED_AFTER)


def test_a_first_connection_is_given_up_once_and_then_tried_as_others() -> None:
    health = PairHealth(0)
    assert not health.is_attempt_due(1)
    health.give_up_first(1)
    assert health.is_attempt_due(1)
    health.attempt(1)
    health.give_up_first(1)
    assert not health.is_attempt_due(2)


def test_a_hurry_makes_the_next_attempt_due_and_leaves_a_pair_alone_that_is_well() -> None:
    health = PairHealth(0)
    health.hurry(1)
    assert health.is_attempt_due(1)
    health.connect()
    health.hurry(2)
    assert not health.is_attempt_due(2)
