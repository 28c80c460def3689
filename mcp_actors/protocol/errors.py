"""What can go wrong, for programs and for people.

    SignalingError            answered with an `error` message; the connection and the room live on
      BadMessage              not JSON, not an object, unknown type, a missing, wrong or unknown field
      MessageTooBig           the frame or its metadata exceeds a limit
      NotConnected            a user must `connect` first
      NotInRoom               the room of the message was not joined
      AlreadyInRoom           this connection is in the room already
      PeerNotFound            the target is not in the room
      StaleNegotiation        an answer or a candidate for an offer that a newer one has overtaken
      PeerIdTaken             another connection has that peer id in the room
      RoomFull                the room has as many members as it may
      RoomLocked              a moderator has locked the room
      TooManyRooms            this connection is in as many rooms as it may
      Unauthorized            there is no token, or none that can be used
      Forbidden               the token does not allow it
      Kicked                  a moderator has put this client out of the room that it wants to come back to
      RoomClosed              a moderator has closed the room that it wants to come back to
      Unavailable             the server cannot do it now; a later try may succeed
      RateLimited             too much at once; a later try may succeed
      Internal                a bug of the server

`describe` turns any exception into the `error` a client gets, and the close code if the connection cannot go on.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.protocol.identifiers import RequestId, RoomId

FIRST_FINAL_CODE = 4500


class ErrorCode(StrEnum):
    """The `code` of an `error` message: stable, for programs."""

    BAD_MESSAGE = "bad-message"
    MESSAGE_TOO_BIG = "message-too-big"
    NOT_CONNECTED = "not-connected"
    NOT_IN_ROOM = "not-in-room"
    ALREADY_IN_ROOM = "already-in-room"
    PEER_NOT_FOUND = "peer-not-found"
    STALE_NEGOTIATION = "stale-negotiation"
    PEER_ID_TAKEN = "peer-id-taken"
    ROOM_FULL = "room-full"
    ROOM_LOCKED = "room-locked"
    TOO_MANY_ROOMS = "too-many-rooms"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    KICKED = "kicked"
    ROOM_CLOSED = "room-closed"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate-limited"
    INTERNAL = "internal"


class CloseCode(IntEnum):
    """The WebSocket close codes the server sends (RFC 6455, section 7.4, and its own from 4000 on)."""

    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    TOO_BIG = 1009
    INTERNAL = 1011
    SERVICE_RESTART = 1012
    SLOW_PEER = 4000
    ROOM_LOST = 4001
    PING_TIMEOUT = 4003
    RATE_LIMITED = 4004
    BAD_MESSAGE = 4500
    REPLACED = 4501
    UNAUTHORIZED = 4502
    TOKEN_EXPIRED = 4503
    KICKED = 4504
    ROOM_CLOSED = 4505
    IDLE = 4510

    @property
    def reason(self) -> str:
        """The reason sent with the code: its name, in kebab-case."""
        return self.name.lower().replace("_", "-")

    @property
    def retryable(self) -> bool:
        """Whether the client may reconnect."""
        return self < FIRST_FINAL_CODE

    @property
    def resumable(self) -> bool:
        """Whether its session waits for it: also for one that comes back with a new token."""
        if self is CloseCode.TOKEN_EXPIRED:
            return True
        return self.retryable and self not in (CloseCode.ROOM_LOST, CloseCode.GOING_AWAY)


class SignalingError(Exception):
    """A request that cannot be done; `str(error)` is for people and names what to change."""

    code: ClassVar[ErrorCode]
    retryable: ClassVar[bool] = False
    close_code: CloseCode | None = None

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details: Mapping[str, Any] = details
        self.room: RoomId | None = None
        self.id: RequestId | None = None

    def about(self, room: RoomId | None, request_id: RequestId | None) -> Self:
        """Name the request the error answers."""
        self.room, self.id = room, request_id
        return self


class BadMessage(SignalingError):
    """Not JSON, not an object, an unknown type, a missing, wrong or unknown field (`details["field"]`)."""

    code = ErrorCode.BAD_MESSAGE


class MessageTooBig(SignalingError):
    """A frame or its metadata exceeds a limit (`details["limit"]`, in bytes)."""

    code = ErrorCode.MESSAGE_TOO_BIG


class NotConnected(SignalingError):
    """A user must `connect` first."""

    code = ErrorCode.NOT_CONNECTED


class NotInRoom(SignalingError):
    """The room of the message was not joined on this connection."""

    code = ErrorCode.NOT_IN_ROOM


class AlreadyInRoom(SignalingError):
    """This connection is in the room already."""

    code = ErrorCode.ALREADY_IN_ROOM


class PeerNotFound(SignalingError):
    """The target is not in the room, or its connection is going."""

    code = ErrorCode.PEER_NOT_FOUND


class StaleNegotiation(SignalingError):
    """The offer was overtaken by a newer one (`details["negotiation"]`, the highest number between the two peers)."""

    code = ErrorCode.STALE_NEGOTIATION


class PeerIdTaken(SignalingError):
    """Another connection has that peer id in the room."""

    code = ErrorCode.PEER_ID_TAKEN


class RoomFull(SignalingError):
    """The room has as many members as it may (`details["limit"]`)."""

    code = ErrorCode.ROOM_FULL


class RoomLocked(SignalingError):
    """The room lets in only those who may moderate it."""

    code = ErrorCode.ROOM_LOCKED


class TooManyRooms(SignalingError):
    """This connection is in as many rooms as it may (`details["limit"]`)."""

    code = ErrorCode.TOO_MANY_ROOMS


class Unauthorized(SignalingError):
    """There is no token where one is needed, or it cannot be used; `final` where the connection cannot go on."""

    code = ErrorCode.UNAUTHORIZED

    def final(self) -> Self:
        """Have the connection closed for it."""
        self.close_code = CloseCode.UNAUTHORIZED
        return self


class Forbidden(SignalingError):
    """The token does not allow it."""

    code = ErrorCode.FORBIDDEN


class Kicked(SignalingError):
    """A moderator has put this client out of the room; `final` where it has no other."""

    code = ErrorCode.KICKED

    def final(self) -> Self:
        """Have the connection closed for it."""
        self.close_code = CloseCode.KICKED
        return self


class RoomClosed(SignalingError):
    """A moderator has closed the room while this client was in it; `final` where it has no other."""

    code = ErrorCode.ROOM_CLOSED

    def final(self) -> Self:
        """Have the connection closed for it."""
        self.close_code = CloseCode.ROOM_CLOSED
        return self


class Unavailable(SignalingError):
    """The server cannot do it now; a later try may succeed."""

    code = ErrorCode.UNAVAILABLE
    retryable = True


class RateLimited(SignalingError):
    """The client sends too much, or too often (`details["retry_after_ms"]`: when it may go on)."""

    code = ErrorCode.RATE_LIMITED
    retryable = True


class Internal(SignalingError):
    """A bug of the server; what it was is in the server's log alone."""

    code = ErrorCode.INTERNAL
    retryable = True
    close_code = CloseCode.INTERNAL


def describe(error: Exception) -> SignalingError:
    """Turn any exception into what a client may be told of it."""
    if isinstance(error, SignalingError):
        return error
    return Internal("The server failed on this message; it is not your fault. Reconnect and try again.")
