"""Observers of the rooms of this process, for metrics and webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.events import LeaveReason, Member
    from mcp_actors.protocol.identifiers import RoomId

log = structlog.get_logger("mcp_actors.room")


class MembershipObserver(Protocol):
    """An observer is called in order, for the rooms and the members of this process only."""

    def room_opened(self, room: RoomId) -> None:
        """A room has started in this process."""

    def room_closed(self, room: RoomId) -> None:
        """A room has no members in this process any more."""

    def member_joined(self, room: RoomId, member: Member) -> None:
        """A member has joined, or its session has moved to this process."""

    def member_left(self, room: RoomId, member: Member, reason: LeaveReason | None) -> None:
        """A member has left; the reason is None if its session has moved to another process."""


class MessageObserver(Protocol):
    """An observer of messages is called in order with the events of a `MembershipObserver`."""

    def message_sent(self, room: RoomId, member: Member, content: bytes) -> None:
        """A user of this process has sent a message to the users of a room; `content` is JSON."""


class Observers:
    """All observers. One that raises is logged once, and is notified of everything that follows all the same."""

    def __init__(self) -> None:
        self._observers: list[MembershipObserver] = []
        self._failed: set[int] = set()
        self.of_messages: list[MessageObserver] = []
        """The observers of messages, which must not raise."""

    def add(self, observer: MembershipObserver) -> None:
        """Add an observer."""
        self._observers.append(observer)

    def notify(self, call: Callable[[MembershipObserver], None]) -> None:
        """Make one call on each observer."""
        for number, observer in enumerate(self._observers):
            try:
                call(observer)
            except Exception:
                if number not in self._failed:
                    self._failed.add(number)
                    log.exception("membership observer failed", observer=type(observer).__name__)
