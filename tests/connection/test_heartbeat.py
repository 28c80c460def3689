"""The heartbeat believes answers to its pings, other messages, and bytes that are taken; nothing else."""

from __future__ import annotations

import pytest

from mcp_actors.connection.heartbeat import CLIENT_FRAME_HEADER, MAX_UNANSWERED, Heartbeat


def test_a_pong_answers_its_ping_and_those_before_once() -> None:
    heartbeat = Heartbeat()
    first, second, third = (heartbeat.ping(number) for number in (3, 7, 7))
    assert len({first, second, third}) == 3
    assert [heartbeat.answered(data) for data in (second, second, first, third)] == [7, None, None, 7]


@pytest.mark.parametrize("data", [b"", b"7", b"7.", b"7.00000000", b"x" * 125])
def test_a_guess_answers_no_ping(data: bytes) -> None:
    heartbeat = Heartbeat()
    heartbeat.ping(7)
    assert heartbeat.answered(data) is None


def test_only_the_latest_pings_are_remembered() -> None:
    heartbeat = Heartbeat()
    pings = [heartbeat.ping(number) for number in range(MAX_UNANSWERED + 1)]
    assert [heartbeat.answered(data) for data in pings[:2]] == [None, 1]


def test_pongs_that_answer_no_ping_are_no_sign_of_life_and_everything_else_is() -> None:
    heartbeat, received = Heartbeat(), 0
    assert [heartbeat.take_heard(received) for _ in range(2)] == [True, False]
    for data in (b"", b"1", b"x" * 125):
        received += CLIENT_FRAME_HEADER + len(data)
        heartbeat.answered(data)
    assert not heartbeat.take_heard(received)
    ping = heartbeat.ping(1)
    received += CLIENT_FRAME_HEADER + len(ping)
    heartbeat.answered(ping)
    assert heartbeat.take_heard(received)
    assert not heartbeat.take_heard(received)
    assert heartbeat.take_heard(received + 1)


def test_a_client_that_takes_some_of_what_waits_is_heard_though_its_pong_is_late() -> None:
    heartbeat = Heartbeat()
    heartbeat.take_heard(0)
    heard = []
    for taken in (None, 10, 20, 21, 21, None, 30):
        heartbeat.is_stuck(taken)
        heard.append(heartbeat.take_heard(0))
    assert heard == [False, False, True, True, False, False, False]


def test_a_client_is_stuck_when_it_takes_nothing_for_two_rounds_though_something_waits() -> None:
    heartbeat = Heartbeat()
    assert [heartbeat.is_stuck(500) for _ in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("taken", [[1, 2, 3, 4, 5], [1, 1, 2, 2, 3, 3], [1, 1, None, 1, 1, None], [None] * 5])
def test_a_client_that_takes_a_byte_now_and_then_is_not_stuck(taken: list[int | None]) -> None:
    heartbeat = Heartbeat()
    assert not any(heartbeat.is_stuck(one) for one in taken)


def test_what_was_sent_three_rounds_ago_has_been_answered() -> None:
    heartbeat = Heartbeat()
    assert [heartbeat.sent_long_ago(number) for number in (5, 7, 7, 9, 9)] == [0, 0, 0, 5, 7]
