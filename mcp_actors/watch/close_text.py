"""Why a connection ended, as a sentence for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.client import ClientCode
from mcp_actors.protocol.errors import CloseCode, ErrorCode
from mcp_actors.watch.event_text import printable

if TYPE_CHECKING:
    from mcp_actors.client import SignalingError

NO_TOKEN = "The server accepts no connection without a token that it can use; see --token."  # noqa: S105 - no password

CLOSES: dict[object, str] = {
    CloseCode.BAD_MESSAGE: "The server does not understand this client: their versions may differ.",
    CloseCode.REPLACED: "Another connection took over: the owner of this id joined, or the session continues there.",
    CloseCode.UNAUTHORIZED: NO_TOKEN,
    CloseCode.TOKEN_EXPIRED: "The access token has expired; start again with a new one.",
    CloseCode.KICKED: "A moderator kicked this client.",
    CloseCode.ROOM_CLOSED: "A moderator closed the room.",
    CloseCode.FORBIDDEN: "The server does not allow this host name or origin.",
    CloseCode.TOKEN_REVOKED: "An operator revoked the access token.",
    CloseCode.IDLE: "The server closed the connection, as it was in no room.",
}
"""By the codes with which the server closes a connection for good."""

ERRORS: dict[str, str] = {
    ErrorCode.PEER_ID_TAKEN: "Somebody in the room has this id.",
    ErrorCode.ROOM_FULL: "The room is full.",
    ErrorCode.ROOM_LOCKED: "A moderator has locked the room.",
    ErrorCode.BANNED: "A moderator has banned this client from the room.",
    ErrorCode.UNAUTHORIZED: NO_TOKEN,
    ErrorCode.FORBIDDEN: "The access token does not allow this room.",
}
"""By the codes of errors that end a room."""


def close_text(error: SignalingError) -> str:
    """Say why a connection, or the membership in a room, ended or could not begin, with what the server has said."""
    said = printable(str(error))
    sentence = CLOSES.get(error.details.get("code")) if error.code == ClientCode.CLOSED else ERRORS.get(error.code)
    return f"{sentence} {said}" if sentence else said
