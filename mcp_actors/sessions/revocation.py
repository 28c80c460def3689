"""The end of a session by moderators: a kick from its last room, or the close of that room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.errors import CloseCode, Kicked, RoomClosed
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import shown
from mcp_actors.room.announcements import words

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Removal
    from mcp_actors.protocol.identifiers import RoomId

CLOSE_CODES = {LeaveReason.KICKED: CloseCode.KICKED, LeaveReason.ROOM_CLOSED: CloseCode.ROOM_CLOSED}


def refusal(removal: Removal, room: RoomId | None = None) -> Kicked | RoomClosed:
    """Return the error for a client that tries to come back to a room that it was removed from."""
    name = "your room" if room is None else f"room {shown(room)}"
    details = words(removal.notice)
    if removal.how is LeaveReason.KICKED:
        return Kicked(f"A moderator has put you out of {name}; your session there has ended.", **details)
    return RoomClosed(f"A moderator has closed {name}; your session there has ended.", **details)
