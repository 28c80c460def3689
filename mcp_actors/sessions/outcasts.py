"""The sessions that moderators put out of all their rooms: remembered for as long as they could have come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.protocol.codec import encode
from mcp_actors.protocol.errors import CloseCode, Kicked, RoomClosed
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import shown
from mcp_actors.room.moderation import Target, closed, kicked

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Kind
    from mcp_actors.protocol.identifiers import PeerId, RoomId, UserId

CLOSE_CODES = {LeaveReason.KICKED: CloseCode.KICKED, LeaveReason.ROOM_CLOSED: CloseCode.ROOM_CLOSED}


class Outcast(NamedTuple):
    """Whose session it was, the first generation whose token its client may have, and since when it is out, and how."""

    kind: Kind
    identity: str
    oldest: int
    since: float
    reason: LeaveReason


class Outcasts:
    """The outcasts of a node, by session: each for `window` seconds, and `most` at once."""

    def __init__(self, window: float, most: int) -> None:
        self._window = window
        self._most = most
        self._out: dict[str, Outcast] = {}  # the first one first

    def __len__(self) -> int:
        return len(self._out)

    def add(self, session: str, outcast: Outcast) -> list[str]:
        """Remember one; the sessions that are forgotten for it."""
        self._out.pop(session, None)
        self._out[session] = outcast
        return [self._forget_first() for _ in range(len(self._out) - self._most)]

    def reason(self, session: str, generation: int, kind: Kind, identity: str) -> LeaveReason | None:
        """How the session was put out that a token of a generation is for; None if it was not, or is another's."""
        found = self._out.get(session)
        if found is None or (found.kind, found.identity) != (kind, identity) or generation < found.oldest:
            return None
        return found.reason

    def forget_the_late(self, now: float) -> list[str]:
        """Forget those whose time is over; which ones."""
        late: list[str] = []
        while self._out and next(iter(self._out.values())).since <= now - self._window:
            late.append(self._forget_first())
        return late

    def _forget_first(self) -> str:
        first = next(iter(self._out))
        del self._out[first]
        return first


def refusal(reason: LeaveReason, room: RoomId | None = None) -> Kicked | RoomClosed:
    """What a client is told that wants to come back to a room that it was put out of."""
    name = "your room" if room is None else f"room {shown(room)}"
    if reason is LeaveReason.KICKED:
        return Kicked(f"A moderator has put you out of {name}; your session there has ended.")
    return RoomClosed(f"A moderator has closed {name}; your session there has ended.")


def news(reason: LeaveReason, kind: Kind, room: RoomId, member_id: PeerId | UserId) -> bytes:
    """What a client is told that has come back, and was put out of one of its rooms meanwhile."""
    return encode(kicked(room, Target(kind, member_id)) if reason is LeaveReason.KICKED else closed(room))
