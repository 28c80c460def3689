"""LoopFuture: the future of actors that run on the asyncio loop."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import pykka

if TYPE_CHECKING:
    from collections.abc import Generator

    from pykka._types import OptExcInfo

T = TypeVar("T")


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
