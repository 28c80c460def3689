"""The route to a WebSocket endpoint: which handshakes are refused, and the connection of the others."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Literal

import structlog

from mcp_actors.adapters.http.refusal import Refusal
from mcp_actors.connection.connection import Connection
from mcp_actors.connection.counters import RefusalReason
from mcp_actors.protocol.errors import CloseCode, Forbidden, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.auth.authorization import Admission, Authorizer, Handshake
    from mcp_actors.connection.connection import Endpoint
    from mcp_actors.connection.environment import Environment
    from mcp_actors.connection.transport import Transport

log = structlog.get_logger("mcp_actors.connection")

RETRY_AFTER = 1.0
"""Seconds after which to try again when the application does not answer."""

BEARER = "bearer"
SUBPROTOCOL, TOKEN_SUBPROTOCOL = "mcp-actors", "mcp-actors.token."
"""Subprotocols that a client offers to bring its token in the second. The server chooses the first."""

FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
"""Headers of which a proxy sets one. All clients of a proxy that is not trusted count as one."""


class EndpointRoute:
    """One path of WebSockets.

    `max_message`: bytes of the longest message that is read and answered at all. `refuse_with_close`: whether a
    handshake is refused by accepting it and closing at once, as browsers show pages nothing else.
    """

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")
    token_field: ClassVar[str] = "token"  # noqa: S105 - the name of a field
    """The field of the query that may hold an access token."""
    takes_query: ClassVar[bool] = False
    """Whether `open` is given the query of the handshake."""

    def __init__(
        self,
        environment: Environment,
        endpoint: Endpoint,
        policy: OriginPolicy,
        *,
        max_message: int,
        refuse_with_close: bool = False,
        kind: Literal["peer", "user"] = "peer",
        authorizer: Authorizer | None = None,
    ) -> None:
        self.policy = policy
        self.max_message = max_message
        self.refuse_with_close = refuse_with_close
        self.kind: Literal["peer", "user"] = kind
        self.asks = authorizer is not None
        """Whether the application is asked about each handshake; see `admit`."""
        self.by_subprotocol: dict[str, EndpointRoute] = {}
        """The routes of clients that offer one of these subprotocols, which is chosen then."""
        self._authorizer = authorizer
        self._environment = environment
        self.endpoint = endpoint

    def for_client(self, offered: Iterable[str]) -> EndpointRoute:
        """Return the route of a client that offers these subprotocols: this one, or one that is for them."""
        found = (self.by_subprotocol.get(name) for name in offered) if self.by_subprotocol else ()
        return next((route for route in found if route is not None), self)

    def select_subprotocol(self, offered: Iterable[str]) -> str | None:
        """Choose one of the subprotocols that a client of this route offers, or none."""
        return select_subprotocol(offered)

    def refusal(self, headers: Mapping[str, str], address: str) -> Refusal | None:
        """Check the limits of addresses and connections, then the Host and Origin rules."""
        limited = self._limited(headers, address)
        if limited is not None:
            return self._refused(limited, RefusalReason.ADDRESS_LIMIT, address)
        full = self._full(address)
        if full is not None:
            return full
        by_policy = self.policy.refusal(headers)
        if by_policy is None:
            return None
        log.info("handshake refused", reason=by_policy, address=address)
        return self._refused(Refusal(403, by_policy, CloseCode.FORBIDDEN), RefusalReason.ORIGIN, address)

    async def admit(self, handshake: Handshake) -> Admission | Refusal | None:
        """Ask the application about a handshake that nothing else refuses; None if there is none to ask."""
        if self._authorizer is None:
            return None
        try:
            admission = await self._authorizer.admit(handshake)
        except Forbidden as error:
            log.info("handshake refused", reason=str(error), address=handshake.address)
            refusal = Refusal(403, str(error), CloseCode.FORBIDDEN)
            return self._refused(refusal, RefusalReason.APPLICATION, handshake.address)
        except Unavailable as error:
            refusal = Refusal(503, f"unavailable: {error}", CloseCode.TRY_AGAIN_LATER, RETRY_AFTER)
            return self._refused(refusal, RefusalReason.APPLICATION_UNAVAILABLE, handshake.address)
        return self._full(handshake.address) or admission

    def _full(self, address: str) -> Refusal | None:
        full = self._environment.connections.refusal
        if full is None:
            return None
        log.warning("handshake refused", reason=full, address=address)
        stopping = self._environment.connections.stopping
        refusal = Refusal(503, full, CloseCode.TRY_AGAIN_LATER)
        return self._refused(refusal, RefusalReason.STOPPING if stopping else RefusalReason.FULL, address)

    def no_handshake(self, status: int, reason: str, address: str) -> None:
        """Note that a request to this path is refused, as it is no handshake, or none that is looked at."""
        self._environment.counters.refused[RefusalReason.NO_HANDSHAKE] += 1
        self._environment.access_log.refused(self.endpoint.name, address, status, reason)

    def _refused(self, refusal: Refusal, why: RefusalReason, address: str) -> Refusal:
        self._environment.counters.refused[why] += 1
        self._environment.access_log.refused(self.endpoint.name, address, refusal.status, refusal.reason)
        return refusal

    def connect(self, transport: Transport, address: str, path: str) -> Connection:
        """Return a new connection, to be opened with the token of its handshake."""
        connection = Connection(self._environment, self.endpoint, transport, address, asyncio.get_running_loop())
        log.debug("opened", connection=connection.id, path=path, address=address)
        return connection

    def open(
        self,
        connection: Connection,
        token: str | None,
        admission: Admission | None,
        query: Mapping[str, str],
    ) -> None:
        """Begin, with the access token of the handshake, what the application decided about it, and its query."""
        connection.opened(token, admission)

    def _limited(self, headers: Mapping[str, str], address: str) -> Refusal | None:
        """Count a handshake, whatever else is wrong with it; return the refusal if its address has sent too many."""
        addresses = self._environment.addresses
        limited = addresses.refusal(address, asyncio.get_running_loop().time())
        if limited is None:
            return None
        if addresses.should_log(address):
            forwarded = any(name in headers for name in FORWARDED)
            log.info("address limited", reason=limited.reason, address=address, forwarded=forwarded)
        reason = f"{limited.reason} Try again in {ceil(limited.retry_after)} s."
        return Refusal(429, reason, CloseCode.RATE_LIMITED, limited.retry_after)


def select_subprotocol(offered: Iterable[str]) -> str | None:
    """Choose the subprotocol that holds no token."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def find_token(authorization: str, subprotocols: Iterable[str], in_query: Sequence[str]) -> str | None:
    """Return the access token of a handshake; None if there is none.

    The header `Authorization` comes before subprotocols, and these before the query, of which the last value counts.
    """
    scheme, _, found = authorization.partition(" ")
    if scheme.lower() == BEARER:
        return found.strip()  # an empty token counts as one that cannot be used
    for offered in subprotocols:
        if offered.startswith(TOKEN_SUBPROTOCOL):
            return offered.removeprefix(TOKEN_SUBPROTOCOL)
    return in_query[-1] if in_query else None
