"""A transport without a socket: the client is in this process, and reads what its session keeps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.connection.connection import Connection

LOST = 1006
"""The code of an end without a close frame, in RFC 6455."""


class NothingWaits(NamedTuple):
    """The state of a transport that has no buffers."""

    memory: int = 0
    waiting: bool = False
    taken: int | None = None


class LoopbackTransport:
    """See `Transport`. `deliver` is called with each message, and `ended` with the code of the end.

    Pings are heard and not answered: an answer would acknowledge messages that nobody has read yet.
    """

    connection: Connection
    has_pings = True

    def __init__(self, deliver: Callable[[bytes], None], ended: Callable[[int], None]) -> None:
        self.received = self.written = 0
        self._deliver = deliver
        self._ended = ended
        self._readable = asyncio.Event()
        self._readable.set()
        self._is_over = False

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> None:
        """See `Transport`."""
        self.written += len(prefix) + len(body)
        self._deliver(prefix + body)

    def ping(self, data: bytes) -> None:
        """See `Transport`."""
        self.received += len(data)

    def close(self, code: int, reason: str) -> None:
        """See `Transport`."""
        self.end(code)

    def abort(self) -> None:
        """See `Transport`."""
        self.end(LOST)

    def state(self) -> NothingWaits:
        """See `Transport`."""
        return NothingWaits()

    def pause(self) -> None:
        """See `Transport`."""
        self._readable.clear()

    def resume(self) -> None:
        """See `Transport`."""
        self._readable.set()

    async def receive(self, frame: bytes) -> None:
        """Hand the connection a message, when it reads again."""
        await self._readable.wait()
        self.received += len(frame)
        self.connection.frame_received(frame)

    def end(self, code: int) -> None:
        """End once, with a code."""
        if not self._is_over:
            self._is_over = True
            self._readable.set()  # nobody waits for a connection that is gone
            self._ended(code)
            asyncio.get_running_loop().call_soon(self.connection.lost, code)
