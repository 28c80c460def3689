"""LoopActor: a Pykka actor type whose inbox is handled by the running asyncio loop. It knows nothing of rooms.

Pykka has three hooks for new actor types: `_create_actor_inbox`, `_create_future` and `_start_actor_loop`. Differences
from `pykka.ThreadingActor`:

* It has no thread: a turn of the loop handles a bounded batch of mail, then lets others run.
* It is not in `pykka.ActorRegistry`, a list that is scanned at each stop (1.25 ms with 50,000 actors).
* A handler that returns a `LoopFuture` answers its `ask` when that future is done.
* Futures are awaited; `Future.get` of a future that is not done raises instead of blocking the loop.
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

__all__ = ["ActorDeadError", "ActorRef", "Inbox", "LoopActor", "LoopFuture", "NotYet"]

TURN = 128
"""Mails of usual cost that are handled before other callbacks of the loop run. A mail that costs more takes turns."""

PYKKA_MAIL = frozenset(kind for kind in vars(messages).values() if isinstance(kind, type))
"""Pykka's own messages to an actor; all others go straight to `on_receive`."""


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
        """Add one mail. Never waits; a sender that should be slowed down awaits `drained`."""
        self.envelopes.append(envelope)
        if not self._scheduled and self.wake is not None:
            self._scheduled = True
            self._loop.call_soon(self.wake)

    def get(self) -> Envelope[Any]:
        """Remove the oldest mail and return it; raises IndexError if there is none."""
        return self.envelopes.popleft()

    def empty(self) -> bool:
        """Whether no mail is left."""
        return not self.envelopes

    def turn_ends(self, *, unfinished: bool = False) -> None:
        """Schedule another turn if mail is left or `unfinished`, or wake up those that wait for that."""
        self._scheduled = False
        if self.envelopes or unfinished:
            self._scheduled = True
            if self.wake is not None:
                self._loop.call_soon(self.wake)
        elif self._waiters is not None:
            waiters, self._waiters = self._waiters, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def drained(self) -> asyncio.Future[None]:
        """A future that is done when no mail is left, and none unfinished."""
        waiter = self._loop.create_future()
        if not self.envelopes and not self._scheduled:
            waiter.set_result(None)
        elif self._waiters is None:
            self._waiters = [waiter]
        else:
            self._waiters.append(waiter)
        return waiter


class NotYet(RuntimeError):
    """The future is not done."""


class LoopFuture(pykka.Future[T]):
    """A Pykka future that is awaited on the loop."""

    def __init__(self) -> None:
        super().__init__()
        self._result: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

    def get(self, *, timeout: float | None = None) -> Any:
        """The value, or the exception that was set is raised; `NotYet` if there is none, whatever the timeout."""
        if self._get_hook is not None:  # as of `ActorRef.stop` and of combined futures
            return super().get(timeout=timeout)
        if not self._result.done():
            raise NotYet("get() would block the event loop; await the future instead")
        return self._result.result()

    def set(self, value: T | None = None) -> None:
        """Set the value; that nobody waits for it any more is no error."""
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
        """Pass the outcome on to another future."""
        self._result.add_done_callback(lambda done: _settle(to, done))

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result.__await__() if self._get_hook is None else self._await_hook()

    def _await_hook(self) -> Generator[Any, None, Any]:
        while True:  # a hook depends on other futures and cannot say which: ask again each turn
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


class _Flag:
    """The part of a `threading.Event` that Pykka uses, for one thread."""

    __slots__ = ("_set",)

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True


class LoopActor(pykka.Actor):
    """An actor that runs on the asyncio loop that started it."""

    actor_inbox: Inbox

    effort = 0
    """The cost of the current mail beyond that of a usual one, in usual ones; a subclass sets it."""

    unfinished = False
    """Whether `go_on` is wanted before any other mail is handled; a subclass sets it when a mail takes more turns."""

    idle_matters = False
    """Whether `on_idle` is wanted; a subclass sets it when it is, as most turns end without mail."""

    def __init__(self) -> None:
        """Set what `pykka.Actor.__init__` sets, without its `threading.Event` and random URN.

        These two take 1.3 KiB and a fifth of the time of starting a room.
        """
        self.actor_urn = f"urn:loop-actor:{id(self):x}"
        self.actor_inbox = self._create_actor_inbox()
        self.actor_stopped = cast("threading.Event", _Flag())
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
        self.actor_inbox.turn_ends()  # mail that it told itself before it started gets its turn

    def tell_later(self, seconds: float, mail: Any) -> None:
        """Tell itself a mail after some time, if it lives on."""
        asyncio.get_running_loop().call_later(seconds, self._tell_if_alive, mail)

    def _tell_if_alive(self, mail: Any) -> None:
        if self.actor_ref.is_alive():
            self.actor_ref.tell(mail)

    def go_on(self) -> None:
        """Go on with the mail that is unfinished. It was answered, and an exception stops the actor."""

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
            while done < TURN and (envelopes or self.unfinished):
                if self.unfinished:
                    self._go_on()
                else:
                    self._handle(envelopes.popleft())
                done += 1 + self.effort
                self.effort = 0
                if self.unfinished or stopped():
                    break
            if self.idle_matters and not envelopes and not self.unfinished and not stopped():
                self._rest()
        finally:
            if stopped():
                self.unfinished = False
                self._actor_loop_teardown()
                inbox.wake = None  # actor and inbox would keep each other alive until the garbage collector runs
            inbox.turn_ends(unfinished=self.unfinished)

    def _go_on(self) -> None:
        try:
            self.go_on()
        except Exception:
            self._fail()

    def _rest(self) -> None:
        try:
            self.on_idle()
        except Exception:
            self._fail()

    def _handle(self, envelope: Envelope[Any]) -> None:
        """Handle one mail by Pykka's rules: an exception goes back to the asker, or stops an actor that was told."""
        message, reply_to = envelope.message, envelope.reply_to
        try:
            response = self._handle_receive(message) if type(message) in PYKKA_MAIL else self.on_receive(message)
        except Exception as error:
            if reply_to is not None:
                reply_to.set_exception()
            if reply_to is None or not self.survives(error):
                self._fail()
            return
        if isinstance(response, LoopFuture) and reply_to is not None:
            response.pipe(reply_to)
        elif reply_to is not None:
            reply_to.set(response)

    def _fail(self) -> None:
        failure = sys.exc_info()
        self._handle_failure(*failure)
        try:
            self.on_failure(*failure)
        except Exception:
            self._handle_failure(*sys.exc_info())
