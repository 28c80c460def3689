"""The rooms of one session: those it is in, is leaving, or was removed from by moderators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.node import Membership
from mcp_actors.protocol.errors import AlreadyInRoom, NotInRoom, TooManyRooms
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import RoomId, shown
from mcp_actors.sessions.revocation import refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mcp_actors.protocol.events import Removal


class Memberships(dict[RoomId, Membership]):
    """The rooms that the session is in or is joining, at most `max_rooms`.

    `leaving`: memberships that are being left, at most as many. `joining`: rooms whose join is pending, with what the
    messages behind the join will cost per receiver, in deliveries. `removed`: how moderators removed the session from
    rooms, the latest last. `forbidden`: rooms that the session had to leave, the latest last; what they send until they
    know of it reaches nobody.
    """

    __slots__ = ("_max_rooms", "forbidden", "joining", "leaving", "removed")

    def __init__(self, max_rooms: int) -> None:
        self.joining: dict[RoomId, int] = {}
        self.leaving: dict[RoomId, Membership] = {}
        self.removed: dict[RoomId, Removal] = {}
        self.forbidden: dict[RoomId, None] = {}
        self._max_rooms = max_rooms

    @property
    def last_removal(self) -> Removal | None:
        """How moderators removed the session from a room, the last time."""
        return next(reversed(self.removed.values()), None)

    def membership(self, room: RoomId) -> Membership:
        """Return the membership in a room. Raises `NotInRoom`."""
        membership = self.get(room)
        if membership is None:
            raise NotInRoom(f"You are not in room {shown(room)}; join it first.")
        return membership

    def present(self) -> dict[RoomId, Membership]:
        """Return the memberships that other nodes may still see: also those that are being left."""
        return self.leaving | self

    def joined(self, except_for: Collection[RoomId]) -> dict[RoomId, Membership]:
        """Return the memberships in other rooms that are neither being joined nor left."""
        return {room: one for room, one in self.items() if room not in except_for and room not in self.joining}

    def may_be(self, room: RoomId, member_id: str) -> bool:
        """Whether the session is not in a room under another id."""
        membership = self.get(room)
        return membership is None or membership.member_id == member_id

    def check_join(self, room: RoomId) -> None:
        """Raise `AlreadyInRoom` or `TooManyRooms` if the room cannot be joined."""
        if room in self:
            raise AlreadyInRoom(f"You are in room {shown(room)} already.")
        most = self._max_rooms
        if len(self) >= most or len(self) + len(self.leaving) >= 2 * most:
            text = f"A connection can be in {most} rooms; leave one, or open another connection."
            raise TooManyRooms(text, limit=most)

    def check_return(self, room: RoomId) -> None:
        """Raise `Kicked` or `RoomClosed` if moderators removed the session from the room."""
        removal = self.removed.get(room)
        if removal is not None:
            raise refusal(removal, room)

    def discard(self, room: RoomId, membership: Membership) -> None:
        """Forget a membership that has ended; not another one in the same room."""
        for places in (self, self.leaving):
            if places.get(room) is membership:
                del places[room]

    def remove(self, room: RoomId, removal: Removal) -> None:
        """Forget the membership that moderators ended: the one that is being left, if there is one."""
        if self.leaving.pop(room, None) is None:
            self.pop(room, None)
        self.removed[room] = removal
        while len(self.removed) > self._max_rooms:
            del self.removed[next(iter(self.removed))]

    def forbid(self, rooms: Iterable[RoomId]) -> None:
        """Leave rooms that the client's access token does not allow."""
        for room in rooms:
            self.forbidden[room] = None
            membership = self.pop(room, None)
            if membership is not None:
                membership.end(LeaveReason.LEFT)
        while len(self.forbidden) > 2 * self._max_rooms:
            del self.forbidden[next(iter(self.forbidden))]

    def end(self, reason: LeaveReason) -> None:
        """Leave all rooms, because the session has ended."""
        memberships = list(self.values())
        self.clear()
        self.leaving.clear()
        for membership in memberships:
            membership.end(reason)

    def mark(self, *, detached: bool, address: str = "") -> None:
        """Tell all rooms whether the client is connected, and its address if that is for bans."""
        for membership in self.values():
            membership.mark(detached=detached, address=address)
