"""The parent process of workers, as one of them sees it, and what the worker reports through their pipe."""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class Serving(NamedTuple):
    """A worker serves."""

    greeting: str


class Failed(NamedTuple):
    """A worker ends."""

    why: str


class Alive(NamedTuple):
    """The event loop of a worker turns."""


class Parent:
    """The parent process, as its worker `number` sees it."""

    def __init__(self, pipe: Connection, number: int) -> None:
        self.number = number
        self._pipe = pipe

    def fileno(self) -> int:
        """The descriptor that becomes readable when the worker must stop."""
        return self._pipe.fileno()

    def tell(self, report: Serving | Failed | Alive) -> None:
        """Report to the parent."""
        with suppress(OSError):  # the parent is gone, which the worker notices by itself
            self._pipe.send(report)

    async def keep_telling(self, interval: float) -> None:
        """Report every `interval` seconds that the event loop turns, unless the parent does not read."""
        writable = select.poll()
        writable.register(self._pipe, select.POLLOUT)
        while True:
            if writable.poll(0):
                self.tell(Alive())
            await asyncio.sleep(interval)
