"""The log of membership events that are to be reported to the application, as the reporting process reads it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from msgspec import Struct

from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import Incarnation, RoomId

if TYPE_CHECKING:
    from collections.abc import Sequence


class EventType(StrEnum):
    """The kind of an event. A room is opened by its first member, and closed by its last one."""

    ROOM_OPENED = "room-opened"
    ROOM_CLOSED = "room-closed"
    MEMBER_JOINED = "member-joined"
    MEMBER_LEFT = "member-left"


class MembershipEvent(Struct, frozen=True):
    """Something that happened in a room, of all processes together, and the member that joined or left.

    The same event has the same `type` and `incarnation`, however often it is recorded. `reason` is that of a leave.
    """

    type: EventType
    room: RoomId
    incarnation: Incarnation
    kind: Kind
    id: str
    verified: bool
    metadata: dict[str, Any]
    reason: LeaveReason | None = None


class Logged(NamedTuple):
    """An event in the log. `offset`: its place there, after those of all earlier ones. `at`: seconds since 1970."""

    offset: str
    at: float
    event: MembershipEvent


class Lease(NamedTuple):
    """The right of this process to report the events of a log.

    `log`: the id of the log. The application knows of the first `told` of all events that were dropped, and is to be
    told of all up to `telling`. `length`: how many events the log holds.
    """

    log: str
    told: int
    telling: int
    length: int


class LogUnavailable(Exception):
    """The log cannot be reached; `str(error)` says why."""


class EventLog(Protocol):
    """A log that one process at a time reads. The methods raise `LogUnavailable`."""

    async def acquire(self) -> Lease | None:
        """Become the process that reports the events, or remain it; None if another process is it."""

    async def release(self) -> None:
        """Let another process report the events."""

    async def read(self, after: str, count: int) -> Sequence[Logged]:
        """Return the next events after an offset, "" for the first ones; at most `count`."""

    async def settle(self, offsets: Sequence[str], *, given_up: int = 0, told: int | None = None) -> bool:
        """Remove events that were reported, or given up; return False if another process reports them now.

        `given_up`: how many of them. `told`: of how many dropped events the application knows now.
        """
