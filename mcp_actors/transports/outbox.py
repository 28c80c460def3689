"""The outbox: frames on their way to one connection, in order and bounded."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tornado.websocket import WebSocketClosedError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

STOCK_WRITES = 64
"""Writes under way on a stock Tornado socket before it counts as not writable; each of them is a task."""


def _write_nothing(_frame: bytes) -> None:
    raise WebSocketClosedError


def _do_nothing() -> None:
    return


class Outbox:
    """Writes frames to a socket while it is writable, and keeps them while it is not.

    More than `max_frames` or `max_bytes` waiting is an `overflow`: called once, nothing is taken after it.
    """

    __slots__ = ("_bytes", "_closed", "_max_bytes", "_max_frames", "_overflow", "_waiting", "_writable", "_write")

    def __init__(
        self,
        write: Callable[[bytes], None],
        overflow: Callable[[], None],
        *,
        max_frames: int,
        max_bytes: int,
    ) -> None:
        self._write = write
        self._overflow = overflow
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._waiting: deque[bytes] | None = None
        self._bytes = 0
        self._writable = True
        self._closed = False

    def __len__(self) -> int:
        """How many frames wait."""
        return len(self._waiting or ())

    def put(self, frame: bytes) -> bool:
        """Take one frame; False if it will not be written."""
        if not self._writable:
            return self._keep(frame)
        try:
            self._write(frame)
        except WebSocketClosedError:
            self.close()
            return False
        return True

    def on_writable(self, writable: bool) -> None:
        """Hear whether the socket takes more; write what waits until it does not."""
        self._writable = writable and not self._closed
        while self._writable and self._waiting:
            frame = self._waiting.popleft()
            self._bytes -= len(frame)
            self.put(frame)

    def close(self) -> None:
        """Take nothing more, drop what waits, and let go of the socket."""
        self._closed = True
        self._write = _write_nothing
        self._overflow = _do_nothing
        self._writable = False
        self._waiting = None
        self._bytes = 0

    def _keep(self, frame: bytes) -> bool:
        if self._closed:
            return False
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= self._max_frames or self._bytes + len(frame) > self._max_bytes:
            overflow = self._overflow
            self.close()
            overflow()
            return False
        self._waiting.append(frame)
        self._bytes += len(frame)
        return True


class StockWriter:
    """Writes to a stock Tornado socket, whose own buffer has no bound, and says when it has enough."""

    __slots__ = ("_on_writable", "_under_way", "_write_message")

    def __init__(self, write_message: Callable[[bytes], Future[None]], on_writable: Callable[[bool], None]) -> None:
        self._write_message = write_message
        self._on_writable = on_writable
        self._under_way = 0

    def write(self, frame: bytes) -> None:
        """Start writing one frame. Raises `WebSocketClosedError`."""
        self._write_message(frame).add_done_callback(self._written)
        self._under_way += 1
        if self._under_way == STOCK_WRITES:
            self._on_writable(False)

    def _written(self, written: Future[None]) -> None:
        self._under_way -= 1
        if not written.cancelled():
            written.exception()  # the connection is gone, and its handler hears so by itself
        if not self._under_way:
            self._on_writable(True)
