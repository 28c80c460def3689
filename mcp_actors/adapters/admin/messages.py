"""Messages of operators: /api/v1/rooms/{room}/messages."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from mcp_actors.adapters.admin.api_error import ApiError
from mcp_actors.adapters.admin.api_page import Operation
from mcp_actors.broker.administration import Outcome
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import PeerId, RoomId

if TYPE_CHECKING:
    from mcp_actors.adapters.admin.api_page import Call
    from mcp_actors.broker.administration import Administration


class Receiver(Struct, frozen=True, forbid_unknown_fields=True):
    """A peer, or a user with all its connections."""

    kind: Kind
    id: str


class MessageRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The `content` of an `announcement`, for all members of a room, or for one of them."""

    content: Any
    to: Receiver | None = None


class MessageSent(Struct, frozen=True):
    """`sent` is false if nobody is in the room, or not the member that was to be told."""

    room: str
    sent: bool


class Messages:
    """Messages of operators to members. `max_bytes`: of the longest content, as JSON."""

    def __init__(self, administration: Administration, max_bytes: int) -> None:
        self._administration = administration
        self._max_bytes = max_bytes

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations of /rooms/{room}/messages."""
        return {
            "POST": Operation(
                "Send an announcement to a room, or to one of its members",
                self._send,
                MessageSent,
                body=MessageRequest,
                logged="announcement sent by operator",
            )
        }

    async def _send(self, call: Call) -> MessageSent:
        room, asked = RoomId(call.parameters["room"]), call.body
        if len(msgspec.json.encode(asked.content)) > self._max_bytes:
            text = f"A message has at most {self._max_bytes} bytes (MCP_ACTORS_MAX_MESSAGE_BYTES)."
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        to = None if asked.to is None else (asked.to.kind, PeerId(asked.to.id))
        outcome = await self._administration.announce(room, asked.content, to)
        return MessageSent(room, sent=outcome is Outcome.DONE)
