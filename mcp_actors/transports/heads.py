"""The heads of requests: their end is found quickly, none is parsed that has too many lines, and each has its turn.

Tornado looks for the end of a head with a pattern that takes 15 ns a byte, several times as it grows. Then each line
takes some 10 us, 30 ms for as many as fit into 16 KiB, and a handshake most of a millisecond: of a thousand that arrive
at once, it handles all before anybody else is served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable

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
    gate: Gate

    def read_until_regex(self, _regex: bytes, max_bytes: int | None = None) -> Any:
        """Read a head, which is all that Tornado's server reads so."""
        return self._pass(super().read_until_regex(END, max_bytes))

    async def _pass(self, reading: Awaitable[bytes]) -> bytes:
        """Wait for a head, and for its turn. Raises `StreamClosedError`."""
        head = await reading
        await self.gate.turns.turn()
        if self.closed():
            raise StreamClosedError
        if head.strip(b"\r\n").count(b"\n") > self.gate.max_headers:
            await self.write(self.gate.refusal)
            self.close()
            raise StreamClosedError
        return head


class _EncryptedStream(_PlainStream, SSLIOStream):
    pass
