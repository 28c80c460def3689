"""The outbox: frames on their way to one connection, in order and bounded."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tornado.websocket import WebSocketClosedError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable


class Outbox:
    """Writes frames to a socket no faster than it takes them.

    `write` starts writing one frame and returns a future for when the socket has taken it; one batch is under way at a
    time, the rest waits here. More than `max_frames` or `max_bytes` waiting is an `overflow`: called once, nothing is
    taken after it.
    """

    __slots__ = ("_bytes", "_closed", "_frames", "_max_bytes", "_max_frames", "_overflow", "_write", "_writing")

    def __init__(
        self,
        write: Callable[[bytes], Future[None]],
        overflow: Callable[[], None],
        *,
        max_frames: int,
        max_bytes: int,
    ) -> None:
        self._write = write
        self._overflow = overflow
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._writing = 0
        self._closed = False

    def put(self, frame: bytes) -> bool:
        """Take one frame; False if it will not be written."""
        if self._closed:
            return False
        if not self._writing:
            self._write_all((frame,))
            return not self._closed
        if len(self._frames) >= self._max_frames or self._bytes + len(frame) > self._max_bytes:
            self.close()
            self._overflow()
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        return True

    def close(self) -> None:
        """Take nothing more, and drop what waits."""
        self._closed = True
        self._frames.clear()
        self._bytes = 0

    def _write_all(self, frames: tuple[bytes, ...]) -> None:
        self._writing = len(frames)
        try:
            for frame in frames:
                self._write(frame).add_done_callback(self._written)
        except WebSocketClosedError:
            self.close()

    def _written(self, written: Future[None]) -> None:
        self._writing -= 1
        if written.cancelled() or written.exception() is not None:
            self.close()
        elif not self._writing and self._frames:
            batch = tuple(self._frames)
            self._frames.clear()
            self._bytes = 0
            self._write_all(batch)
