"""Fair scheduling: every caller has its turn, in order, and rounds stay short."""

from __future__ import annotations

import asyncio

from mcp_actors.ws.fair_scheduler import CAUSED, TARGET_ROUND, AdaptiveBatch, FairScheduler
from tests.support.loop import until


def test_a_batch_shrinks_while_rounds_are_long_down_to_one() -> None:
    batch = AdaptiveBatch(8)
    batch.begin(0.0)
    assert [batch.next_round(number * 2 * TARGET_ROUND) for number in range(1, 6)] == [4, 2, 1, 1, 1]


def test_a_batch_grows_again_while_rounds_are_short_up_to_its_maximum() -> None:
    batch = AdaptiveBatch(4)
    batch.begin(0.0)
    assert [batch.next_round(1.0), batch.next_round(2.0)] == [2, 1]
    assert [batch.next_round(2.0 + number * TARGET_ROUND / 2) for number in range(1, 6)] == [2, 3, 4, 4, 4]


def test_a_rest_does_not_count_as_a_long_round() -> None:
    batch = AdaptiveBatch(4)
    batch.begin(0.0)
    batch.next_round(TARGET_ROUND / 2)
    batch.begin(100.0)
    assert batch.next_round(100.0 + TARGET_ROUND / 2) == 4


async def test_the_first_turn_of_a_round_is_free_and_the_second_is_not() -> None:
    scheduler = FairScheduler(2)
    assert scheduler.take()
    assert not scheduler.take()
    await until(scheduler.take, "the round is over")


async def test_callers_have_their_turn_in_order_and_at_most_so_many_in_a_round() -> None:
    scheduler, served = FairScheduler(3), list[int]()
    for number in range(20):
        scheduler.wait(lambda number=number: served.append(number))  # type: ignore[misc]
    while len(scheduler):
        before = len(served)
        await asyncio.sleep(0)
        assert len(served) - before <= 3
    assert served == list(range(20))


async def test_without_a_rest_each_round_follows_the_last_at_once() -> None:
    scheduler, served = FairScheduler(1, rest=0.0), list[int]()
    for number in range(20):
        scheduler.wait(lambda number=number: served.append(number))  # type: ignore[misc]
    rounds = 0
    while len(scheduler):
        rounds += 1
        await asyncio.sleep(0)
    assert rounds <= (3 + CAUSED) * 20


async def test_a_round_ends_when_what_it_caused_is_done() -> None:
    scheduler, told = FairScheduler(1, rest=0.0), list[str]()
    loop = asyncio.get_running_loop()

    def read() -> None:
        loop.call_soon(lambda: loop.call_soon(told.append, "written"))

    scheduler.wait(read)
    scheduler.wait(lambda: told.append("next"))
    await until(lambda: len(told) == 2, "both have had their turns")
    assert told == ["written", "next"]


async def test_a_callback_that_fails_takes_no_turn_of_another() -> None:
    scheduler, served, failures = FairScheduler(1), list[str](), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))

    def fail() -> None:
        raise ValueError("a bug")

    scheduler.wait(fail)
    scheduler.wait(lambda: served.append("next"))
    await until(lambda: served == ["next"], "the next has its turn")
    assert len(failures) == 1
