"""The requests that the server has not answered yet."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcp_actors.client.errors import ClientCode, SignalingError
from mcp_actors.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp_actors.client.events import Json
    from mcp_actors.client.link import Link

REPLY_TIMEOUT = 15.0
"""Seconds without a reply, and with nothing else from the server, after which a connection is given up."""

MAX_REPLY_TIMEOUT = 60.0
"""Seconds that a request waits for its reply on a connection that works."""

REPEATABLE = frozenset(
    {"offer", "answer", "ice-candidate", "signal", "message", "update"}
    | {"kick", "lock", "unlock", "close-room", "list-bans", "unban"}
)
"""Requests that are sent with `again` if they may have arrived."""


@dataclass(eq=False, slots=True)
class Request:
    """A request: sent on a link, or held until the session goes on."""

    id: int
    kind: str
    text: str
    resend: bool
    """Whether it may be sent on another connection."""
    on_reply: Callable[[Link, Json], None] | None
    """Called with the payload of the reply before anything that comes after it is handled."""
    answer: asyncio.Future[Json] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    link: Link | None = None
    """Where it was sent; None while it is held."""
    after: Link | None = None
    """It was made after the server had said on this link whether the session goes on, and is sent in both cases."""
    sent: bool = False
    sent_at: float = 0.0
    timer: asyncio.TimerHandle | None = None


class Requests:
    """Finds the request of a reply; gives up what is not answered."""

    def __init__(self) -> None:
        self.max_bytes: int | None = None
        """Bytes of the largest message, if the server has told it."""
        self._requests: dict[int, Request] = {}
        self._last_id = secrets.randbits(52)  # ids must differ between the connections of a client

    def add(
        self,
        kind: str,
        room: str | None,
        payload: Json,
        *,
        negotiation: int | None,
        resend: bool,
        on_reply: Callable[[Link, Json], None] | None = None,
    ) -> Request:
        """Keep a new request. Raises SignalingError if it is too big, and ValueError or TypeError if it is not JSON."""
        self._last_id += 1
        fields = {"type": kind, "room": room, "payload": payload, "id": self._last_id, "negotiation": negotiation}
        text = _encode(given(fields))
        if self.max_bytes is not None and (size := len(text.encode())) > self.max_bytes:
            raise too_big(kind, size, self.max_bytes)
        request = Request(self._last_id, kind, text, resend, on_reply)
        self._requests[request.id] = request
        return request

    async def answer_of(self, request: Request) -> Json:
        """Wait for the payload of the reply. Raises SignalingError."""
        try:
            return await request.answer
        finally:
            self._forget(request)

    def send(self, request: Request, link: Link) -> None:
        """Send a request that has no answer yet."""
        again = request.sent and request.kind in REPEATABLE
        request.link, request.sent, request.sent_at = link, True, link.now()
        self._expect_reply(request, link)
        link.post(request.text[:-1] + ',"again":true}' if again else request.text)

    def hold(self, request: Request) -> None:
        """Keep a request for the next connection."""
        request.link = None
        _stop_timer(request)

    def settle(self, request_id: object, link: Link, payload: Json, error: SignalingError | None) -> bool:
        """Answer a request; return whether there is one with this id."""
        request = self._requests.get(request_id) if isinstance(request_id, int) else None
        if request is None:
            return False
        if error:
            self.fail(request, error)
            return True
        if request.on_reply:
            request.on_reply(link, payload)
        self._forget(request)
        if not request.answer.done():
            request.answer.set_result(payload)
        return True

    def fail(self, request: Request, error: SignalingError) -> None:
        """Answer a request with an error."""
        self._forget(request)
        if not request.answer.done():
            request.answer.set_exception(error)

    def sent_on(self, link: Link) -> list[Request]:
        """The requests on a connection, in the order sent."""
        return [request for request in self._requests.values() if request.link is link]

    def held(self) -> list[Request]:
        """The requests that wait for a connection, in the order made."""
        return [request for request in self._requests.values() if request.link is None]

    def fail_all(self, error: SignalingError) -> None:
        """Answer everything with an error."""
        for request in list(self._requests.values()):
            self.fail(request, error)

    def fail_largest(self, requests: Iterable[Request]) -> None:
        """Fail the request for which the server has closed the connection as too big; it would do so again."""
        if largest := max(requests, key=lambda request: len(request.text), default=None):
            self.fail(largest, too_big(largest.kind, len(largest.text.encode()), self.max_bytes))

    def _expect_reply(self, request: Request, link: Link) -> None:
        _stop_timer(request)
        loop = asyncio.get_running_loop()
        request.timer = loop.call_later(REPLY_TIMEOUT, self._is_overdue, request, link)

    def _is_overdue(self, request: Request, link: Link) -> None:
        works = link.heard_at > request.sent_at
        if request.resend and works and link.now() - request.sent_at < MAX_REPLY_TIMEOUT:
            self._expect_reply(request, link)
            return
        if works or not request.resend:
            text = f"There is no reply to {request.kind}, which may have arrived."
            self.fail(request, SignalingError(ClientCode.TIMEOUT, text, retryable=not request.resend))
        if not works or not request.resend:
            link.abort()

    def _forget(self, request: Request) -> None:
        _stop_timer(request)
        self._requests.pop(request.id, None)


def too_big(kind: str, size: int, limit: int | None) -> SignalingError:
    """The error of a message that can never be sent."""
    text = f"The {kind} has {size} bytes; the server allows {limit or 'fewer'}."
    return SignalingError(ErrorCode.MESSAGE_TOO_BIG, text, details={"limit": limit})


def given(fields: Json) -> Json:
    """Leave out the fields that are None."""
    return {name: value for name, value in fields.items() if value is not None}


def _stop_timer(request: Request) -> None:
    if request.timer:
        request.timer.cancel()
        request.timer = None


def _encode(message: Json) -> str:
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # halves of surrogate pairs
        return json.dumps(message, allow_nan=False, separators=(",", ":"))
    return text
