"""Members of rooms: /api/v1/rooms/{room}/members/{kind}/{id}."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from mcp_actors.adapters.admin.api_error import ApiError
from mcp_actors.adapters.admin.api_page import Operation
from mcp_actors.broker.administration import Outcome
from mcp_actors.protocol.codec import MAX_MESSAGE_LENGTH, MAX_REASON_LENGTH
from mcp_actors.protocol.events import Kind, Notice
from mcp_actors.protocol.identifiers import PeerId, RoomId, id_problem

if TYPE_CHECKING:
    from mcp_actors.adapters.admin.api_page import Call
    from mcp_actors.broker.administration import Administration
    from mcp_actors.protocol.events import Member

Reason = Annotated[str, Meta(max_length=MAX_REASON_LENGTH, description="An identifier for programs; empty for none.")]
Message = Annotated[str, Meta(max_length=MAX_MESSAGE_LENGTH, description="A text for people; empty for none.")]


class MemberEntry(Struct, frozen=True):
    """A peer, or one connection of a user.

    `order` counts the joins of its kind. `detached`: it has no connection, and may come back. `verified`: an access
    token says who it is.
    """

    kind: Kind
    id: str
    node: str
    order: int
    detached: bool
    verified: bool
    metadata: dict[str, Any]


class KickRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The words to those that are removed; and for how long they are banned, 0 for not at all."""

    ban_seconds: Annotated[int, Meta(ge=0)] = 0
    reason: Reason = ""
    message: Message = ""


class Kicked(Struct, frozen=True):
    """`removed` is false if nobody with this id was in the room."""

    room: str
    kind: Kind
    id: str
    removed: bool
    banned: bool


def member_entry(member: Member) -> MemberEntry:
    """Return a member as the API shows it."""
    return MemberEntry(
        member.kind, member.id, member.node, member.order, member.detached, member.verified, member.metadata
    )


def notice_of(reason: str, message: str, ban_seconds: int = 0) -> Notice:
    """Return the words to those that are removed. Raises `ApiError`."""
    problem = id_problem(reason, MAX_REASON_LENGTH) if reason else None
    if problem is not None:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"The reason {problem}; `message` is for free text.")
    return Notice(reason, message, ban_seconds)


class Members:
    """The members of all rooms. `max_ban_seconds`: the longest ban."""

    def __init__(self, administration: Administration, max_ban_seconds: int) -> None:
        self._administration = administration
        self._max_ban_seconds = max_ban_seconds

    @property
    def kicking(self) -> dict[str, Operation]:
        """The operations of .../kick."""
        summary = "Remove a peer, or all connections of a user, and ban it for a time"
        return {"POST": Operation(summary, self._kick, Kicked, body=KickRequest, logged="member kicked by operator")}

    async def _kick(self, call: Call) -> Kicked:
        room, kind, whom = RoomId(call.parameters["room"]), Kind(call.parameters["kind"]), call.parameters["id"]
        asked: KickRequest = call.body
        if asked.ban_seconds > self._max_ban_seconds:
            text = f"A ban lasts at most {self._max_ban_seconds} s (MCP_ACTORS_MAX_BAN_SECONDS)."
            raise ApiError(HTTPStatus.BAD_REQUEST, text)
        notice = notice_of(asked.reason, asked.message, asked.ban_seconds)
        outcome = await self._administration.kick(room, kind, PeerId(whom), notice)
        if outcome is Outcome.FULL:
            text = (
                "The room has as many bans as it may (MCP_ACTORS_MAX_ROOM_BANS, MCP_ACTORS_MAX_BANS); lift one first."
            )
            raise ApiError(HTTPStatus.CONFLICT, text)
        return Kicked(room, kind, whom, removed=outcome is Outcome.DONE, banned=asked.ban_seconds > 0)
