"""The WebSocket endpoints on Tornado: refuses handshakes, and makes a connection of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.adapters.http.endpoint_route import find_token
from mcp_actors.adapters.http.exchange import NONE
from mcp_actors.adapters.http.refusal import Refusal
from mcp_actors.adapters.tornado.upgrade import UpgradeHandler
from mcp_actors.auth.authorization import Handshake

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest

    from mcp_actors.adapters.http.endpoint_route import EndpointRoute
    from mcp_actors.auth.authorization import Admission
    from mcp_actors.connection.connection import Connection
    from mcp_actors.ws.frame_loop import FrameLoop, FrameLoops
    from mcp_actors.ws.handshake import HandshakeProblem


class EndpointHandler(UpgradeHandler):
    """One handshake of an endpoint."""

    def initialize(self, route: EndpointRoute, loops: FrameLoops) -> None:
        """Take what the route gives."""
        route = route.for_client(_offered(self.request))
        self.refuse_with_close = route.refuse_with_close
        self.policy = route.policy
        self.loops = loops
        self.max_message = route.max_message
        self._route = route
        self._handshake = _handshake(route, self.request) if route.asks else None
        self._admission: Admission | None = None
        self._token = take_token(self.request, route.token_field)
        self._query = _arguments(self.request) if route.takes_query else NONE

    def refusal(self) -> Refusal | None:
        """Check the limits of addresses and connections, then the Host and Origin rules."""
        return self._route.refusal(self.request.headers, str(self.request.remote_ip))

    async def get(self) -> None:
        """Ask the application about the handshake, then answer it and hand the connection over."""
        if self._handshake is not None and self.is_handshake:
            found = await self._route.admit(self._handshake)
            if isinstance(found, Refusal):
                self.refuse(found)
            else:
                self._admission = found
        if not self._finished:
            await super().get()

    def no_handshake(self, problem: HandshakeProblem) -> None:
        """Count a request that is no handshake, and say what is wrong with it."""
        self._route.no_handshake(problem.status, problem.reason, str(self.request.remote_ip))
        super().no_handshake(problem)

    def select_subprotocol(self, offered: list[str]) -> str | None:
        """Choose the subprotocol of the route."""
        return self._route.select_subprotocol(offered)

    def connect(self, frame_loop: FrameLoop) -> Connection:
        """Open a connection."""
        connection = self._route.connect(frame_loop, str(self.request.remote_ip), self.request.path)
        self._route.open(connection, self._token, self._admission, self._query)
        return connection


def _handshake(route: EndpointRoute, request: HTTPServerRequest) -> Handshake:
    return Handshake(route.kind, request.headers.copy(), _arguments(request), str(request.remote_ip))


def _arguments(request: HTTPServerRequest) -> dict[str, str]:
    """Return the arguments of the query: of several values of one name, the last."""
    return {name: values[-1].decode("utf-8", "replace") for name, values in request.query_arguments.items()}


def take_token(request: HTTPServerRequest, field: str) -> str | None:
    """Remove the access token from a handshake, so that nothing can log it, and return it; None if there is none.

    `field`: the one of the query that may hold it.
    """
    values = request.query_arguments.pop(field, [])
    request.arguments.pop(field, None)
    in_query = [value.decode("utf-8", "replace") for value in values]
    return find_token(request.headers.pop("Authorization", ""), _offered(request), in_query)


def _offered(request: HTTPServerRequest) -> list[str]:
    """Return the subprotocols that a client offers."""
    return [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
