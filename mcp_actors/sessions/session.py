"""One session: the outlet of its rooms, and what it keeps for its client.

It numbers every frame, writes it to its connection if it has one, and keeps it until the client is known to have it: a
pong says so of all that was written before its ping. Without a connection it is *away*, and waits for the client to
come back with its token; when that takes too long, it ends. When the client comes back at another node, the session
*leaves*: what still comes for it is kept until all of it has come, and handed over. At that node it *arrives*: what
comes for it there waits, without numbers, for what comes from the first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from mcp_actors.protocol.errors import AlreadyInRoom, CloseCode, NotInRoom, TooManyRooms
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.handover import SessionState
from mcp_actors.protocol.identifiers import shown
from mcp_actors.sessions.outcasts import CLOSE_CODES, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.actors.mail import Greeting
    from mcp_actors.node import Membership
    from mcp_actors.protocol.events import Kind
    from mcp_actors.protocol.handover import Handover
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.sessions.registry import Sessions
    from mcp_actors.sessions.takeover import Arrival


VERIFIED = "\0"
"""Stands before the identity of a session that an access token began. No claimed id begins so: ids are printable."""


class Wire(Protocol):
    """A connection, as its session sees it."""

    def put(self, frame: bytes) -> bool:
        """Write a frame; False if the connection is closed."""

    def ping(self) -> None:
        """Ask the client what it has; see `Session.ponged`."""

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Close the connection."""


ASK_AFTER = 32_768
"""Bytes that are kept until the client is asked for what of it it has, rather than at the next heartbeat.

Else whoever is sent much would take as much memory as may be kept for a client. A half of this and twice as much cost
the same CPU, as far as that could be told from noise.
"""


class Session:
    """One client, through one connection or several in turn; see `Outlet`."""

    __slots__ = (
        *("_asked", "_bytes", "_enough", "_greeted", "_is_brief", "_is_given", "_kept", "_lost_before"),
        *("_max_frames", "_memberships", "_registry", "_wire"),
        *("arrival", "ended", "generation", "id", "identity", "kind", "leaving", "number", "oldest", "out"),
    )

    def __init__(
        self, registry: Sessions, kind: Kind, identity: str, wire: Wire | None, session_id: str, generation: int = 1
    ) -> None:
        self.id = session_id
        self.kind = kind
        self.identity = identity
        self.generation = generation
        """Counts its connections: each uses up the token of the one before."""
        self.oldest = generation
        """The first whose token the client may still have: replies that brought later ones may have been lost."""
        self.ended = False
        self.number = 0
        """That of its last frame."""
        self.arrival: Arrival | None = None
        """While it arrives from another node."""
        self.leaving: dict[RoomId, bool] | None = None
        """While it leaves for another node: in which rooms it did, and whether nothing more comes of each."""
        self.out: dict[RoomId, LeaveReason] | None = None
        """The rooms that moderators put it out of, and how; at most as many as it may be in."""
        self._registry = registry
        self._wire = wire
        self._greeted = 0
        self._is_given = wire is not None  # the token of this generation, to a connection
        self._lost_before = 0  # the first number after frames were lost that were for it
        self._memberships: dict[RoomId, Membership] = {}
        self._kept: deque[bytes] | None = None
        self._bytes = 0
        self._is_brief = not registry.window  # it ends with its connection
        self._max_frames = registry.max_frames
        self._note_asked(0)

    # ------------------------------------------------------------------------------------------------------- outgoing

    @property
    def verified(self) -> bool:
        """Whether an access token said who it is."""
        return self.identity.startswith(VERIFIED)

    @property
    def away(self) -> bool:
        """Whether frames wait for the client to come back."""
        return self._wire is None

    def put(self, frame: bytes) -> bool:
        """See `Outlet`."""
        if self.ended or self.arrival is not None or self._is_brief:
            return self._divert(frame)
        self.number += 1
        numbered = b'{"delivery":%d,' % self.number + frame[1:]
        kept = self._kept
        if kept is None:
            kept = self._kept = deque()
        kept.append(numbered)
        self._bytes += len(numbered)
        if self._wire is not None:
            self._wire.put(numbered)  # which may find the client too slow, and end the session if none more may wait
        if self._bytes > self._enough or len(kept) > self._max_frames:
            self._bound()
        return not self.ended

    def _divert(self, frame: bytes) -> bool:
        """Take a frame where that is not to number, keep and write it."""
        if self._is_brief:
            return self._wire is not None and self._wire.put(frame)
        return not self.ended and self.arrival is not None and self.arrival.put(frame)

    def _bound(self) -> None:
        """Keep no more than may be, and ask a client for which much is kept what of it it has."""
        kept = self._kept
        while kept and (len(kept) > self._max_frames or self._bytes > self._registry.max_bytes):
            self._bytes -= len(kept.popleft())
        if self._wire is not None and self._bytes - self._asked > ASK_AFTER:
            self._note_asked(self._bytes)
            self._wire.ping()

    def _note_asked(self, kept: int) -> None:
        """Bytes that were kept when the client was asked last what it has; 0 once it has answered."""
        self._asked = kept
        self._enough = min(kept + ASK_AFTER, self._registry.max_bytes)

    def close(self, code: CloseCode) -> None:
        """See `Outlet`."""
        if self._wire is not None:
            self._wire.close(code)
        self.end(LeaveReason.DISCONNECTED)

    def ponged(self, received: int) -> None:
        """The client is there, and has the frames up to a number."""
        kept = self._kept
        if kept is not None:
            there = received - (self.number - len(kept))
            if there >= len(kept):
                self._kept = None
                self._bytes = 0
            else:
                for _ in range(there):
                    self._bytes -= len(kept.popleft())
        self._note_asked(0)
        if self.oldest < self.generation and received >= self._greeted:
            self.oldest = self.generation
            self._registry.note(self)

    # ----------------------------------------------------------------------------------------------------- connections

    def attach(self, wire: Wire, received: int) -> bool:
        """Go on with a new connection, whose client has seen the frames up to a number; whether it gets all others."""
        old, self._wire = self._wire, wire
        if self._is_given:
            self.generation += 1
        self._is_given = True
        self._greeted = 2**53
        self._registry.back(self)
        if old is not None:
            old.close(CloseCode.REPLACED)
        else:
            self.mark_rooms(away=False)
        kept = tuple(self._kept or ())
        oldest, newest = self.number - len(kept), self.number
        for number, frame in enumerate(kept, oldest + 1):
            if number > received:
                wire.put(frame)
        return oldest <= received <= newest and received >= self._lost_before

    def greeted(self) -> None:
        """What was written last tells the client its latest token."""
        self._greeted = self.number

    def lost(self, wire: Wire, reason: LeaveReason, *, final: bool) -> None:
        """A connection is gone; `final` if the client meant it."""
        if self._wire is not wire or self.ended:
            return
        self._wire = None
        if final or not self._memberships or not self._registry.wait_for(self):
            self.end(reason)
        else:
            self.mark_rooms(away=True)

    def end(self, reason: LeaveReason) -> None:
        """Leave all rooms, for good."""
        if self.ended:
            return
        self.ended = True
        self._kept = None
        self._bytes = 0
        self._registry.forget(self)
        memberships, self._memberships = self._memberships, {}
        for membership in memberships.values():
            membership.end(reason)

    def mark_rooms(self, *, away: bool) -> None:
        """Let the rooms know whether there is a client."""
        for membership in self._memberships.values():
            membership.mark(away=away)

    # ------------------------------------------------------------------------------------------------------------ rooms

    def rooms(self) -> list[tuple[RoomId, Membership]]:
        """The rooms it is in, or is joining, and its place in each."""
        return list(self._memberships.items())

    def membership(self, room: RoomId) -> Membership:
        """The membership in a room. Raises `NotInRoom`."""
        membership = self._memberships.get(room)
        if membership is None:
            raise NotInRoom(f"You are not in room {shown(room)}; join it first.")
        return membership

    def is_in(self, room: RoomId) -> bool:
        """Whether it has a membership in a room."""
        return room in self._memberships

    def expel(self, room: RoomId) -> None:
        """Leave a room that it may not be in any more."""
        self._memberships.pop(room).end(LeaveReason.LEFT)
        self._registry.note(self)

    def put_out(self, room: RoomId, reason: LeaveReason) -> None:
        """See `Outlet`."""
        if self.ended:
            return
        self._memberships.pop(room, None)
        self.note_out(room, reason)
        if self.arrival is not None:  # `go_on` sees to it; nothing more is handed over of that room
            self.arrival.handed_over(room, None)
            return
        if self.leaving is not None:
            self.leaving.pop(room, None)
            self._hand_over_if_complete()
        elif self._memberships:
            self._registry.note(self)
        else:
            self._banish(reason)

    def note_out(self, room: RoomId, reason: LeaveReason) -> None:
        """Remember that it may not come back to a room."""
        self.out = self.out or {}
        self.out[room] = reason
        while len(self.out) > self._registry.max_rooms:
            del self.out[next(iter(self.out))]

    def _banish(self, reason: LeaveReason) -> None:
        """End for good, with a client that can come back to nothing."""
        self.ended = True
        self._kept = None
        self._bytes = 0
        self._registry.banish(self, reason)
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close(CLOSE_CODES[reason])

    def expect_welcome(self, room: RoomId) -> None:
        """Raise `Kicked` or `RoomClosed` if it wants to come back to a room that it was put out of."""
        reason = (self.out or {}).get(room)
        if reason is not None:
            raise refusal(reason, room)

    def may_be(self, room: RoomId, member_id: str) -> bool:
        """Whether it is not in a room under another id."""
        membership = self._memberships.get(room)
        return membership is None or membership.member_id == member_id

    def may_enter(self, room: RoomId) -> None:
        """Raise `AlreadyInRoom` or `TooManyRooms` if the room cannot be joined."""
        if room in self._memberships:
            raise AlreadyInRoom(f"You are in room {shown(room)} already.")
        most = self._registry.max_rooms
        if len(self._memberships) >= most:
            text = f"A connection can be in {most} rooms; leave one, or open another connection."
            raise TooManyRooms(text, limit=most)

    def enter(
        self,
        room: RoomId,
        membership: Membership,
        greeting: Greeting,
        *,
        presence: bool = False,
        moderator: bool = False,
    ) -> Awaitable[None]:
        """Join a room. Nothing is read from the client meanwhile: what it sent after its join finds it in the room."""
        entered = membership.enter(self, greeting, presence=presence, moderator=moderator)
        self._memberships[room] = membership
        return self._entered(room, entered)

    async def _entered(self, room: RoomId, entered: Awaitable[None]) -> None:
        try:
            await entered
        except Exception:
            self._memberships.pop(room, None)
            raise
        if self.out:
            self.out.pop(room, None)  # it is a newcomer there
        self._registry.note(self)

    async def leave(self, room: RoomId, request_id: Any) -> None:
        """Leave a room. Raises `NotInRoom`."""
        membership = self.membership(room)
        try:
            await membership.leave(request_id)
        finally:
            self._memberships.pop(room, None)
            self._registry.note(self)

    # ------------------------------------------------------------------------------------------ from and to other nodes

    def go_on(
        self, memberships: dict[RoomId, Membership], state: SessionState, waiting: list[bytes], *, lossy: bool
    ) -> None:
        """Be what it was at another node, and take what came for it here since; `lossy`: some is missing between."""
        self.arrival = None
        if self.ended:  # one of its rooms was lost meanwhile
            for membership in memberships.values():
                membership.end(LeaveReason.DISCONNECTED)
            return
        out = self.out or {}
        self._memberships = {room: place for room, place in memberships.items() if room not in out}
        self.number = state.number
        self._lost_before = state.number + 1 if lossy else 0
        self._kept = deque(state.kept) or None
        self._bytes = sum(map(len, state.kept))
        self._bound()
        for frame in waiting:
            self.put(frame)
        if out and not self._memberships:
            self._banish(next(reversed(out.values())))

    def recovered(self, frame: bytes) -> None:
        """See `Outlet`."""
        if self.arrival is not None:
            self.arrival.recovered.append(frame)

    def handed_over(self, room: RoomId, told: Handover | None) -> None:
        """See `Outlet`."""
        if self.arrival is not None:
            self.arrival.handed_over(room, told)

    def moved(self, room: RoomId) -> None:
        """See `Outlet`."""
        if self.ended:
            return
        if self.leaving is None:
            self.leaving = {}
            wire, self._wire = self._wire, None
            if wire is not None:
                wire.close(CloseCode.REPLACED)
            self._registry.leaves(self)
        self.leaving[room] = False

    def complete(self, room: RoomId) -> None:
        """See `Outlet`."""
        if self.leaving is not None:
            self.leaving[room] = True
            self._hand_over_if_complete()

    def _hand_over_if_complete(self) -> None:
        if all((self.leaving or {}).get(one) for one in self._memberships):
            self._registry.hand_over(self)

    def depart(self) -> SessionState:
        """End here, with nobody told: another node has it. What it has kept is returned."""
        self.ended = True
        self._memberships = {}
        kept, self._kept = list(self._kept or ()), None
        return SessionState(self.number, kept)
