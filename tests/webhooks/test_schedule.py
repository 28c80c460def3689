"""When webhooks are delivered: the rules by themselves, and random receivers in a time that the test sets."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.webhooks.schedule import DOWN_AFTER, FIRST_PAUSE, LONGEST_PAUSE, Schedule

HALF, FULL = 0.0, 1.0
"""Random numbers that make pauses the shortest, and the longest."""


def schedule(connections: int = 8, attempts: int = 100, random: float = FULL) -> Schedule[int]:
    return Schedule(connections, attempts, lambda: random)


def filled(*rooms: str, connections: int = 8, attempts: int = 100) -> Schedule[int]:
    made = schedule(connections, attempts)
    for number, room in enumerate(rooms):
        made.add(room, number)
    return made


def take(made: Schedule[int], now: float = 0.0) -> list[tuple[str, int]]:
    """All that may be delivered now."""
    found = []
    while (one := made.next(now)) is not None:
        found.append((one.room, one.item))
    return found


def test_the_events_of_a_room_follow_each_other_and_rooms_do_not_wait_for_each_other() -> None:
    made = filled("r", "r", "s", "r")
    assert take(made) == [("r", 0), ("s", 2)]
    assert made.wait(0.0) is None
    made.delivered("r")
    assert take(made) == [("r", 1)]


def test_no_more_are_under_way_than_there_are_connections() -> None:
    made = filled("r", "s", "t", connections=2)
    assert take(made) == [("r", 0), ("s", 1)]
    made.delivered("s")
    assert take(made) == [("t", 2)]


@pytest.mark.parametrize(("random", "part"), [(HALF, 0.5), (FULL, 1.0)])
def test_an_event_is_repeated_after_pauses_that_double_up_to_a_bound(random: float, part: float) -> None:
    made = schedule(random=random)
    made.add("r", 1)
    now, pauses = 0.0, []
    for _ in range(12):
        assert take(made, now) == [("r", 1)]
        made.add("s", 0)  # others are delivered
        assert take(made, now) == [("s", 0)]
        made.delivered("s")
        assert not made.failed("r", now)
        pause = made.wait(now)
        assert pause is not None
        assert take(made, now + pause * 0.99) == []
        pauses.append(pause)
        now += pause
    assert pauses == [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) * part for n in range(12)]


def test_a_receiver_that_wants_to_be_left_alone_is() -> None:
    made = filled("r")
    take(made)
    made.failed("r", 0.0, after=40.0)
    assert made.wait(0.0) == 40.0


def test_an_event_that_fails_while_others_succeed_is_given_up() -> None:
    made = filled("bad", "bad", attempts=3)
    now, given_up = 0.0, False
    for _ in range(3):
        made.add("good", 9)
        assert sorted(take(made, now)) == [("bad", 0), ("good", 9)]
        made.delivered("good")
        assert not given_up
        given_up = made.failed("bad", now)
        now += 2 * LONGEST_PAUSE
    assert given_up
    assert take(made, now) == [("bad", 1)]


def test_nothing_is_given_up_while_the_receiver_takes_nothing() -> None:
    made = filled("r", "s", attempts=3)
    now = 0.0
    for _ in range(100):
        for room, _ in take(made, now):
            assert not made.failed(room, now)
        now += 2 * LONGEST_PAUSE
    assert made.size == 2


def test_an_event_that_is_too_old_is_given_up_when_it_fails() -> None:
    made = filled("r")
    take(made)
    assert made.failed("r", 0.0, expired=True)
    assert (made.size, take(made, 99.0)) == (0, [])


def test_while_the_receiver_is_down_one_event_after_another_is_tried() -> None:
    made = filled(*(str(n) for n in range(100)))
    now, tried = 0.0, 0
    for _ in range(DOWN_AFTER):
        under_way = take(made, now)
        assert len(under_way) == 8
        for room, _ in under_way:
            made.failed(room, now + 0.1)
        now += 0.2
    assert made.is_down
    seen = set()
    for _ in range(20):
        pause = made.wait(now)
        assert pause is not None
        now += pause
        (one,) = take(made, now)
        seen.add(one)
        made.failed(one[0], now)
        tried += 1
    assert len(seen) == tried
    (last,) = take(made, now + LONGEST_PAUSE)
    made.delivered(last[0])
    assert len(take(made, now + LONGEST_PAUSE)) == 8


def test_several_failures_at_once_are_one() -> None:
    made = filled(*"abcdefgh")
    for room, _ in take(made):
        made.failed(room, 5.0)
    assert not made.is_down


@given(st.integers(0, 2**32), st.integers(1, 4), st.floats(0, 0.8))
def test_whatever_fails_everything_is_delivered_in_the_order_of_its_room(
    seed: int, connections: int, fails: float
) -> None:
    rng = Random(seed)  # noqa: S311 - reproducible, not secret
    made: Schedule[int] = Schedule(connections, 10**9, rng.random)
    expected: dict[str, list[int]] = {}
    delivered: dict[str, list[int]] = {}
    under_way: dict[str, int] = {}
    now, number, down_until = 0.0, 0, 0.0
    while number < 60 or made.size:
        if number < 60 and rng.random() < 0.5:
            room = rng.choice("rstu")
            made.add(room, number)
            expected.setdefault(room, []).append(number)
            number += 1
        one = made.next(now)
        if one is not None:
            assert one.room not in under_way
            under_way[one.room] = one.item
            assert len(under_way) <= connections
        if under_way and rng.random() < 0.7:
            room = rng.choice(sorted(under_way))
            item = under_way.pop(room)
            if now < down_until or rng.random() < fails:
                assert not made.failed(room, now, after=rng.choice((0.0, 3.0)))
            else:
                made.delivered(room)
                delivered.setdefault(room, []).append(item)
        if rng.random() < 0.02:
            down_until = now + 100.0
        pause = made.wait(now)
        if one is None and not under_way:
            assert pause is not None or not made.size  # else nothing would ever happen again
            now += pause or 0.1
        now += rng.random()
    assert delivered == expected
