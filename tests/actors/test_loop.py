from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from pykka import ActorDeadError, ActorRegistry, messages
from pykka._envelope import Envelope

from mcp_actors.actors.loop import PYKKA_MAIL, TURN, Inbox, LoopActor, LoopFuture
from tests.support.loop import DEADLINE, scheduler, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from tests.conftest import ExpectedLogs

PYKKA = "pykka"
FAILURE = "Unhandled exception in"


STARTED: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


class Recorder(LoopActor):
    """Records its mail, and what happened to it."""

    idle_matters = True

    def __init__(self, life: list[str] | None = None, *, survivor: bool = True) -> None:
        super().__init__()
        STARTED[self.actor_urn] = self
        self.got: list[Any] = []
        self.life = [] if life is None else life
        self.survivor = survivor
        self.promise: LoopFuture[Any] | None = None

    def on_start(self) -> None:
        self.life.append("start")

    def on_stop(self) -> None:
        self.life.append("stop")

    def on_idle(self) -> None:
        self.life.append("idle")

    def on_failure(self, *failure: Any) -> None:
        self.life.append(f"failure {failure[0].__name__}: {failure[1]}")

    def survives(self, error: Exception) -> bool:
        return self.survivor

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        match message:
            case Exception():
                raise message
            case "later":
                self.promise = LoopFuture()
                return self.promise
            case "stop":
                self.stop()
            case "retire":
                self.retire()
        return message

    def double(self, number: int) -> int:
        return 2 * number

    def note(self, word: str) -> None:
        self.life.append(word)

    def fail(self) -> None:
        raise ValueError("from a method")


def _actor(ref: pykka.ActorRef[Any]) -> Any:
    return STARTED[ref.actor_urn]


async def _answer(future: Awaitable[Any]) -> Any:
    """Await in a task of its own, and not for ever."""
    return await asyncio.wait_for(asyncio.ensure_future(_awaited(future)), 2)


async def _awaited(future: Awaitable[Any]) -> Any:
    return await future


@contextmanager
def _without_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_mail_is_handled_in_the_order_it_was_told() -> None:
    ref = Recorder.start()
    for number in range(3 * TURN):
        ref.tell(number)
    assert await ref.ask("last", block=False) == "last"
    assert _actor(ref).got == [*range(3 * TURN), "last"]


async def test_tell_and_ask_share_one_order() -> None:
    ref = Recorder.start()
    ref.tell(1)
    answer = ref.ask(2, block=False)
    ref.tell(3)
    await answer
    await ref.actor_inbox.drained()  # type: ignore[attr-defined]
    assert _actor(ref).got == [1, 2, 3]


async def test_nothing_is_handled_within_the_call() -> None:
    ref = Recorder.start()
    ref.tell(1)
    assert _actor(ref).got == []
    await scheduler(1)
    assert _actor(ref).got == [1]


async def test_an_inbox_wakes_the_loop_once_per_batch_of_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    ref = Recorder.start()
    wake = _actor(ref).actor_inbox.wake
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
    assert len(_actor(ref).got) == TURN


async def test_an_inbox_wakes_the_loop_again_after_it_was_empty() -> None:
    ref = Recorder.start()
    for number in range(3):
        ref.tell(number)
        await scheduler(1)
        assert _actor(ref).got[-1] == number


async def test_an_actor_tells_itself_mail_later_if_it_lives() -> None:
    ref, stopped = Recorder.start(), Recorder.start()
    actors = [STARTED[one.actor_urn] for one in (ref, stopped)]
    for actor in actors:
        actor.tell_later(0.0, "later")
    stopped.stop(block=False)
    await until(lambda: actors[0].got, "the mail")
    assert [actor.got for actor in actors] == [["later"], []]
    ref.stop(block=False)


async def test_mail_told_while_mail_is_handled_is_handled_too() -> None:
    class Echo(Recorder):
        def on_receive(self, message: int) -> None:
            super().on_receive(message)
            if message:
                self.actor_ref.tell(message - 1)

    ref = Echo.start()
    ref.tell(3)
    await until(lambda: _actor(ref).got == [3, 2, 1, 0], "the echo's end")


async def test_a_turn_ends_after_a_batch_so_that_others_run() -> None:
    ref = Recorder.start()
    seen: list[int] = []
    for number in range(2 * TURN + 1):
        ref.tell(number)
    for _ in range(3):
        asyncio.get_running_loop().call_soon(lambda: seen.append(len(_actor(ref).got)))
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
    assert await _answer(other.ask("hello", block=False)) == "hello"
    await _answer(busy.stop(block=False))


async def test_idle_follows_only_a_turn_that_left_no_mail() -> None:
    ref = Recorder.start()
    for number in range(TURN + 1):
        ref.tell(number)
    await scheduler(1)
    assert _actor(ref).life == ["start"]
    await scheduler(1)
    assert _actor(ref).life == ["start", "idle"]


async def test_an_actor_starts_before_its_first_mail() -> None:
    ref = Recorder.start()
    assert _actor(ref).life == ["start"]
    assert ref.is_alive()


async def test_an_exception_under_tell_kills_the_actor(expected_logs: ExpectedLogs) -> None:
    expected_logs(PYKKA, FAILURE)
    life: list[str] = []
    ref = Recorder.start(life)
    ref.tell(ValueError("boom"))
    ref.tell("never")
    actor = _actor(ref)
    await until(lambda: not ref.is_alive(), "the actor's end")
    assert life == ["start", "failure ValueError: boom"]
    assert len(actor.got) == 1
    with pytest.raises(ActorDeadError):
        ref.tell("late")


async def test_an_exception_under_ask_goes_back_to_the_asker(caplog: pytest.LogCaptureFixture) -> None:
    ref = Recorder.start()
    with pytest.raises(ValueError, match="boom"):
        await ref.ask(ValueError("boom"), block=False)
    assert ref.is_alive()
    assert await ref.ask("again", block=False) == "again"
    assert not caplog.records


async def test_an_error_that_is_not_survived_goes_back_and_kills_the_actor(expected_logs: ExpectedLogs) -> None:
    expected_logs(PYKKA, FAILURE)
    life: list[str] = []
    ref = Recorder.start(life, survivor=False)
    with pytest.raises(ValueError, match="boom"):
        await ref.ask(ValueError("boom"), block=False)
    assert not ref.is_alive()
    assert life == ["start", "failure ValueError: boom"]


async def test_a_failure_in_on_failure_is_logged(expected_logs: ExpectedLogs) -> None:
    expected_logs(PYKKA, FAILURE)

    class Clumsy(Recorder):
        def on_failure(self, *failure: Any) -> None:
            raise RuntimeError("again")

    ref = Clumsy.start()
    ref.tell(ValueError("boom"))
    left = ref.ask("left behind", block=False)
    with pytest.raises(ActorDeadError):
        await _answer(left)
    assert len([r for r in expected_logs.records if FAILURE in r.getMessage()]) == 2


async def test_an_actor_that_cannot_start_is_dead(expected_logs: ExpectedLogs) -> None:
    expected_logs(PYKKA, FAILURE)

    class Stillborn(Recorder):
        def on_start(self) -> None:
            raise RuntimeError("no")

    ref = Stillborn.start()
    assert not ref.is_alive()
    with pytest.raises(ActorDeadError):
        await ref.ask("hello", block=False)


async def test_asking_a_dead_actor_raises() -> None:
    ref = Recorder.start()
    assert await ref.stop(block=False) is True
    with pytest.raises(ActorDeadError):
        await ref.ask("hello", block=False)


async def test_stopping_is_awaited() -> None:
    life: list[str] = []
    ref = Recorder.start(life)
    ref.tell(1)
    assert await _answer(ref.stop(block=False)) is True
    assert not ref.is_alive()
    assert life == ["start", "stop"]
    assert await _answer(ref.stop(block=False)) is False


async def test_mail_before_a_stop_is_handled_and_mail_after_it_is_not() -> None:
    got: list[Any] = []

    class Keeper(Recorder):
        def on_receive(self, message: Any) -> Any:
            got.append(message)

    ref = Keeper.start()
    ref.tell(1)
    stopped = ref.stop(block=False)
    late = ref.ask(2, block=False)
    second = ref.stop(block=False)
    ref.tell(3)
    assert await _answer(stopped) is True
    with pytest.raises(ActorDeadError):
        await _answer(late)
    assert await _answer(second) is True
    assert got == [1]


async def test_an_actor_may_stop_itself() -> None:
    ref = Recorder.start()
    assert await ref.ask("stop", block=False) == "stop"
    await until(lambda: not ref.is_alive(), "the actor's end")


async def test_mail_behind_a_failure_is_answered(expected_logs: ExpectedLogs) -> None:
    expected_logs(PYKKA, FAILURE)
    ref = Recorder.start()
    ref.tell(ValueError("boom"))
    left = [ref.ask(number, block=False) for number in range(2 * TURN)]
    for future in left:
        with pytest.raises(ActorDeadError):
            await _answer(future)
    assert len(ref.actor_inbox) == 0  # type: ignore[arg-type]


async def test_retiring_takes_effect_at_once() -> None:
    life: list[str] = []
    ref = Recorder.start(life)
    assert await ref.ask("retire", block=False) == "retire"
    assert not ref.is_alive()
    assert life == ["start", "stop"]


async def test_a_dead_actor_is_not_idle() -> None:
    life: list[str] = []
    ref = Recorder.start(life)
    await _answer(ref.stop(block=False))
    await scheduler(3)
    assert "idle" not in life


async def test_a_retired_actor_is_freed_without_the_garbage_collector() -> None:
    with _without_garbage_collector():
        ref = Recorder.start()
        actor, inbox = weakref.ref(_actor(ref)), ref.actor_inbox
        await ref.ask("retire", block=False)
        await scheduler(2)
        assert actor() is None
        assert inbox.empty()


async def test_no_actor_is_in_the_registry() -> None:
    ref = Recorder.start()
    assert ActorRegistry.get_all() == []
    assert await ref.ask("hello", block=False) == "hello"
    assert ActorRegistry.get_by_urn(ref.actor_urn) is None


async def test_an_actor_without_mail_schedules_nothing() -> None:
    before = len(asyncio.all_tasks())
    refs = [Recorder.start() for _ in range(100)]
    assert len(asyncio.all_tasks()) == before
    assert all(ref.is_alive() for ref in refs)


async def test_a_handler_that_returns_a_future_answers_when_it_is_done() -> None:
    ref = Recorder.start()
    answer = ref.ask("later", block=False)
    assert await ref.ask("meanwhile", block=False) == "meanwhile"
    with pytest.raises(RuntimeError, match="await the future"):
        answer.get()
    promise = _actor(ref).promise
    assert promise is not None
    promise.set("at last")
    assert await _answer(answer) == "at last"


async def test_a_returned_future_that_fails_answers_with_its_exception() -> None:
    ref = Recorder.start()
    answer = ref.ask("later", block=False)
    await scheduler(1)
    promise = _actor(ref).promise
    assert promise is not None
    promise.set_exception((ValueError, ValueError("boom"), None))
    with pytest.raises(ValueError, match="boom"):
        await _answer(answer)
    assert ref.is_alive()


async def test_a_returned_future_whose_asker_is_gone_is_no_error() -> None:
    ref = Recorder.start()
    for outcome in ("value", "exception"):
        task = asyncio.ensure_future(_awaited(ref.ask("later", block=False)))
        await scheduler(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        promise = _actor(ref).promise
        assert promise is not None
        if outcome == "value":
            promise.set(1)
        else:
            promise.set_exception((ValueError, ValueError("boom"), None))
    assert await ref.ask("alive", block=False) == "alive"


async def test_an_asker_that_is_gone_before_its_mail_is_handled_is_no_error() -> None:
    ref = Recorder.start()
    answers = [ref.ask(message, block=False) for message in ("hello", ValueError("boom"))]
    for answer in answers:
        answer._result.cancel()  # type: ignore[attr-defined]
    assert await ref.ask("alive", block=False) == "alive"


async def test_a_future_returned_under_tell_is_no_error() -> None:
    ref = Recorder.start()
    ref.tell("later")
    assert await ref.ask("alive", block=False) == "alive"


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


async def test_a_blocking_ask_raises_instead_of_blocking() -> None:
    ref = Recorder.start()
    with pytest.raises(RuntimeError, match="would block"):
        ref.ask("hello")
    with pytest.raises(RuntimeError, match="would block"):
        ref.stop()
    await until(lambda: not ref.is_alive(), "the stop that was asked for")


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
        assert await _answer(second) == value


async def test_a_cancelled_future_passes_on_none() -> None:
    first, second = LoopFuture[Any](), LoopFuture[Any]()
    first.pipe(second)
    waiting = asyncio.ensure_future(_awaited(first))
    await scheduler(1)
    waiting.cancel()
    assert await _answer(second) is None


async def test_futures_are_combined_as_pykka_combines_them() -> None:
    first, second = LoopFuture[Any](), LoopFuture[Any]()
    mapped = first.map(lambda value: value + 1)
    waiting = asyncio.ensure_future(_awaited(first.join(second)))
    with pytest.raises(RuntimeError, match="would block"):
        mapped.get()
    first.set(1)
    await scheduler(3)
    assert not waiting.done()
    second.set_exception((RecursionError, RecursionError("boom"), None))
    with pytest.raises(RecursionError, match="boom"):
        await _answer(waiting)
    assert await _answer(mapped) == 2


async def test_a_proxy_is_awaited() -> None:
    proxy = Recorder.start().proxy()
    assert await proxy.double(21) == 42
    assert await proxy.got == []
    with pytest.raises(ValueError, match="from a method"):
        await proxy.fail()
    assert await proxy.double(1) == 2
    assert await proxy.stop() is None
    with pytest.raises(ActorDeadError):
        await proxy.double(1)


async def test_a_deferred_call_is_told() -> None:
    ref = Recorder.start()
    actor = _actor(ref)
    ref.proxy().note.defer("deferred")
    assert actor.life == ["start"]
    await ref.actor_inbox.drained()  # type: ignore[attr-defined]
    assert "deferred" in actor.life


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


async def test_mail_an_actor_tells_itself_before_it_started_is_handled() -> None:
    got: list[str] = []

    class Eager(LoopActor):
        def __init__(self) -> None:
            super().__init__()
            self.actor_ref.tell("from __init__")

        def on_receive(self, message: Any) -> None:
            got.append(message)

    ref = Eager.start()
    await until(lambda: got == ["from __init__"], "the actor's own mail")
    assert ref.is_alive()


async def test_stopping_a_dead_actor_without_waiting_is_quiet() -> None:
    ref = Recorder.start()
    await ref.stop(block=False)
    ref.stop(block=False)


async def test_a_mail_with_more_effort_takes_more_of_a_turn() -> None:
    class Toiling(Recorder):
        def on_receive(self, message: Any) -> Any:
            self.effort += TURN // 2
            return super().on_receive(message)

    ref = Toiling.start()
    for number in range(10):
        ref.tell(number)
    await scheduler(1)
    assert len(_actor(ref).got) == 2
    await until(lambda: len(_actor(ref).got) == 10, "the rest, in later turns")


class Slow(Recorder):
    """Takes three more turns for each mail."""

    left = 0

    def on_receive(self, message: Any) -> Any:
        self.left, self.unfinished = 3, True
        return super().on_receive(message)

    def go_on(self) -> None:
        self.got.append("on")
        self.left -= 1
        self.unfinished = self.left > 0


async def test_a_mail_may_take_several_turns_and_no_other_is_handled_in_between() -> None:
    ref = Slow.start()
    ref.tell("a")
    ref.tell("b")
    await scheduler(1)
    assert _actor(ref).got == ["a"]
    await scheduler(1)
    assert _actor(ref).got == ["a", "on"]
    drained = ref.actor_inbox.drained()  # type: ignore[attr-defined]
    await drained
    assert _actor(ref).got == ["a", "on", "on", "on", "b", "on", "on", "on"]


async def test_an_actor_with_an_unfinished_mail_is_not_idle() -> None:
    ref = Slow.start()
    _actor(ref).idle_matters = True
    ref.tell("a")
    await until(lambda: "idle" in _actor(ref).life, "a turn without mail")
    assert _actor(ref).got == ["a", "on", "on", "on"]


async def test_an_error_while_a_mail_goes_on_fails_the_actor(expected_logs: ExpectedLogs) -> None:
    expected_logs(PYKKA, "Unhandled exception in Broken")

    class Broken(Slow):
        def go_on(self) -> None:
            raise ValueError("broken")

    life: list[str] = []
    ref = Broken.start(life)
    ref.tell("x")
    ref.tell("y")
    await until(lambda: not ref.is_alive(), "the actor's end")
    assert life == ["start", "failure ValueError: broken"]


async def test_an_error_in_on_idle_fails_the_actor(expected_logs: ExpectedLogs) -> None:
    expected_logs(PYKKA, "Unhandled exception in Restless")

    class Restless(Recorder):
        def on_idle(self) -> None:
            raise ValueError("no rest")

    life: list[str] = []
    ref = Restless.start(life)
    ref.tell("x")
    await until(lambda: not ref.is_alive(), "the actor's end")
    assert life == ["start", "failure ValueError: no rest"]


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_pykka_leaves_the_three_hooks_this_actor_type_implements() -> None:
    assert pykka.Actor.__abstractmethods__ == {"_create_actor_inbox", "_create_future", "_start_actor_loop"}
    for hook in ("_create_actor_inbox", "_create_future"):
        assert isinstance(inspect.getattr_static(pykka.Actor, hook), staticmethod)
        assert _parameters(getattr(pykka.Actor, hook)) == []
    assert _parameters(pykka.Actor._start_actor_loop) == ["self"]


def test_pykkas_private_methods_have_the_expected_parameters() -> None:
    assert _parameters(pykka.Actor._handle_receive) == ["self", "message"]
    assert _parameters(pykka.Actor._handle_failure) == ["self", "exception_type", "exception_value", "traceback"]
    for method in ("_stop", "_actor_loop_setup", "_actor_loop_teardown", "on_start", "on_stop"):
        assert _parameters(getattr(pykka.Actor, method)) == ["self"]
    assert _parameters(pykka.Actor.on_failure) == ["self", "exception_type", "exception_value", "traceback"]


def test_nothing_else_of_pykka_is_overridden() -> None:
    own = {name for name in vars(LoopActor) if not name.startswith("__") and hasattr(pykka.Actor, name)}
    assert own - {"_abc_impl"} == {"start", "_create_actor_inbox", "_create_future", "_start_actor_loop"}
    futures = {name for name in vars(LoopFuture) if not name.startswith("__") and hasattr(pykka.Future, name)}
    assert futures - {"_is_protocol"} == {"get", "set", "set_exception"}


async def test_pykkas_envelopes_and_messages_are_as_expected() -> None:
    envelope = Envelope("message", reply_to=None)
    assert (envelope.message, envelope.reply_to) == ("message", None)
    ref = Recorder.start()
    assert isinstance(ref.actor_inbox, Inbox)
    assert isinstance(ref.ask("x", block=False), LoopFuture)
    assert not ref.actor_stopped.is_set()
    assert {messages.ProxyCall, messages.ProxyGetAttr, messages.ProxySetAttr, messages._ActorStop} < PYKKA_MAIL
    assert LoopFuture[None]()._get_hook is None
    await _answer(ref.stop(block=False))
    assert ref.actor_stopped.is_set()
