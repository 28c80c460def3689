"""The heads of requests: their end is found quickly, none is parsed that has too many lines, and each has its turn.

Tornado looks for the end of a head with a pattern that takes 15 ns a byte, several times as it grows. Then each line
takes some 10 us, 30 ms for as many as fit into 16 KiB, and a handshake most of a millisecond: of a thousand that arrive
at once, it handles all before anybody else is served.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

if TYPE_CHECKING:
    from mcp_actors.transports.turns import Turns

END = rb"\n\r?\n"
"""Ends where Tornado's own `\\r?\\n\\r?\\n` does, for a sixtieth of the time, as it begins with what is rare."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a head has to pass: `refusal` is the whole answer to one of more than `max_headers`."""

    max_headers: int
    refusal: bytes
    turns: Turns


def put_behind(gate: Gate, stream: IOStream) -> None:
    """Have Tornado get the heads that arrive on a new stream through a gate. It makes its streams itself."""
    stream.__class__ = _EncryptedStream if isinstance(stream, SSLIOStream) else _PlainStream
    stream.gate = gate  # type: ignore[attr-defined]


class _PlainStream(IOStream):
    """Goes by callbacks, as thousands may wait for their heads; what waits has no hold of what it waits for.

    Else those that are gone would stay until the garbage collector finds them, all at once.
    """

    gate: Gate

    def read_until_regex(self, _regex: bytes, max_bytes: int | None = None) -> Any:
        """Read a head, which is all that Tornado's server reads so."""
        passed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        reading = cast("asyncio.Future[bytes]", super().read_until_regex(END, max_bytes))
        reading.add_done_callback(partial(self._arrived, passed))
        return passed

    def _arrived(self, passed: asyncio.Future[bytes], reading: asyncio.Future[bytes]) -> None:
        if reading.exception() is not None:
            self.error = None  # its traceback has a hold of the stream
            passed.set_exception(StreamClosedError())
        elif self.gate.turns.take():
            self._pass(passed, reading.result())
        else:
            self.gate.turns.wait(partial(self._pass, passed, reading.result()))

    def _pass(self, passed: asyncio.Future[bytes], head: bytes) -> None:
        if self.closed():
            passed.set_exception(StreamClosedError())
        elif head.strip(b"\r\n").count(b"\n") > self.gate.max_headers:
            self.write(self.gate.refusal).add_done_callback(partial(self._refused, passed))
        else:
            passed.set_result(head)

    def _refused(self, passed: asyncio.Future[bytes], _written: asyncio.Future[None]) -> None:
        self.close()
        passed.set_exception(StreamClosedError())


class _EncryptedStream(_PlainStream, SSLIOStream):
    pass
