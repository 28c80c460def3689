"""Pings that are due, and the end of patience."""

from __future__ import annotations

from mcp_actors.client.heartbeat import DEAD, LATE, Heartbeat


def started(interval: float = 10) -> Heartbeat:
    heartbeat = Heartbeat(0)
    heartbeat.interval = interval
    assert heartbeat.check(0) == interval
    assert not heartbeat.ping_due
    return heartbeat


def test_silence_for_an_interval_asks_for_a_ping_and_for_two_ends_the_connection() -> None:
    heartbeat = started()
    assert (heartbeat.check(10), heartbeat.ping_due) == (10, True)
    assert (heartbeat.check(20), heartbeat.ping_due) == (DEAD, False)


def test_anything_that_arrives_counts() -> None:
    heartbeat = started()
    heartbeat.heard(4)
    assert (heartbeat.check(10), heartbeat.ping_due) == (4, False)
    assert (heartbeat.check(14), heartbeat.ping_due) == (10, True)
    heartbeat.heard(15)
    assert (heartbeat.check(24), heartbeat.ping_due) == (1, False)
    assert (heartbeat.check(25), heartbeat.ping_due) == (10, True)
    assert heartbeat.check(35) == DEAD


def test_a_late_check_proves_nothing() -> None:
    heartbeat = started()
    heartbeat.check(10)
    late = 20 + LATE + 0.1
    assert heartbeat.check(late) == 10
    assert heartbeat.ping_due
    assert heartbeat.check(late + 10) == DEAD
