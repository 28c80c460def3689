"""How clients of y-webrtc and of trystero are spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mcp_actors.gateways.y_webrtc.topics import topic_of
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.messages import Announcement, Error, Kicked, RoomClosed

if TYPE_CHECKING:
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.protocol.messages import ServerMessage
    from mcp_actors.protocol.outgoing import Dialect, Encoded, Relayed

NOTHING: Encoded = (b"", b"")
PONG = b'{"type":"pong"}'
REMOVED = "A moderator has removed you from this topic."

_SENDER = b'"sender":"'
_END = b'",'


class YWebRtcDialect:
    """Publications in the words of their senders, and errors, which real clients ignore; there is nothing else to tell.

    What the application announces is sent as it is if it has a topic and a payload, and as an `announcement` otherwise.
    """

    def encode(self, message: ServerMessage, offset: bytes) -> Encoded:
        """See `Dialect`."""
        match message:
            case Error(payload=payload) if payload.code is not ErrorCode.PEER_NOT_FOUND:
                room = message.room if isinstance(message.room, str) else None
                return _error(room, payload.code, payload.message)
            case Kicked(room=room):
                return _error(room, ErrorCode.KICKED, REMOVED)
            case RoomClosed(room=room):
                return _error(room, ErrorCode.ROOM_CLOSED, REMOVED)
            case Announcement(room=room, payload=payload):
                content = payload.content
                if isinstance(content, dict) and content.keys() == {"topic", "payload"}:
                    return _text(content)
                return _text({"type": "announcement", "topic": topic_of(room), "content": content})
        return NOTHING

    def relay(self, message: Relayed) -> Encoded:
        """See `Dialect`. The sender is left out: it is in the head, or, if it is at another node, in the body."""
        body = message.body
        if message.head.startswith(_SENDER):
            return b"", body
        return b"", body[body.index(_END, len(_SENDER)) + len(_END) :]

    def prefix(self, head: bytes, number: int | None) -> bytes:
        """See `Dialect`."""
        return b"{"


Y_WEBRTC: Dialect = YWebRtcDialect()


def _error(room: RoomId | str | None, code: ErrorCode, message: str) -> Encoded:
    topic = topic_of(room)  # type: ignore[arg-type]
    about = {} if topic is None else {"topic": topic}
    return _text({"type": "error", **about, "code": code, "message": message})


def _text(fields: dict[str, Any]) -> Encoded:
    return b"", msgspec.json.encode(fields)[1:]
