"""What to change after an error of signaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.client import ClientCode
from mcp_actors.protocol.errors import CloseCode, ErrorCode

if TYPE_CHECKING:
    from mcp_actors.client import SignalingError

TOKEN = "give a token that this server accepts with --token; `mcp-actors token` makes one"  # noqa: S105 - no password
PROXY = "let the proxy speak HTTP/1.1 and pass on the headers Upgrade and Connection; see docs/guides/deploy.md"

REFUSED = {
    400: PROXY,
    401: TOKEN,
    403: "the server does not allow this host name (see ALLOWED_HOSTS), or its application does not allow this client",
    404: "no endpoint is there: correct the path, or let the proxy pass on /ws/signaling/",
    426: PROXY,
    429: "this address has too many connections; wait, or raise MCP_ACTORS_MAX_ADDRESS_CONNECTIONS and its neighbours. "
    "Behind a proxy, MCP_ACTORS_TRUSTED_PROXIES lets the server see each client's own address",
    502: "the proxy does not reach the server: is it running, and at the port that the proxy names?",
    503: "the server is stopping, or has its maximum number of connections; see MCP_ACTORS_MAX_CONNECTIONS",
}
"""By the HTTP status of a refused handshake."""

CLOSED = {
    CloseCode.UNAUTHORIZED: TOKEN,
    CloseCode.TOKEN_EXPIRED: TOKEN,
    CloseCode.FORBIDDEN: REFUSED[403],
}
"""By close codes."""

ERRORS = {
    ErrorCode.UNAUTHORIZED: TOKEN,
    ErrorCode.FORBIDDEN: "the token does not allow this room, or signals in it; name a room that it allows with --room",
    ErrorCode.PEER_ID_TAKEN: "give tokens of two people",
    ErrorCode.ROOM_LOCKED: "name another room with --room",
    ErrorCode.ROOM_FULL: "name another room with --room",
    ErrorCode.UNAVAILABLE: "try again in a moment; if that does not help, see the server's log and /readyz",
    ClientCode.UNREACHABLE: "something else answers WebSockets at this URL, or a proxy drops them; correct the URL",
}
"""By the codes of errors."""

ELSE = "see the server's log at this time"


def advice_for(error: SignalingError) -> str:
    """Say what to change."""
    if error.code == ClientCode.HANDSHAKE_REFUSED:
        return REFUSED.get(error.details.get("status", 0), ELSE)
    if error.code == ClientCode.CLOSED:
        return {int(code): text for code, text in CLOSED.items()}.get(error.details.get("code", 0), ELSE)
    return {str(code): text for code, text in ERRORS.items()}.get(error.code, ELSE)
