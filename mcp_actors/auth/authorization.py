"""The application's own rules: it is asked who a client is, and what it may do."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import msgspec
import structlog
from msgspec import structs

from mcp_actors.auth.grants import Grant, Permission
from mcp_actors.counters.histogram import SLOW, Histogram
from mcp_actors.protocol.errors import Forbidden, Unavailable
from mcp_actors.protocol.identifiers import id_problem

log = structlog.get_logger("mcp_actors.auth")

FAILED = "The application that decides who may enter does not answer; try again later."
BUSY = "The application that decides who may enter is asked too often; try again later."
REVOKED = "An operator has revoked what you were granted."
REFUSED = "The application does not let you in."


class Refused(Exception):
    """Raised by an application that does not let a client in; `str(error)` is told to the client as the reason."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """A client that connects: as a `peer` to /ws/signaling/, or as a `user` to /ws/mcp/.

    `headers` are found in any case. `query`: of several values of one name, the last. `address`: that of the client,
    also behind a trusted proxy. `scope`: that of the ASGI server, in which middleware may have put a session or a user;
    empty on Tornado.
    """

    kind: Literal["peer", "user"]
    headers: Mapping[str, str]
    query: Mapping[str, str]
    address: str
    scope: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by their names."""
        pairs = (pair.strip().partition("=") for pair in self.headers.get("Cookie", "").split(";"))
        return {name: value.strip('"') for name, _, value in pairs if name}


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A client that asks to enter a room, or returns to it with its session.

    `id`: what it claims to be, None for nothing; `metadata`: its own, empty for a return. `grant`: what its handshake
    was granted, None if that was left to this question.
    """

    room: str
    id: str | None
    metadata: Mapping[str, Any]
    grant: Grant | None
    handshake: Handshake


Authorize = Callable[[Handshake | JoinRequest], Awaitable[Grant | None]]
"""Returns a grant or raises `Refused`.

For a handshake, None leaves the decision to the joins; a grant whose `rooms` is None leaves only the rooms to them.
"""


class Outcome(StrEnum):
    """The outcome of a question. `busy`: it was not asked, as too many others were not answered yet."""

    GRANTED = "granted"
    REFUSED = "refused"
    FAILED = "failed"
    BUSY = "busy"


class Admission(NamedTuple):
    """A handshake that was not refused, and what it was granted."""

    handshake: Handshake
    grant: Grant | None


class Authorizer:
    """Asks the application: at most `max_pending` questions at a time, each for at most `timeout` seconds.

    `is_revoked`: whether an operator has revoked what it grants. An application that fails or is slow lets nobody in.
    Its failures are logged once, until it answers again.
    """

    def __init__(
        self,
        authorize: Authorize,
        *,
        timeout: float,
        max_pending: int,
        id_length: int,
        is_revoked: Callable[[Grant], bool] = lambda _grant: False,
    ) -> None:
        self._authorize = authorize
        self._timeout = timeout
        self._max_pending = max_pending
        self._id_length = id_length
        self._is_revoked = is_revoked
        self._pending = 0
        self._is_failing = False
        self.outcomes: dict[Outcome, int] = defaultdict(int)
        self.seconds = Histogram(SLOW)
        """How long the application took to answer, or had until its time was over."""

    async def admit(self, handshake: Handshake) -> Admission:
        """Ask about a handshake. Raises `Forbidden` and `Unavailable`."""
        return Admission(handshake, await self._ask(handshake))

    async def join(self, request: JoinRequest) -> Grant:
        """Ask about a join. Raises `Forbidden` and `Unavailable`."""
        grant = await self._ask(request)
        assert grant is not None  # noqa: S101 - it was checked
        return grant

    async def _ask(self, request: Handshake | JoinRequest) -> Grant | None:
        if self._pending >= self._max_pending:
            self.outcomes[Outcome.BUSY] += 1
            raise Unavailable(BUSY)
        self._pending += 1
        began, outcome = time.perf_counter(), Outcome.FAILED
        try:
            async with asyncio.timeout(self._timeout):
                grant = self._checked(request, await self._authorize(request))
            outcome = Outcome.GRANTED
        except Refused as refused:
            outcome = Outcome.REFUSED
            self._is_failing = False
            raise Forbidden(str(refused) or REFUSED) from None
        except Exception as error:
            self._failed(error)
            raise Unavailable(FAILED) from None
        finally:
            self._pending -= 1
            self.outcomes[outcome] += 1
            self.seconds.observe(time.perf_counter() - began)
        self._is_failing = False
        if grant is not None and self._is_revoked(grant):
            raise Forbidden(REVOKED)
        return grant

    def _failed(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            log.error("authorize failed, refusing clients until it answers", exc_info=error)

    def _checked(self, request: Handshake | JoinRequest, grant: Grant | None) -> Grant | None:
        """Return a grant that can be used. Raises TypeError and ValueError."""
        if grant is None and isinstance(request, Handshake):
            return None
        if not isinstance(grant, Grant):
            raise TypeError(f"authorize returned {type(grant).__name__} for a {type(request).__name__}, not a Grant")
        problem = id_problem(grant.sub, self._id_length)
        if problem is not None:
            raise ValueError(f"the `sub` of a Grant {problem}")
        if isinstance(request, JoinRequest) and request.grant is not None and request.grant.sub != grant.sub:
            raise ValueError("the `sub` of a Grant differs from that of the handshake")
        metadata, ice_servers = (_as_json(value) for value in (grant.metadata, grant.ice_servers))
        rooms = None if grant.rooms is None else tuple(map(str, grant.rooms))
        can = frozenset(map(Permission, grant.can))
        return structs.replace(grant, rooms=rooms, can=can, metadata=metadata, ice_servers=ice_servers)


def _as_json(value: Any) -> Any:
    """Return a copy of what JSON can hold. Raises TypeError."""
    return msgspec.json.decode(msgspec.json.encode(value))
