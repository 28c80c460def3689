"""Pauses between attempts."""

from __future__ import annotations

from mcp_actors.client.backoff import Backoff


def test_pauses_double_up_to_a_limit_and_are_spread() -> None:
    backoff = Backoff(0.5, 4)
    pauses = [backoff.next(0, at_once=0.2) for _ in range(6)]
    for pause, most in zip(pauses[1:], (0.5, 1, 2, 4, 4), strict=True):
        assert most / 2 <= pause <= most
    assert 0 <= pauses[0] <= 0.2
    backoff.reset()
    assert backoff.next(0) == 0


def test_many_failures_do_not_overflow() -> None:
    backoff = Backoff(0.5, 4)
    assert max(backoff.next(0) for _ in range(3000)) <= 4


def test_what_the_server_wants_comes_on_top() -> None:
    backoff = Backoff(0.5, 4)
    backoff.wait_until(10)
    backoff.wait_until(5)
    assert backoff.next(7) == 3
    assert backoff.next(11) <= 0.5


def test_an_attempt_in_a_hurry_waits_only_as_long_as_the_server_wants() -> None:
    backoff = Backoff(0.5, 4)
    assert backoff.least(7) == 0
    backoff.wait_until(10)
    assert (backoff.least(7), backoff.least(11)) == (3, 0)
