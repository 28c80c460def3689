"""The inbox of an actor on the asyncio loop, which hands its mail over in bounded turns."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from pykka import messages

from mcp_actors.actors.future import LoopFuture

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykka._envelope import Envelope

TURN = 128
"""Mails of usual cost that are handled before other callbacks of the loop run. A mail that costs more takes turns."""

PYKKA_MAIL = frozenset(kind for kind in vars(messages).values() if isinstance(kind, type))
"""Pykka's own messages to an actor; all others go straight to `on_receive`."""


class Owner(Protocol):
    """The actor to which an inbox belongs; see `LoopActor`."""

    effort: int
    unfinished: bool

    def on_receive(self, message: Any) -> Any:
        """Handle one mail."""

    def handle_pykka_mail(self, message: Any) -> Any:
        """Handle a mail that Pykka itself sends."""

    def continue_mail(self) -> None:
        """Go on with the mail that is unfinished."""

    def fails(self, error: Exception, *, asked: bool) -> None:
        """An error was raised by a handler, and told to the asker if there is one."""


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

    def hand_over(self, owner: Owner, stopped: Callable[[], bool]) -> None:
        """Let the actor handle mail, as much as fits into one turn, until it has stopped."""
        envelopes, done = self.envelopes, 0
        while done < TURN and (envelopes or owner.unfinished):
            if owner.unfinished:
                owner.continue_mail()
            else:
                _handle(owner, envelopes.popleft())
            done += 1 + owner.effort
            owner.effort = 0
            if owner.unfinished or stopped():
                break


def _handle(owner: Owner, envelope: Envelope[Any]) -> None:
    """Handle one mail by Pykka's rules: an exception goes back to the asker, or stops an actor that was told."""
    message, reply_to = envelope.message, envelope.reply_to
    try:
        response = owner.handle_pykka_mail(message) if type(message) in PYKKA_MAIL else owner.on_receive(message)
    except Exception as error:
        if reply_to is not None:
            reply_to.set_exception()
        owner.fails(error, asked=reply_to is not None)
        return
    if isinstance(response, LoopFuture) and reply_to is not None:
        response.pipe(reply_to)
    elif reply_to is not None:
        reply_to.set(response)
