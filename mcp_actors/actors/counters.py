"""Counts of the rooms of this process and their members."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Kind, LeaveReason, Member
    from mcp_actors.protocol.identifiers import RoomId


class RoomCounters:
    """A `MembershipObserver` that counts. The reason of a leave is None if the session has moved to another process."""

    def __init__(self) -> None:
        self.open = self.opened = 0
        self.members: dict[Kind, int] = defaultdict(int)
        self.joins: dict[Kind, int] = defaultdict(int)
        self.leaves: dict[tuple[Kind, LeaveReason | None], int] = defaultdict(int)

    def room_opened(self, room: RoomId) -> None:
        """See `MembershipObserver`."""
        self.open += 1
        self.opened += 1

    def room_closed(self, room: RoomId) -> None:
        """See `MembershipObserver`."""
        self.open -= 1

    def member_joined(self, room: RoomId, member: Member) -> None:
        """See `MembershipObserver`."""
        self.members[member.kind] += 1
        self.joins[member.kind] += 1

    def member_left(self, room: RoomId, member: Member, reason: LeaveReason | None) -> None:
        """See `MembershipObserver`."""
        self.members[member.kind] -= 1
        self.leaves[member.kind, reason] += 1
