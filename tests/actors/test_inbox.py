"""The inbox of an actor: turns, their length, and waiting until it is empty."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pykka._envelope import Envelope

from mcp_actors.actors.inbox import TURN, Inbox
from tests.actors.test_loop import FAILURE, PYKKA, Recorder, actor_of, answer_of
from tests.support.loop import DEADLINE, scheduler, until

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs


async def test_an_inbox_wakes_the_loop_once_per_batch_of_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    ref = Recorder.start()
    wake = actor_of(ref).actor_inbox.wake
    wakes = []
    call_soon = loop.call_soon

    def counting(callback: Any, *args: Any, **kwargs: Any) -> Any:
        wakes.append(callback)
        return call_soon(callback, *args, **kwargs)

    monkeypatch.setattr(loop, "call_soon", counting)
    for number in range(TURN):
        ref.tell(number)
    assert wakes == [wake]
    monkeypatch.undo()
    await scheduler(1)
    assert len(actor_of(ref).got) == TURN


async def test_an_inbox_wakes_the_loop_again_after_it_was_empty() -> None:
    ref = Recorder.start()
    for number in range(3):
        ref.tell(number)
        await scheduler(1)
        assert actor_of(ref).got[-1] == number


async def test_a_turn_ends_after_a_batch_so_that_others_run() -> None:
    ref = Recorder.start()
    seen: list[int] = []
    for number in range(2 * TURN + 1):
        ref.tell(number)
    for _ in range(3):
        asyncio.get_running_loop().call_soon(lambda: seen.append(len(actor_of(ref).got)))
        await scheduler(1)
    assert seen == [TURN, 2 * TURN, 2 * TURN + 1]


async def test_a_busy_actor_does_not_starve_another() -> None:
    class Endless(Recorder):
        def on_receive(self, message: Any) -> None:
            if message != "end":
                self.actor_ref.tell(message)

    busy, other = Endless.start(), Recorder.start()
    for number in range(TURN + 1):
        busy.tell(number)
    assert await answer_of(other.ask("hello", block=False)) == "hello"
    await answer_of(busy.stop(block=False))


async def test_drained_is_done_at_once_when_there_is_no_mail() -> None:
    ref = Recorder.start()
    assert ref.actor_inbox.drained().done()  # type: ignore[attr-defined]


async def test_drained_waits_for_the_last_mail() -> None:
    ref = Recorder.start()
    for number in range(TURN + 1):
        ref.tell(number)
    waiters = [ref.actor_inbox.drained() for _ in range(3)]  # type: ignore[attr-defined]
    await scheduler(1)
    assert not any(waiter.done() for waiter in waiters)
    assert len(ref.actor_inbox) == 1  # type: ignore[arg-type]
    await scheduler(1)
    assert all(waiter.done() for waiter in waiters)
    await asyncio.gather(*waiters)


async def test_a_cancelled_waiter_does_not_disturb_the_others() -> None:
    ref = Recorder.start()
    ref.tell(1)
    first, second = ref.actor_inbox.drained(), ref.actor_inbox.drained()  # type: ignore[attr-defined]
    first.cancel()
    await asyncio.wait_for(second, DEADLINE)


async def test_drained_is_done_when_the_actor_dies(expected_logs: ExpectedLogs) -> None:
    expected_logs(PYKKA, FAILURE)
    ref = Recorder.start()
    ref.tell(ValueError("boom"))
    for number in range(2 * TURN):
        ref.tell(number)
    await asyncio.wait_for(ref.actor_inbox.drained(), 2)  # type: ignore[attr-defined]
    assert not ref.is_alive()


async def test_an_inbox_is_a_queue() -> None:
    inbox = Inbox()
    assert inbox.empty()
    for number in range(3):
        inbox.put(Envelope(number))
    assert (len(inbox), inbox.empty()) == (3, False)
    assert [inbox.get().message for _ in range(3)] == [0, 1, 2]
    with pytest.raises(IndexError):
        inbox.get()


async def test_a_mail_with_more_effort_takes_more_of_a_turn() -> None:
    class Toiling(Recorder):
        def on_receive(self, message: Any) -> Any:
            self.effort += TURN // 2
            return super().on_receive(message)

    ref = Toiling.start()
    for number in range(10):
        ref.tell(number)
    await scheduler(1)
    assert len(actor_of(ref).got) == 2
    await until(lambda: len(actor_of(ref).got) == 10, "the rest, in later turns")
