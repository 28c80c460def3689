"""How PeerJS clients are spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.messages import Error, Joined, Kicked, RoomClosed

if TYPE_CHECKING:
    from mcp_actors.protocol.messages import ErrorPayload, ServerMessage
    from mcp_actors.protocol.outgoing import Dialect, Encoded, Relayed

NOTHING: Encoded = (b"", b"")
FULL = "Server has reached its concurrent user limit"
REMOVED = "A moderator has removed you from this server."
_SENDER, _SRC = b'"sender":', b'"src":'


class PeerJsDialect:
    """OPEN, ID-TAKEN, EXPIRE and ERROR, and the messages of other clients with `src`; there is nothing else to tell."""

    def encode(self, message: ServerMessage, offset: bytes) -> Encoded:
        """See `Dialect`."""
        match message:
            case Joined():
                return _text("OPEN")
            case Error(payload=payload):
                return _error(payload)
            case Kicked() | RoomClosed():
                return _text("ERROR", payload={"msg": REMOVED})
        return NOTHING

    def relay(self, message: Relayed) -> Encoded:
        """See `Dialect`. The head names the sender, or, if that is at another node, the body does."""
        head, body = message.head, message.body
        if head.startswith(_SENDER):
            return _SRC + head[len(_SENDER) :], body
        return b"", _SRC + body[len(_SENDER) :]

    def prefix(self, head: bytes, number: int | None) -> bytes:
        """See `Dialect`."""
        return b"{" + head


PEERJS: Dialect = PeerJsDialect()


def _error(payload: ErrorPayload) -> Encoded:
    """ERROR makes the client give up, so it is not sent about a single message to a peer that is not there."""
    details = payload.details or {}
    if payload.code is ErrorCode.PEER_ID_TAKEN:
        return _text("ID-TAKEN", payload={"msg": "ID is taken"})
    if payload.code is ErrorCode.PEER_NOT_FOUND:
        if "target_peer_id" not in details:
            return NOTHING
        return _text("EXPIRE", src=details["target_peer_id"], dst=details["peer_id"])
    return _text("ERROR", payload={"msg": FULL if payload.code is ErrorCode.ROOM_FULL else payload.message})


def _text(kind: str, **fields: Any) -> Encoded:
    return b"", msgspec.json.encode({"type": kind, **fields})[1:]
