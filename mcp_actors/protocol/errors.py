"""The errors that clients see: `error` messages, and the close codes of connections."""

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
    BANNED = "banned"
    TOO_MANY_ROOMS = "too-many-rooms"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    KICKED = "kicked"
    ROOM_CLOSED = "room-closed"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate-limited"
    INTERNAL = "internal"


class CloseCode(IntEnum):
    """The WebSocket close codes of the server: those of RFC 6455, section 7.4, and its own from 4000 on."""

    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    TOO_BIG = 1009
    INTERNAL = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
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
    FORBIDDEN = 4506
    TOKEN_REVOKED = 4507
    IDLE = 4510

    @property
    def reason(self) -> str:
        """The reason sent with the code: its name in kebab-case."""
        return self.name.lower().replace("_", "-")

    @property
    def retryable(self) -> bool:
        """Whether the client may reconnect."""
        return self < FIRST_FINAL_CODE

    @property
    def resumable(self) -> bool:
        """Whether the session waits for the client, which may need a new token."""
        if self is CloseCode.TOKEN_EXPIRED:
            return True
        return self.retryable and self not in (CloseCode.ROOM_LOST, CloseCode.GOING_AWAY)


class SignalingError(Exception):
    """A request that cannot be done. `str(error)` is for people and says what to change.

    If `close_code` is set, the connection is closed with it.
    """

    code: ClassVar[ErrorCode]
    retryable: ClassVar[bool] = False
    final_code: ClassVar[CloseCode | None] = None
    close_code: CloseCode | None = None

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.details: Mapping[str, Any] = details
        self.room: RoomId | None = None
        self.id: RequestId | None = None

    def about(self, room: RoomId | None, request_id: RequestId | None) -> Self:
        """Name the request that the error answers."""
        self.room, self.id = room, request_id
        return self

    def final(self) -> Self:
        """Close the connection after the error."""
        self.close_code = self.final_code
        return self


class BadMessage(SignalingError):
    """Not JSON, not an object, an unknown type, or a missing, wrong or unknown field (`details["field"]`)."""

    code = ErrorCode.BAD_MESSAGE


class MessageTooBig(SignalingError):
    """A message or its metadata exceeds a limit (`details["limit"]`, in bytes)."""

    code = ErrorCode.MESSAGE_TOO_BIG


class NotConnected(SignalingError):
    """A user must `connect` first."""

    code = ErrorCode.NOT_CONNECTED


class NotInRoom(SignalingError):
    """The client is not in the room of its message."""

    code = ErrorCode.NOT_IN_ROOM


class AlreadyInRoom(SignalingError):
    """The client is in the room already."""

    code = ErrorCode.ALREADY_IN_ROOM


class PeerNotFound(SignalingError):
    """The target is not in the room, or leaves it."""

    code = ErrorCode.PEER_NOT_FOUND


class StaleNegotiation(SignalingError):
    """The offer was superseded by a newer one (`details["negotiation"]`, the highest number between the peers)."""

    code = ErrorCode.STALE_NEGOTIATION


class PeerIdTaken(SignalingError):
    """Another peer has this id in the room; it may be an old connection of the client that is not known to be lost."""

    code = ErrorCode.PEER_ID_TAKEN
    retryable = True


class RoomFull(SignalingError):
    """The room has as many members as it may (`details["limit"]`)."""

    code = ErrorCode.ROOM_FULL


class RoomLocked(SignalingError):
    """Only moderators may enter the room."""

    code = ErrorCode.ROOM_LOCKED


class Banned(SignalingError):
    """A moderator has banned the client from the room (`details["retry_after_ms"]`, and the words of the ban)."""

    code = ErrorCode.BANNED


class TooManyRooms(SignalingError):
    """The client is in as many rooms as it may (`details["limit"]`)."""

    code = ErrorCode.TOO_MANY_ROOMS


class Unauthorized(SignalingError):
    """A token is needed, or the one that was given cannot be used."""

    code = ErrorCode.UNAUTHORIZED
    final_code = CloseCode.UNAUTHORIZED


class Forbidden(SignalingError):
    """The token does not allow it."""

    code = ErrorCode.FORBIDDEN


class Kicked(SignalingError):
    """A moderator has removed the client from the room."""

    code = ErrorCode.KICKED
    final_code = CloseCode.KICKED


class RoomClosed(SignalingError):
    """A moderator has closed the room while the client was in it."""

    code = ErrorCode.ROOM_CLOSED
    final_code = CloseCode.ROOM_CLOSED


class Unavailable(SignalingError):
    """The server cannot do it now; a later try may succeed."""

    code = ErrorCode.UNAVAILABLE
    retryable = True


class RateLimited(SignalingError):
    """The client sends too much (`details["retry_after_ms"]` says when it may go on)."""

    code = ErrorCode.RATE_LIMITED
    retryable = True


class Internal(SignalingError):
    """A bug of the server, which is in its log."""

    code = ErrorCode.INTERNAL
    retryable = True
    close_code = CloseCode.INTERNAL


def describe(error: Exception) -> SignalingError:
    """The error that a client is told for any exception."""
    if isinstance(error, SignalingError):
        return error
    return Internal("The server failed on this message; it is not your fault. Reconnect and try again.")
