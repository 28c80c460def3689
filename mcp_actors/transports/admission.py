"""Who connections are: tokens checked as they come, deadlines kept, expiry told beforehand and held."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from mcp_actors.protocol.codec import encode
from mcp_actors.protocol.errors import BadMessage, CloseCode, Forbidden, Unauthorized
from mcp_actors.protocol.messages import TokenExpiring, TokenExpiringPayload

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPServerRequest

    from mcp_actors.protocol.grants import Grant

log = structlog.get_logger("mcp_actors.connection")

TICK = 0.25
"""Seconds between looks at whose time has come."""

LONGEST = 60.0
"""Seconds after which a connection is looked at again at the latest: so many looks lie ahead, and no more."""

BEARER = "bearer"
SUBPROTOCOL, TOKEN_SUBPROTOCOL = "mcp-actors", "mcp-actors.token."
"""What a client offers that brings its token as a subprotocol, which a server must not choose: it chooses the first."""

HASTE = 2
"""A short-lived token is warned of when one part in so many of its time is left."""


def take_token(request: HTTPServerRequest) -> str | None:
    """Take the token out of a handshake, so that nothing can log it; None if it brings none."""
    found = _from_header(request.headers.pop("Authorization", ""))
    for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        if found is None and offered.strip().startswith(TOKEN_SUBPROTOCOL):
            found = offered.strip().removeprefix(TOKEN_SUBPROTOCOL)
    values = request.query_arguments.pop("token", [])
    request.arguments.pop("token", None)
    if values:
        found = values[-1].decode("utf-8", "replace") if found is None else found
    request.uri, request.query = request.path, ""
    return found


def _from_header(header: str) -> str | None:
    scheme, _, text = header.partition(" ")
    return text.strip() if scheme.lower() == BEARER else None  # an empty one is a mistake, and none that can be used


class Guest(Protocol):
    """A connection, as it is admitted."""

    closed: bool
    grant: Grant | None

    def say(self, frame: bytes) -> None:
        """Write a frame."""

    def close(self, code: CloseCode) -> None:
        """Close it."""


class Admission:
    """Checks tokens with `verify`, and keeps the time of all connections with one look.

    `required`: whether a connection must have a token; it has `patience` seconds to send one. `notice`: seconds before
    the end of its token in which a client is told of it. `leeway`: seconds a token is good for after its end.
    """

    def __init__(
        self,
        verify: Callable[[str], Grant],
        *,
        required: bool,
        patience: float,
        notice: float,
        leeway: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.required = required
        self._verify = verify
        self._patience = patience
        self._notice = notice
        self._leeway = leeway
        self._clock = clock
        self._looks: dict[int, dict[Guest, None]] = {}
        self._due: dict[Guest, tuple[int, float, float]] = {}  # the look, the time to speak, the time to close
        self._look = 0

    def __len__(self) -> int:
        return len(self._due)

    def opened(self, guest: Guest, token: str | None) -> bool:
        """Admit a new connection; whether it brought a token that is good. Raises `Unauthorized`."""
        if token is not None:
            self.authenticate(guest, token)
            return True
        if self.required:
            end = self._clock() + self._patience
            self._schedule(guest, end, end)
        return False

    def authenticate(self, guest: Guest, token: str) -> Grant:
        """Take a connection's first token, or a new one for the same `sub`. Raises `Unauthorized` and `Forbidden`."""
        try:
            grant = self._verify(token)
        except Unauthorized as error:
            raise (error if guest.grant is not None else error.final()) from None
        if guest.grant is not None and guest.grant.sub != grant.sub:
            raise Forbidden("This connection is of another `sub`; open another one for this token.")
        guest.grant = grant
        now = self._clock()
        end = grant.expires - self._leeway
        left = max(end - now, 0.0)
        self._schedule(guest, end - min(self._notice, left / HASTE), grant.expires)
        return grant

    def seconds_left(self, grant: Grant) -> int:
        """How long a token still lasts, without the leeway."""
        return max(int(grant.expires - self._leeway - self._clock()), 0)

    def forget(self, guest: Guest) -> None:
        """A connection is gone."""
        due = self._due.pop(guest, None)
        if due is not None:
            look = self._looks[due[0]]
            del look[guest]
            if not look:
                del self._looks[due[0]]

    def _schedule(self, guest: Guest, speak: float, close: float) -> None:
        self.forget(guest)
        wait = min(speak - self._clock(), LONGEST)
        look = self._look + max(math.ceil(wait / TICK), 1)
        self._looks.setdefault(look, {})[guest] = None
        self._due[guest] = (look, speak, close)

    async def keep_watch(self) -> None:
        """Look at whose time has come, for ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + TICK, loop.time())
            await asyncio.sleep(due - loop.time())
            self.look()

    def look(self) -> None:
        """Look at all whose time has come."""
        now = self._clock()
        self._look += 1
        for guest in tuple(self._looks.get(self._look, ())):
            try:
                self._look_after(guest, now)
            except Exception:
                log.exception("cannot look after a connection")

    def _look_after(self, guest: Guest, now: float) -> None:
        _, speak, close = self._due[guest]
        if guest.closed:
            self.forget(guest)
        elif now >= close:
            self.forget(guest)
            self._end(guest)
        elif now >= speak and guest.grant is not None:
            self._schedule(guest, close, close)
            guest.say(encode(TokenExpiring(payload=TokenExpiringPayload(self.seconds_left(guest.grant)))))
        else:
            self._schedule(guest, speak, close)

    def _end(self, guest: Guest) -> None:
        guest.close(CloseCode.UNAUTHORIZED if guest.grant is None else CloseCode.TOKEN_EXPIRED)


def not_here() -> BadMessage:
    """The answer to a token where none is asked for."""
    return BadMessage("This server asks for no tokens; leave `authenticate` out.", field="type")
