"""`/ws/mcp/` for clients that offer the subprotocol `mcp`: agents, and their handshakes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import structlog

from mcp_actors.adapters.http.admin_policy import Denied
from mcp_actors.adapters.http.endpoint_route import EndpointRoute, find_token
from mcp_actors.adapters.http.refusal import Refusal
from mcp_actors.adapters.mcp.agent_connection import AgentConnection
from mcp_actors.adapters.mcp.json_rpc import JSON_RPC, Decoder, Frame
from mcp_actors.auth.authorization import Admission
from mcp_actors.auth.grants import Permission
from mcp_actors.connection.counters import RefusalReason
from mcp_actors.protocol.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcp.server.lowlevel import Server

    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.mcp.access import Access
    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.adapters.mcp.request_slots import RequestSlots
    from mcp_actors.auth.authorization import Handshake
    from mcp_actors.connection.connection import Connection
    from mcp_actors.connection.environment import Environment
    from mcp_actors.connection.transport import Transport

log = structlog.get_logger("mcp_actors.connection")

SUBPROTOCOL = "mcp"
"""The subprotocol that a client offers to speak the Model Context Protocol."""

CLOSE_CODES = {401: CloseCode.UNAUTHORIZED, 403: CloseCode.FORBIDDEN, 503: CloseCode.TRY_AGAIN_LATER}


class AgentEndpoint:
    """Every message of an agent is handed to the server of the SDK."""

    name = "mcp"
    permission = Permission.MESSAGE
    dialect = JSON_RPC

    def __init__(self, max_message_bytes: int) -> None:
        self.decode = Decoder(max_message_bytes).decode
        self.handlers = {Frame: self._receive}

    def opened(self, connection: Connection, token: str | None, admission: Admission | None = None) -> None:
        """Do nothing: the handshake has settled who the agent is."""

    def _receive(self, connection: AgentConnection, frame: Frame, _text: bytes) -> None:
        connection.receive(frame)


class AgentRoute(EndpointRoute):
    """The handshakes of agents. One that `access` denies is refused: there is no message to authenticate with later."""

    def __init__(
        self,
        server: Server[Any],
        access: Access,
        slots: RequestSlots,
        environment: Environment,
        policy: OriginPolicy,
        *,
        max_message_bytes: int,
        max_message: int,
        refuse_with_close: bool = False,
    ) -> None:
        endpoint: Any = AgentEndpoint(max_message_bytes)
        super().__init__(
            environment, endpoint, policy, max_message=max_message, refuse_with_close=refuse_with_close, kind="user"
        )
        self.asks = True
        self._server = server
        self._access = access
        self._slots = slots

    def select_subprotocol(self, offered: Iterable[str]) -> str | None:
        """Choose the one that has led here."""
        return SUBPROTOCOL

    async def admit(self, handshake: Handshake) -> Admission | Refusal | None:
        """Find out who the agent is, and whether it is let in."""
        try:
            caller = await self._access.caller(handshake, _token(handshake))
        except Denied as error:
            log.info("handshake refused", reason=str(error), address=handshake.address)
            challenge = error.headers.get("WWW-Authenticate", "")
            refusal = Refusal(error.status, str(error), CLOSE_CODES[error.status], challenge=challenge)
            return self._refused(refusal, RefusalReason.AGENT, handshake.address)
        return self._full(handshake.address) or _Admitted.of(caller, handshake)

    def connect(self, transport: Transport, address: str, path: str) -> AgentConnection:
        """Return a new connection, to be opened with what `admit` has found."""
        connection = AgentConnection(self._environment, self.endpoint, transport, address, asyncio.get_running_loop())
        log.debug("opened", connection=connection.id, path=path, address=address)
        return connection

    def open(
        self, connection: Connection, token: str | None, admission: Admission | None, query: Mapping[str, str]
    ) -> None:
        """Begin to serve the agent, until its grant ends."""
        assert isinstance(connection, AgentConnection)  # noqa: S101 - see `connect`
        assert isinstance(admission, _Admitted)  # noqa: S101 - see `admit`
        if admission.grant is not None:
            connection.identity.admit(admission)
            self._environment.expiry.watch(connection, admission.grant)
        connection.serve(self._server, self._slots, admission.caller)


class _Admitted(Admission):
    """An admission of an agent, with all that is known of it."""

    caller: Caller

    @classmethod
    def of(cls, caller: Caller, handshake: Handshake) -> Self:
        admitted = cls(handshake, caller.grant)
        admitted.caller = caller
        return admitted


def _token(handshake: Handshake) -> str | None:
    """Return the access token of a handshake, from where all WebSockets may have it."""
    headers = handshake.headers
    offered = [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    in_query = [handshake.query["token"]] if "token" in handshake.query else []
    return find_token(headers.get("Authorization", ""), offered, in_query)
