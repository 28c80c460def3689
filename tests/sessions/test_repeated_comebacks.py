"""Sessions that come back again and again wait for each other; others do not wait, and all are forgotten in time."""

from __future__ import annotations

import asyncio

import pytest

from mcp_actors.protocol.errors import RateLimited
from mcp_actors.sessions.repeated_comebacks import (
    COST_HERE,
    FORGOTTEN_AFTER,
    FREE_COMEBACKS,
    PATIENCE,
    RepeatedComebacks,
)


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait, which takes no time."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found


def returning(comebacks: RepeatedComebacks, *sessions: str, rooms: int = 10) -> None:
    """Let sessions come back as often as they may without waiting."""
    for session in sessions:
        for _ in range(FREE_COMEBACKS):
            comebacks.note(session, rooms)


async def test_sessions_that_come_back_again_and_again_wait_for_those_before_them(slept: list[float]) -> None:
    comebacks = RepeatedComebacks(100, 9, Clock())
    returning(comebacks, "one", "two", "three")
    for session in ("one", "two", "three", "one"):
        await comebacks.take_turn(session)
    assert slept == pytest.approx([0.1, 0.2, 0.3])


async def test_a_session_that_was_here_makes_others_wait_for_an_eighth_of_the_time(slept: list[float]) -> None:
    comebacks = RepeatedComebacks(100, 9, Clock())
    returning(comebacks, "one", "two")
    await comebacks.take_turn("one", COST_HERE)
    await comebacks.take_turn("two")
    assert slept == pytest.approx([0.1 / 8])


async def test_a_session_that_comes_back_now_and_then_waits_for_nobody(slept: list[float]) -> None:
    clock = Clock()
    comebacks = RepeatedComebacks(1, 9, clock)
    returning(comebacks, "often")
    await comebacks.take_turn("often")
    for _ in range(2 * FREE_COMEBACKS):
        await comebacks.take_turn("calm")
        comebacks.note("calm", 30)
        clock.now += FORGOTTEN_AFTER
    await comebacks.take_turn("new")
    assert slept == []


async def test_what_was_waited_for_is_made_up_for_in_time(slept: list[float]) -> None:
    clock = Clock()
    comebacks = RepeatedComebacks(100, 9, clock)
    returning(comebacks, "one", "two", rooms=50)
    await comebacks.take_turn("one")
    clock.now = 0.4
    await comebacks.take_turn("two")
    clock.now = 1.0
    await comebacks.take_turn("one")
    assert slept == pytest.approx([0.1])


async def test_a_session_that_would_wait_too_long_is_refused_and_told_how_long(slept: list[float]) -> None:
    comebacks = RepeatedComebacks(10, 9, Clock())
    returning(comebacks, "one", "two", rooms=int(10 * PATIENCE) + 1)
    await comebacks.take_turn("one")
    with pytest.raises(RateLimited) as refused:
        await comebacks.take_turn("two")
    assert refused.value.details == {"retry_after_ms": round(1000 * PATIENCE) + 100}
    assert slept == []


async def test_a_refusal_makes_others_wait_no_longer(slept: list[float]) -> None:
    clock = Clock()
    comebacks = RepeatedComebacks(10, 9, clock)
    returning(comebacks, "one", "two", rooms=int(10 * PATIENCE) + 1)
    await comebacks.take_turn("one")
    for _ in range(3):
        with pytest.raises(RateLimited):
            await comebacks.take_turn("two")
    clock.now = 0.1
    await comebacks.take_turn("two")
    assert slept == pytest.approx([PATIENCE])


async def test_nobody_waits_without_a_limit(slept: list[float]) -> None:
    comebacks = RepeatedComebacks(0, 9, Clock())
    returning(comebacks, "one", "two", rooms=10_000)
    for session in ("one", "two", "one", "two"):
        await comebacks.take_turn(session)
    assert slept == []


def test_sessions_are_forgotten_in_time_and_when_there_are_too_many() -> None:
    clock = Clock()
    comebacks = RepeatedComebacks(100, 3, clock)
    returning(comebacks, "a", "b", "c", "d")
    assert len(comebacks) == 3
    clock.now = FREE_COMEBACKS * FORGOTTEN_AFTER
    comebacks.note("e", 1)
    assert len(comebacks) == 1
