"""The end of grants: it is announced, and then closes the connection."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from math import isinf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.messages import TokenExpiring, TokenExpiringPayload

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.auth.grants import Grant

MAX_WAIT = 60.0
"""Seconds after which a deadline is checked again at the latest, as the clock may be set."""

NOTICE_PART = 2
"""A token that is shorter than the notice is announced when one part in so many of its time is left."""


class Client(Protocol):
    """A connection whose token may expire."""

    closed: bool

    def say(self, message: TokenExpiring) -> None:
        """Send a message."""

    def close(self, code: CloseCode) -> None:
        """Close the connection."""


class Deadline(NamedTuple):
    """When to announce the end of a token, and when to close; without a grant, by when to bring a token."""

    timer: asyncio.TimerHandle
    notice: float
    close: float
    grant: Grant | None


class Expiry:
    """Keeps the deadlines of all connections.

    `timeout`: seconds to bring a token. `notice`: seconds before the end of a grant at which its client is told.
    `leeway`: seconds for which a token is accepted after its end.
    """

    def __init__(
        self,
        *,
        timeout: float = 0.0,
        notice: float = 0.0,
        leeway: float = 0.0,
        clock: Callable[[], float] = time.time,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._timeout = timeout
        self._notice = notice
        self._leeway = leeway
        self._clock = clock
        self._loop = loop  # that of the caller, if it is None
        self._deadlines: dict[Client, Deadline] = {}

    def __len__(self) -> int:
        """Return the number of connections with a deadline."""
        return len(self._deadlines)

    def watch(self, client: Client, grant: Grant | None) -> None:
        """Keep the deadline of a client: the end of what it was granted, or else the time to bring a token."""
        if grant is None:
            end = self._clock() + self._timeout
            self._schedule(client, end, end, None)
            return
        if isinf(grant.expires):
            self.forget(client)
            return
        end = grant.expires - self._leeway
        left = max(end - self._clock(), 0.0)
        self._schedule(client, end - min(self._notice, left / NOTICE_PART), grant.expires, grant)

    def seconds_left(self, grant: Grant) -> int:
        """Return the seconds until a token ends, without the leeway."""
        return max(int(grant.expires - self._leeway - self._clock()), 0)

    def forget(self, client: Client) -> None:
        """Drop the deadline of a connection that is gone."""
        deadline = self._deadlines.pop(client, None)
        if deadline is not None:
            deadline.timer.cancel()

    def _schedule(self, client: Client, notice: float, close: float, grant: Grant | None) -> None:
        self.forget(client)
        wait = min(max(notice - self._clock(), 0.0), MAX_WAIT)
        timer = (self._loop or asyncio.get_running_loop()).call_later(wait, partial(self._check, client))
        self._deadlines[client] = Deadline(timer, notice, close, grant)

    def _check(self, client: Client) -> None:
        _, notice, close, grant = self._deadlines[client]
        now = self._clock()
        if client.closed:
            self.forget(client)
        elif now >= close:
            self.forget(client)
            client.close(CloseCode.UNAUTHORIZED if grant is None else CloseCode.TOKEN_EXPIRED)
        elif now >= notice and grant is not None:
            self._schedule(client, close, close, grant)
            client.say(TokenExpiring(payload=TokenExpiringPayload(self.seconds_left(grant))))
        else:
            self._schedule(client, notice, close, grant)
