"""The futures of actors on the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_actors.actors.future import LoopFuture
from tests.actors.test_loop import answer_of, awaited
from tests.support.loop import scheduler


async def test_a_future_that_is_not_done_raises_instead_of_blocking() -> None:
    future: LoopFuture[int] = LoopFuture()
    with pytest.raises(RuntimeError, match="would block"):
        future.get()
    with pytest.raises(RuntimeError, match="would block"):
        future.get(timeout=1)
    future.set(5)
    assert future.get() == 5
    assert future.get() == 5
    assert await future == 5
    assert await future == 5


async def test_a_future_is_set_once() -> None:
    future: LoopFuture[int] = LoopFuture()
    future.set(1)
    with pytest.raises(asyncio.InvalidStateError):
        future.set(2)
    assert future.get() == 1


async def test_an_exception_is_set_from_the_one_being_handled() -> None:
    future: LoopFuture[int] = LoopFuture()
    try:
        raise ValueError("boom")  # noqa: TRY301
    except ValueError:
        future.set_exception()
    with pytest.raises(ValueError, match="boom"):
        future.get()
    with pytest.raises(ValueError, match="boom"):
        await future


async def test_setting_no_exception_raises() -> None:
    future: LoopFuture[int] = LoopFuture()
    with pytest.raises(RuntimeError, match="needs an exception"):
        future.set_exception()
    future.set(1)


async def test_a_future_passes_its_outcome_on() -> None:
    for value in (5, None):
        first, second = LoopFuture[Any](), LoopFuture[Any]()
        first.pipe(second)
        first.set(value)
        assert await answer_of(second) == value


async def test_a_cancelled_future_passes_on_none() -> None:
    first, second = LoopFuture[Any](), LoopFuture[Any]()
    first.pipe(second)
    waiting = asyncio.ensure_future(awaited(first))
    await scheduler(1)
    waiting.cancel()
    assert await answer_of(second) is None


async def test_futures_are_combined_as_pykka_combines_them() -> None:
    first, second = LoopFuture[Any](), LoopFuture[Any]()
    mapped = first.map(lambda value: value + 1)
    waiting = asyncio.ensure_future(awaited(first.join(second)))
    with pytest.raises(RuntimeError, match="would block"):
        mapped.get()
    first.set(1)
    await scheduler(3)
    assert not waiting.done()
    second.set_exception((RecursionError, RecursionError("boom"), None))
    with pytest.raises(RecursionError, match="boom"):
        await answer_of(waiting)
    assert await answer_of(mapped) == 2
