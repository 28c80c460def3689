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
from typing import TYPE_CHECKING, Any, Self, cast

import pykka
from pykka import ActorDeadError, ActorRef

from mcp_actors.actors.future import LoopFuture
from mcp_actors.actors.inbox import Inbox

if TYPE_CHECKING:
    import threading

__all__ = ["ActorDeadError", "ActorRef", "LoopActor"]


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
        try:
            inbox.hand_over(self, stopped)
            if self.idle_matters and not inbox.envelopes and not self.unfinished and not stopped():
                self._rest()
        finally:
            if stopped():
                self.unfinished = False
                self._actor_loop_teardown()
                inbox.wake = None  # actor and inbox would keep each other alive until the garbage collector runs
            inbox.turn_ends(unfinished=self.unfinished)

    def handle_pykka_mail(self, message: Any) -> Any:
        """See `Owner`."""
        return self._handle_receive(message)

    def fails(self, error: Exception, *, asked: bool) -> None:
        """See `Owner`."""
        if not asked or not self.survives(error):
            self._fail()

    def continue_mail(self) -> None:
        """See `Owner`."""
        try:
            self.go_on()
        except Exception:
            self._fail()

    def _rest(self) -> None:
        try:
            self.on_idle()
        except Exception:
            self._fail()

    def _fail(self) -> None:
        failure = sys.exc_info()
        self._handle_failure(*failure)
        try:
            self.on_failure(*failure)
        except Exception:
            self._handle_failure(*sys.exc_info())
