"""LoopActor: a Pykka actor type whose inbox is drained by the running asyncio loop. It knows nothing of rooms.

Pykka leaves three hooks to implementors of actor types (`_create_actor_inbox`, `_create_future`, `_start_actor_loop`);
this is an implementation of them. What differs from `pykka.ThreadingActor`:

* No thread: a turn on the loop handles a bounded batch of mail, then lets others run.
* Not in `pykka.ActorRegistry`, which is a list scanned at each stop (1.25 ms with 50,000 actors).
* A handler that returns a `LoopFuture` answers its `ask` when that future is done.
* Futures are awaited; `Future.get` of one that is not done raises instead of blocking the loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import pykka
from pykka import ActorDeadError, ActorRef, messages

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator

    from pykka._envelope import Envelope
    from pykka._types import OptExcInfo

T = TypeVar("T")

__all__ = ["ActorDeadError", "ActorRef", "Flag", "Inbox", "LoopActor", "LoopFuture", "NotYet"]

TURN = 128
"""Mails of usual cost handled before other callbacks of the loop get their turn."""


PYKKA_MAIL = frozenset(
    {messages._ActorStop, messages.ProxyCall, messages.ProxyGetAttr, messages.ProxySetAttr}  # noqa: SLF001
)
"""What Pykka itself tells an actor; everything else goes straight to `on_receive`."""


class Inbox:
    """Mail in order of arrival; wakes the actor once when it becomes non-empty."""

    __slots__ = ("_loop", "_scheduled", "_waiters", "envelopes", "wake")

    def __init__(self) -> None:
        self.envelopes: deque[Envelope[Any]] = deque()
        self.wake: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._waiters: list[asyncio.Future[None]] | None = None

    def __len__(self) -> int:
        return len(self.envelopes)

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add one mail. Never waits; a writer that should be slowed awaits `drained`."""
        self.envelopes.append(envelope)
        if not self._scheduled and self.wake is not None:
            self._scheduled = True
            self._loop.call_soon(self.wake)

    def get(self) -> Envelope[Any]:
        """Take the oldest mail; raises IndexError if there is none."""
        return self.envelopes.popleft()

    def empty(self) -> bool:
        """Whether no mail is left."""
        return not self.envelopes

    def turn_ends(self) -> None:
        """Ask for another turn if mail is left, or let those go on who waited for that."""
        self._scheduled = False
        if self.envelopes:
            self._scheduled = True
            if self.wake is not None:
                self._loop.call_soon(self.wake)
        elif self._waiters is not None:
            waiters, self._waiters = self._waiters, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def drained(self) -> asyncio.Future[None]:
        """A future that is done when no mail is left: what a writer awaits to be slowed to the actor's pace."""
        waiter = self._loop.create_future()
        if not self.envelopes:
            waiter.set_result(None)
        elif self._waiters is None:
            self._waiters = [waiter]
        else:
            self._waiters.append(waiter)
        return waiter


class NotYet(RuntimeError):
    """The value of a future is not there yet."""


class LoopFuture(pykka.Future[T]):
    """A Pykka future that is awaited on the loop."""

    def __init__(self) -> None:
        super().__init__()
        self._result: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

    def get(self, *, timeout: float | None = None) -> Any:
        """The value, if it is there; on the loop there is no waiting for it but `await`.

        Raises `NotYet`, or the exception that was set.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._result.done():
            raise NotYet("get() would block the event loop; await the future instead")
        return self._result.result()

    def set(self, value: T | None = None) -> None:
        """Set the value; an asker that has gone is no error."""
        if not self._result.cancelled():
            self._result.set_result(value)

    def set_exception(self, exc_info: OptExcInfo | None = None) -> None:
        """Set the exception, by default the one being handled."""
        error = (exc_info or sys.exc_info())[1]
        if error is None:
            raise RuntimeError("set_exception() needs an exception, given or being handled")
        if not self._result.cancelled():
            self._result.set_exception(error)
            self._result.exception()  # Pykka's futures do not complain if nobody asks

    def pipe(self, to: pykka.Future[T]) -> None:
        """Hand the outcome on to another future."""
        self._result.add_done_callback(lambda done: _settle(to, done))

    def over(self) -> LoopFuture[None]:
        """A future that is done when this one is, whatever its value or exception."""
        other: LoopFuture[None] = LoopFuture()
        self._result.add_done_callback(lambda _done: other.set())
        return other

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result.__await__() if self._get_hook is None else self._await_hook()

    def _await_hook(self) -> Generator[Any, None, Any]:
        while True:  # a hook computes from other futures, and cannot say which: ask again each turn
            try:
                return self.get()
            except NotYet:
                yield


def _settle(to: pykka.Future[T], done: asyncio.Future[T | None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        to.set_exception((type(error), error, error.__traceback__))
    else:
        to.set(None if done.cancelled() else done.result())


class Flag:
    """What an actor needs of a `threading.Event`, on one thread."""

    __slots__ = ("_set",)

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def set(self) -> None:
        """Set it, for good."""
        self._set = True


class LoopActor(pykka.Actor):
    """An actor that runs on the asyncio loop that started it."""

    actor_inbox: Inbox

    def __init__(self) -> None:
        """Set what `pykka.Actor.__init__` sets, without what threads need of it.

        Its `threading.Event` and random URN are 1.3 KiB and a fifth of the time of starting a room.
        """
        self.actor_urn = f"urn:loop-actor:{id(self):x}"
        self.actor_inbox = self._create_actor_inbox()
        self.actor_stopped = cast("threading.Event", Flag())
        self._actor_ref = pykka.ActorRef(self)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> pykka.ActorRef[Self]:
        """Start an actor on the running loop; see `pykka.Actor.start`."""
        actor = cls(*args, **kwargs)
        actor._start_actor_loop()
        return actor.actor_ref

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        return Inbox()

    @staticmethod
    def _create_future() -> LoopFuture[Any]:
        return LoopFuture()

    def _start_actor_loop(self) -> None:
        self._actor_loop_setup()
        self.actor_inbox.wake = self._turn
        self.actor_inbox.turn_ends()  # what it told itself before it started gets its turn

    effort = 0
    """What the mail being handled costs beyond a usual one, in usual ones; a subclass sets it."""

    idle_matters = False
    """Whether `on_idle` is wanted; a subclass sets it when it is, as most turns end without mail."""

    def on_idle(self) -> None:
        """Run code after a turn that left no mail, if `idle_matters`."""

    def survives(self, error: Exception) -> bool:
        """Whether the actor lives on after an error in a handler that was asked; by Pykka's rule it does."""
        return True

    def retire(self) -> None:
        """Stop at once; for an actor with no mail left."""
        self._stop()

    def _turn(self) -> None:
        inbox, stopped = self.actor_inbox, self.actor_stopped.is_set
        envelopes = inbox.envelopes
        try:
            done = 0
            while envelopes and done < TURN:
                self._handle(envelopes.popleft())
                done += 1 + self.effort
                self.effort = 0
                if stopped():
                    break
            if self.idle_matters and not envelopes and not stopped():
                self._rest()
        finally:
            if stopped():
                self._actor_loop_teardown()
                inbox.wake = None  # else actor and inbox would keep each other until the garbage collector comes
            inbox.turn_ends()

    def _rest(self) -> None:
        try:
            self.on_idle()
        except Exception:
            self._fail()

    def _handle(self, envelope: Envelope[Any]) -> None:
        """Handle one mail by Pykka's rules: an exception goes back to the asker, or stops an actor that was told."""
        message = envelope.message
        try:
            response = self._handle_receive(message) if type(message) in PYKKA_MAIL else self.on_receive(message)
        except Exception as error:
            if envelope.reply_to is not None:
                envelope.reply_to.set_exception()
            if envelope.reply_to is None or not self.survives(error):
                self._fail()
            return
        if envelope.reply_to is None:
            return
        if isinstance(response, LoopFuture):
            response.pipe(envelope.reply_to)
        else:
            envelope.reply_to.set(response)

    def _fail(self) -> None:
        failure = sys.exc_info()
        self._handle_failure(*failure)
        try:
            self.on_failure(*failure)
        except Exception:
            self._handle_failure(*sys.exc_info())
