"""Turns of loud clients: all get theirs, in order, and no more in a round than keep it short."""

from __future__ import annotations

import asyncio
import time

from mcp_actors.transports.turns import ROUND, Pace, Turns
from tests.support.loop import until


def test_fewer_are_let_through_while_rounds_are_long_but_one_always() -> None:
    pace = Pace(8)
    pace.begin(0.0)
    assert [pace.next_round(number * 2 * ROUND) for number in range(1, 6)] == [4, 2, 1, 1, 1]


def test_more_are_let_through_again_while_rounds_are_short_but_never_more_than_the_most() -> None:
    pace = Pace(4)
    pace.begin(0.0)
    assert [pace.next_round(1.0), pace.next_round(2.0)] == [2, 1]
    assert [pace.next_round(2.0 + number * ROUND / 2) for number in range(1, 6)] == [2, 3, 4, 4, 4]


def test_a_rest_is_no_long_round() -> None:
    pace = Pace(4)
    pace.begin(0.0)
    pace.next_round(ROUND / 2)
    pace.begin(100.0)
    assert pace.next_round(100.0 + ROUND / 2) == 4


async def test_who_comes_alone_has_its_turn_at_once_and_the_next_within_the_round_waits() -> None:
    turns = Turns(2)
    assert turns.take()
    assert not turns.take()
    await asyncio.wait_for(turns.turn(), 1)
    await until(turns.take, "the round is over")


async def test_all_who_wait_have_their_turn_in_order_and_at_most_so_many_in_a_round() -> None:
    turns, had = Turns(3), list[int]()
    for number in range(20):
        turns.wait(lambda number=number: had.append(number))  # type: ignore[misc]
    while len(turns):
        before = len(had)
        await asyncio.sleep(0)
        assert len(had) - before <= 3
    assert had == list(range(20))


async def test_without_a_rest_each_round_follows_the_one_before_at_once() -> None:
    turns, had = Turns(1, rest=0.0), list[int]()
    for number in range(20):
        turns.wait(lambda number=number: had.append(number))  # type: ignore[misc]
    rounds = 0
    while len(turns):
        rounds += 1
        await asyncio.sleep(0)
    assert rounds <= 3 * 20


async def test_what_those_do_who_were_woken_makes_a_round_long() -> None:
    turns, together = Turns(4), list[int]()
    awake = 0

    async def work() -> None:
        nonlocal awake
        await turns.turn()
        awake += 1
        until_then = time.monotonic() + 2 * ROUND
        while time.monotonic() < until_then:
            pass
        await asyncio.sleep(0)
        together.append(awake)
        awake -= 1

    await asyncio.gather(*(work() for _ in range(12)))
    assert max(together[:6]) > 1
    assert together[-4:] == [1, 1, 1, 1]


async def test_a_turn_that_fails_takes_nobody_elses() -> None:
    turns, had, failures = Turns(1), list[str](), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))

    def fail() -> None:
        raise ValueError("a bug")

    turns.wait(fail)
    turns.wait(lambda: had.append("next"))
    await until(lambda: had == ["next"], "the next has its turn")
    assert len(failures) == 1
