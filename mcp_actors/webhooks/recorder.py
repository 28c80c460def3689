"""Records what happens in the rooms of a process that has no others beside it, as an observer of its rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.broker.event_log import EventType, MembershipEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.events import LeaveReason, Member
    from mcp_actors.protocol.identifiers import RoomId


class Recorder:
    """A `MembershipObserver`. `append` appends an event to a log."""

    def __init__(self, append: Callable[[MembershipEvent], None]) -> None:
        self._append = append
        self._last: dict[RoomId, Member] = {}
        """Of each room that has had members, who joined or left last."""

    def room_opened(self, room: RoomId) -> None:
        """See `MembershipObserver`. Nobody may have joined yet."""

    def room_closed(self, room: RoomId) -> None:
        """See `MembershipObserver`."""
        last = self._last.pop(room, None)
        if last is not None:
            self._record(EventType.ROOM_CLOSED, room, last)

    def member_joined(self, room: RoomId, member: Member) -> None:
        """See `MembershipObserver`."""
        if room not in self._last:
            self._record(EventType.ROOM_OPENED, room, member)
        self._last[room] = member
        self._record(EventType.MEMBER_JOINED, room, member)

    def member_left(self, room: RoomId, member: Member, reason: LeaveReason | None) -> None:
        """See `MembershipObserver`."""
        self._last[room] = member
        self._record(EventType.MEMBER_LEFT, room, member, reason)

    def _record(self, kind: EventType, room: RoomId, member: Member, reason: LeaveReason | None = None) -> None:
        who = (member.incarnation, member.kind, member.id, member.verified, member.metadata)
        self._append(MembershipEvent(kind, room, *who, reason))
