"""Sessions: what survives a broken connection - who it is, the rooms it is in, and what may not have arrived.

A session is the outlet of its rooms. It numbers every frame, writes it to its connection if it has one, and keeps it
until the client is known to have it: a pong says so of all that was written before its ping. Without a connection it is
*away*, and waits for the client to come back with its token; when that takes too long, it ends.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from mcp_actors.protocol.errors import AlreadyInRoom, CloseCode, NotInRoom, TooManyRooms
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.actors.mail import Greeting
    from mcp_actors.node import Membership
    from mcp_actors.protocol.events import Kind
    from mcp_actors.protocol.identifiers import RoomId

log = structlog.get_logger("mcp_actors.session")

ID_BYTES, GENERATION_BYTES, SEAL_BYTES = 12, 4, 16

TICK = 0.25
"""Seconds between looks at who has been away for too long."""


class Wire(Protocol):
    """A connection, as its session sees it."""

    def put(self, frame: bytes) -> bool:
        """Write a frame; False if the connection is closed."""

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Close the connection."""


class Session:
    """One client, through one connection or several in turn; see `Outlet`."""

    __slots__ = (
        *("_bytes", "_kept", "_memberships", "_registry", "_wire"),
        *("ended", "generation", "id", "identity", "kind", "number", "proved"),
    )

    def __init__(self, registry: Sessions, kind: Kind, identity: str, wire: Wire) -> None:
        self.id = secrets.token_bytes(ID_BYTES)
        self.kind = kind
        self.identity = identity
        self.generation = 1
        """Counts its connections: each uses up the token of the one before."""
        self.proved = False
        """Whether the client has said anything on its present connection, so that it has the latest token."""
        self.ended = False
        self.number = 0
        """That of its last frame."""
        self._registry = registry
        self._wire: Wire | None = wire
        self._memberships: dict[RoomId, Membership] = {}
        self._kept: deque[bytes] | None = None
        self._bytes = 0

    # ------------------------------------------------------------------------------------------------------- outgoing

    @property
    def away(self) -> bool:
        """Whether frames wait for the client to come back."""
        return self._wire is None

    def put(self, frame: bytes) -> bool:
        """See `Outlet`."""
        wire = self._wire
        if not self._registry.window:
            return wire is not None and wire.put(frame)
        if self.ended:
            return False
        self.number += 1
        numbered = b'{"delivery":%d,%b' % (self.number, frame[1:])
        self._keep(numbered)
        if wire is not None:
            wire.put(numbered)  # which may find the client too slow, and end the session if none more may wait
        return not self.ended

    def close(self, code: CloseCode) -> None:
        """See `Outlet`."""
        if self._wire is not None:
            self._wire.close(code)
        self.end(LeaveReason.DISCONNECTED)

    def _keep(self, frame: bytes) -> None:
        kept = self._kept
        if kept is None:
            kept = self._kept = deque()
        kept.append(frame)
        self._bytes += len(frame)
        while len(kept) > self._registry.max_frames or self._bytes > self._registry.max_bytes:
            self._bytes -= len(kept.popleft())

    def ponged(self, received: int) -> None:
        """The client is there, and has the frames up to a number."""
        kept = self._kept
        while kept and self.number - len(kept) < received:
            self._bytes -= len(kept.popleft())
        if not kept:
            self._kept = None
        self.proved = True

    # ----------------------------------------------------------------------------------------------------- connections

    def attach(self, wire: Wire, received: int) -> bool:
        """Go on with a new connection, whose client has seen the frames up to a number; whether it gets all others."""
        old, self._wire = self._wire, wire
        self.generation += 1
        self.proved = False
        self._registry.back(self)
        if old is not None:
            old.close(CloseCode.REPLACED)
        else:
            self._mark_rooms(away=False)
        kept = tuple(self._kept or ())
        oldest, newest = self.number - len(kept), self.number
        for number, frame in enumerate(kept, oldest + 1):
            if number > received:
                wire.put(frame)
        return oldest <= received <= newest

    def lost(self, wire: Wire, reason: LeaveReason, *, final: bool) -> None:
        """A connection is gone; `final` if the client meant it."""
        if self._wire is not wire or self.ended:
            return
        self._wire = None
        if final or not self._memberships or not self._registry.wait_for(self):
            self.end(reason)
        else:
            self._mark_rooms(away=True)

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

    def _mark_rooms(self, *, away: bool) -> None:
        for membership in self._memberships.values():
            membership.mark(away=away)

    # ------------------------------------------------------------------------------------------------------------ rooms

    def membership(self, room: RoomId) -> Membership:
        """The membership in a room. Raises `NotInRoom`."""
        membership = self._memberships.get(room)
        if membership is None:
            raise NotInRoom(f"You are not in room {shown(room)}; join it first.")
        return membership

    def is_in(self, room: RoomId) -> bool:
        """Whether it has a membership in a room."""
        return room in self._memberships

    @property
    def rooms(self) -> tuple[RoomId, ...]:
        """The rooms it is in, or is joining."""
        return tuple(self._memberships)

    def expel(self, room: RoomId) -> None:
        """Leave a room that it may not be in any more."""
        self._memberships.pop(room).end(LeaveReason.LEFT)

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
        self, room: RoomId, membership: Membership, greeting: Greeting, *, presence: bool = False
    ) -> Awaitable[None]:
        """Join a room. Nothing is read from the client meanwhile: what it sent after its join finds it in the room."""
        entered = membership.enter(self, greeting, presence=presence)
        self._memberships[room] = membership
        return self._entered(room, entered)

    async def _entered(self, room: RoomId, entered: Awaitable[None]) -> None:
        try:
            await entered
        except Exception:
            self._memberships.pop(room, None)
            raise

    async def leave(self, room: RoomId, request_id: Any) -> None:
        """Leave a room. Raises `NotInRoom`."""
        membership = self.membership(room)
        try:
            await membership.leave(request_id)
        finally:
            self._memberships.pop(room, None)


class Sessions:
    """The sessions of this node.

    `secret` seals the tokens. `window`: seconds a session waits for its client; 0 lets none wait. `max_frames`,
    `max_bytes`: what is kept for a session until it is known to have arrived. `max_away`: sessions that wait at once.
    """

    def __init__(
        self, secret: bytes, *, window: float, max_frames: int, max_bytes: int, max_rooms: int, max_away: int
    ) -> None:
        self.window = window
        self.max_frames = max_frames
        self.max_bytes = max_bytes
        self.max_rooms = max_rooms
        self._secret = secret
        self._max_away = max_away
        self._sessions: dict[bytes, Session] = {}
        self._away: dict[Session, float] = {}  # since when, the longest first

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, kind: Kind, identity: str, wire: Wire) -> Session:
        """A session for a new client. `identity`: who it is in all rooms, empty where it has an id in each."""
        session = Session(self, kind, identity, wire)
        if self.window:
            self._sessions[session.id] = session
        return session

    # ---------------------------------------------------------------------------------------------------------- tokens

    def token(self, session: Session) -> str:
        """The token with which a next connection goes on with a session; empty where sessions do not wait."""
        if not self.window:
            return ""
        plain = session.id + session.generation.to_bytes(GENERATION_BYTES, "big")
        return base64.urlsafe_b64encode(plain + self._seal(plain)).decode()

    def find(self, token: str, kind: Kind, identity: str) -> Session | None:
        """The session a token is for; None if it is none of ours, used up, or its session has ended.

        A token is used up once the client that was given the next has said anything: the reply that brought the next
        may have been lost with its connection.
        """
        try:
            raw = base64.urlsafe_b64decode(token.encode())
        except (ValueError, binascii.Error):
            return None
        plain, seal = raw[:-SEAL_BYTES], raw[-SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(plain)):
            return None
        session = self._sessions.get(plain[:ID_BYTES])
        if session is None or (session.kind, session.identity) != (kind, identity):
            return None
        behind = session.generation - int.from_bytes(plain[ID_BYTES:], "big")
        return session if behind == 0 or (behind == 1 and not session.proved) else None

    def _seal(self, plain: bytes) -> bytes:
        return hmac.digest(self._secret, plain, "sha256")[:SEAL_BYTES]

    # ---------------------------------------------------------------------------------------------------------- waiting

    def wait_for(self, session: Session) -> bool:
        """Give a session its time to come back; False if none is given."""
        if not self.window or len(self._away) >= self._max_away:
            return False
        self._away[session] = asyncio.get_running_loop().time()
        return True

    def back(self, session: Session) -> None:
        """It is back."""
        self._away.pop(session, None)

    def forget(self, session: Session) -> None:
        """It has ended."""
        self._away.pop(session, None)
        self._sessions.pop(session.id, None)

    async def end_the_late(self) -> None:
        """End the sessions that have been away for too long, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            before = loop.time() - self.window
            for session, since in list(self._away.items()):
                if since > before:
                    break
                log.debug("session ended", waited=self.window)
                session.end(LeaveReason.TIMEOUT)

    def end_all(self) -> None:
        """End all sessions that wait: this node stops."""
        for session in list(self._away):
            session.end(LeaveReason.DISCONNECTED)
