"""Who may use the Model Context Protocol: the caller of each request, from its token or as the application says."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from mcp_actors.adapters.http.admin_policy import Denied, is_from_this_machine
from mcp_actors.adapters.http.exchange import Request
from mcp_actors.adapters.mcp.caller import Caller
from mcp_actors.auth.grants import Permission
from mcp_actors.protocol.errors import Forbidden, Unauthorized, Unavailable

if TYPE_CHECKING:
    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from mcp_actors.auth.authentication import Authentication
    from mcp_actors.auth.authorization import Admission, Authorizer, Handshake
    from mcp_actors.auth.grants import Grant

CHALLENGE = "Bearer"
"""It names no metadata of OAuth: hosts that find some ignore the header that they are configured to send."""

TOKEN_NEEDED = "Send an access token, as in Authorization: Bearer <token>; `mcp-actors token` prints one."  # noqa: S105 - no password
THIS_MACHINE_ONLY = (
    "This server takes no tokens (MCP_ACTORS_AUTH is off), so agents are served on this machine only: connect to it as"
    " localhost and not through a proxy, or set MCP_ACTORS_AUTH=required and send a token."
)


class Access:
    """The rules for agents, the same for each way in.

    `authentication`: None if the server takes no tokens; `authorizer`: None if there is no application to ask. Without
    both, and for agents without a token where tokens are optional, only this machine is served. `operators`: the rules
    for operators, who may be on this machine without a token; None if what is for them has a port of its own.
    """

    def __init__(
        self, authentication: Authentication | None, authorizer: Authorizer | None, operators: AdminPolicy | None
    ) -> None:
        self._authentication = authentication
        self._authorizer = authorizer
        self._operators = operators

    async def caller(self, handshake: Handshake, token: str | None) -> Caller:
        """Return who sends a request, or opens a WebSocket, with such headers and token. Raises `Denied`."""
        admission = await self._ask(handshake)
        grant = None if admission is None else admission.grant
        if grant is None and self._authentication is not None:
            grant = self._authenticate(token, self._authentication)
        if grant is None and admission is None and not _is_from_this_machine(handshake):
            raise self._stranger()
        return Caller(handshake.address, token, grant, admission, self._is_operator(handshake, token, grant))

    async def _ask(self, handshake: Handshake) -> Admission | None:
        """Ask the application, if there is one."""
        if self._authorizer is None:
            return None
        try:
            return await self._authorizer.admit(handshake)
        except Forbidden as error:
            raise Denied(HTTPStatus.FORBIDDEN, str(error)) from None
        except Unavailable as error:
            raise Denied(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None

    def _authenticate(self, token: str | None, authentication: Authentication) -> Grant | None:
        if token is None and not authentication.required:
            return None
        if token is None:
            raise Denied(HTTPStatus.UNAUTHORIZED, TOKEN_NEEDED, CHALLENGE)
        try:
            return authentication.check(token, None)
        except Unauthorized as error:
            raise Denied(HTTPStatus.UNAUTHORIZED, str(error), f'{CHALLENGE} error="invalid_token"') from None

    def _stranger(self) -> Denied:
        """Return the refusal of an agent of another machine that has shown no token."""
        if self._authentication is None:
            return Denied(HTTPStatus.FORBIDDEN, THIS_MACHINE_ONLY)
        return Denied(HTTPStatus.UNAUTHORIZED, TOKEN_NEEDED, CHALLENGE)

    def _is_operator(self, handshake: Handshake, token: str | None, grant: Grant | None) -> bool:
        if self._operators is None:
            return False
        if grant is not None or token is not None:
            return grant is not None and Permission.ADMIN in grant.can
        try:
            self._operators.check_operator(_request(handshake))
        except Denied:
            return False
        return True


def _is_from_this_machine(handshake: Handshake) -> bool:
    return is_from_this_machine(_request(handshake))


def _request(handshake: Handshake) -> Request:
    return Request("POST", handshake.headers, handshake.address)
