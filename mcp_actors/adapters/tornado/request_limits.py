"""Limits of request heads: the end is found quickly, refused heads are not parsed, and parsing is scheduled.

Tornado looks for the end of a head with a pattern that takes 15 ns a byte, several times as the head grows. Parsing
then takes some 10 us a line, 30 ms for as many as fit into 16 KiB, and a handshake takes most of a millisecond. Of a
thousand heads that arrive at once, Tornado would handle all before anything else.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, cast

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from mcp_actors.adapters.tornado.request_gate import Rank, RequestGate
from mcp_actors.ws.fair_scheduler import FairScheduler

if TYPE_CHECKING:
    from collections.abc import Callable

END_OF_HEAD = rb"\n\r?\n"
"""Matches where Tornado's own `\\r?\\n\\r?\\n` does, in a sixtieth of the time, as it begins with a rare byte."""

CHUNKED_HEADER = b"\ntransfer-encoding:"
"""Begins the line that announces a body in chunks, which take Tornado some 5 us each, in any case."""

CONTENT_LENGTH = re.compile(rb"\ncontent-length:[ \t]*(\d+)")
"""The length of a body. Tornado answers one that is too long with 400."""

MAX_DIGITS = 15
"""Digits of a length that is read as a number."""

LONG_HOST = re.compile(rb"\nhost:[^\n]{300}")
"""A header `Host` that is longer than any name of a host. Tornado takes 40 us to check one of a kilobyte."""

HANDSHAKE_HEADER = b"sec-websocket-key:"
"""A request without this, in any case, is no WebSocket handshake."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of heads.

    `refusal`: returns the whole answer of a status and more headers. `wait`: seconds until an address may send another
    request that is no handshake. `refused`: schedules the refusals of such requests, which are not parsed.
    """

    max_headers: int
    max_body_bytes: int
    refusal: Callable[..., bytes]
    wait: Callable[[str], float]
    gate: RequestGate = field(default_factory=RequestGate)
    refused: FairScheduler = field(default_factory=lambda: FairScheduler(1))


def limit_requests(stream: IOStream, limits: RequestLimits, address: str, *, limited: bool) -> None:
    """Apply the limits to a new stream of an address. `limited`: whether the address may send too many requests.

    Tornado makes its streams itself, so the class of this one is changed.
    """
    stream.__class__ = _LimitedSslStream if isinstance(stream, SSLIOStream) else _LimitedStream
    limited_stream = cast("_LimitedStream", stream)
    limited_stream.limits, limited_stream.address, limited_stream.limited = limits, address, limited


class _LimitedStream(IOStream):
    """Reads heads by callbacks without reference cycles: thousands may wait, and be gone, at the same time."""

    limits: RequestLimits
    address: str
    limited: bool
    passed_before = False
    """Whether a request of this connection has passed."""

    def read_until_regex(self, _regex: bytes, max_bytes: int | None = None) -> Any:
        """Read a head, the only thing that Tornado's server reads by a pattern."""
        passed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        reading = cast("asyncio.Future[bytes]", super().read_until_regex(END_OF_HEAD, max_bytes))
        reading.add_done_callback(partial(self._arrived, passed))
        return passed

    def close(self, exc_info: Any = False) -> None:
        """Close the connection, because of an error if there is one, without the traceback that refers to the stream.

        The response that could not be written, and buffers of 16 KiB and more, would wait for the garbage collector.
        """
        super().close(exc_info)
        if self.error is not None:
            self.error.__traceback__ = None

    def _arrived(self, passed: asyncio.Future[bytes], reading: asyncio.Future[bytes]) -> None:
        if reading.exception() is not None:
            self.error = None
            passed.set_exception(StreamClosedError())
            return
        head, limits = reading.result(), self.limits
        is_handshake = HANDSHAKE_HEADER in head.lower()
        seconds = limits.wait(self.address) if self.limited and not is_handshake else 0.0
        if seconds > 0:
            limits.refused.wait(partial(self._refuse_limited, passed, ceil(seconds)))
            return
        rank = Rank.FURTHER if self.passed_before else Rank.HANDSHAKE if is_handshake else Rank.FIRST
        limits.gate.enter(self.address, partial(self._pass, passed, head), rank)

    def _pass(self, passed: asyncio.Future[bytes], head: bytes) -> None:
        self.passed_before = True
        if self.closed():
            passed.set_exception(StreamClosedError())
        elif head.strip(b"\r\n").count(b"\n") > self.limits.max_headers:
            self._refuse(passed, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            self._pass_or_refuse(passed, head, head.lower())

    def _pass_or_refuse(self, passed: asyncio.Future[bytes], head: bytes, lower: bytes) -> None:
        length = CONTENT_LENGTH.search(lower)
        if CHUNKED_HEADER in lower:
            self._refuse(passed, HTTPStatus.LENGTH_REQUIRED)
        elif length is not None and (len(length[1]) > MAX_DIGITS or int(length[1]) > self.limits.max_body_bytes):
            self._refuse(passed, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif LONG_HOST.search(lower):
            self._refuse(passed, HTTPStatus.BAD_REQUEST)
        else:
            passed.set_result(head)

    def _refuse_limited(self, passed: asyncio.Future[bytes], seconds: int) -> None:
        if self.closed():
            passed.set_exception(StreamClosedError())
        else:
            self._refuse(passed, HTTPStatus.TOO_MANY_REQUESTS, **{"Retry-After": str(seconds)})

    def _refuse(self, passed: asyncio.Future[bytes], status: HTTPStatus, **headers: str) -> None:
        self.write(self.limits.refusal(status, **headers)).add_done_callback(partial(self._refused, passed))

    def _refused(self, passed: asyncio.Future[bytes], _written: asyncio.Future[None]) -> None:
        self.close()
        passed.set_exception(StreamClosedError())


class _LimitedSslStream(_LimitedStream, SSLIOStream):
    """Takes turns at the gate for TLS handshakes, too: each takes half a millisecond, and many may arrive at once."""

    _waiting = False

    def _handle_read(self) -> None:
        if not self._ssl_accepting:
            super()._handle_read()
        elif not self._waiting:
            self._waiting = True
            self.limits.gate.enter(self.address, self._shake_hands, Rank.FIRST)
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._pause)

    def _pause(self) -> None:
        """Receive no events until its turn."""
        if self._waiting and not self.closed():
            self.io_loop.update_handler(self.fileno(), self.io_loop.ERROR)

    def _shake_hands(self) -> None:
        self._waiting = False
        if not self.closed():
            self._do_ssl_handshake()
        if not self.closed():
            self._state = self.io_loop.ERROR | self.io_loop.READ | (self.io_loop.WRITE if self.writing() else 0)
            self.io_loop.update_handler(self.fileno(), self._state)
