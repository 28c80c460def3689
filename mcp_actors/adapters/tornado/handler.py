"""The WebSocket endpoints on Tornado: refuses handshakes, and makes a connection of the others."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import TYPE_CHECKING

import structlog

from mcp_actors.adapters.tornado.refusal import Refusal
from mcp_actors.adapters.tornado.upgrade import UpgradeHandler
from mcp_actors.connection.connection import Connection
from mcp_actors.protocol.errors import CloseCode

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest

    from mcp_actors.adapters.tornado.origin_policy import OriginPolicy
    from mcp_actors.connection.connection import Endpoint, Environment
    from mcp_actors.ws.frame_loop import FrameLoop, FrameLoops

log = structlog.get_logger("mcp_actors.connection")

BEARER = "bearer"
SUBPROTOCOL, TOKEN_SUBPROTOCOL = "mcp-actors", "mcp-actors.token."
"""Subprotocols that a client offers to bring its token in the second. The server chooses the first."""


class EndpointHandler(UpgradeHandler):
    """One handshake of an endpoint. `max_message`: bytes of the longest frame that is read and answered at all."""

    limits_itself = True

    def initialize(
        self,
        environment: Environment,
        endpoint: Endpoint,
        policy: OriginPolicy,
        loops: FrameLoops,
        max_message: int,
        refuse_with_close: bool,
    ) -> None:
        """Take what the route gives."""
        self.refuse_with_close = refuse_with_close
        self._environment = environment
        self._endpoint = endpoint
        self.policy = policy
        self.loops = loops
        self.max_message = max_message
        self._address = str(self.request.remote_ip)
        self._token = take_token(self.request)

    def refusal(self) -> Refusal | None:
        """Check the limits of addresses and connections, then the Host and Origin rules."""
        limited = self._limited()
        if limited is not None:
            return limited
        full = self._environment.connections.refusal
        if full is not None:
            log.warning("handshake refused", reason=full, address=self._address)
            return Refusal(503, full, CloseCode.TRY_AGAIN_LATER)
        by_policy = super().refusal()
        if by_policy is not None:
            log.info("handshake refused", reason=by_policy.reason, address=self._address)
        return by_policy

    def select_subprotocol(self, offered: list[str]) -> str | None:
        """Choose the subprotocol that holds no token."""
        return SUBPROTOCOL if SUBPROTOCOL in offered else None

    def _limited(self) -> Refusal | None:
        """Count a handshake, whatever else is wrong with it; return the refusal if its address has sent too many."""
        addresses, address = self._environment.addresses, self._address
        limited = addresses.refusal(address, asyncio.get_running_loop().time())
        if limited is None:
            return None
        if addresses.should_log(address):
            headers = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
            forwarded = any(name in self.request.headers for name in headers)  # an untrusted proxy counts as one client
            log.info("address limited", reason=limited.reason, address=address, forwarded=forwarded)
        seconds = ceil(limited.retry_after)
        self.set_header("Retry-After", seconds)
        return Refusal(429, f"{limited.reason} Try again in {seconds} s.", CloseCode.RATE_LIMITED)

    def connect(self, frame_loop: FrameLoop) -> Connection:
        """Open a connection."""
        log.debug("opened", path=self.request.path, address=self._address)
        loop = asyncio.get_running_loop()
        connection = Connection(self._environment, self._endpoint, frame_loop, self._address, loop)
        connection.opened(self._token)
        return connection


def take_token(request: HTTPServerRequest) -> str | None:
    """Remove the access token from a handshake, so that nothing can log it, and return it; None if there is none."""
    found = _from_header(request.headers.pop("Authorization", ""))
    for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        if found is None and offered.strip().startswith(TOKEN_SUBPROTOCOL):
            found = offered.strip().removeprefix(TOKEN_SUBPROTOCOL)
    values = request.query_arguments.pop("token", [])
    request.arguments.pop("token", None)
    if values and found is None:
        found = values[-1].decode("utf-8", "replace")
    return found


def _from_header(header: str) -> str | None:
    scheme, _, text = header.partition(" ")
    return text.strip() if scheme.lower() == BEARER else None  # an empty token counts as one that cannot be used
