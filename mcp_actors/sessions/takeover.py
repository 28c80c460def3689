"""A session that changes nodes: what the node does that takes it over, and what the one does that had it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from mcp_actors.protocol import handover
from mcp_actors.protocol.errors import SignalingError
from mcp_actors.protocol.events import Kind, LeaveReason, MemberMoved
from mcp_actors.protocol.handover import Behind, Handover, LeftBehind, MemberState, SessionState
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RoomId, UserId
from mcp_actors.sessions.outcasts import news

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from mcp_actors.broker import Taken
    from mcp_actors.node import Membership, Node
    from mcp_actors.sessions.session import Session

log = structlog.get_logger("mcp_actors.session")

OLD_NODE_PATIENCE = 1.0
"""Seconds that the node that had a session waits for what others sent it there. Then it hands over what it has."""

NEW_NODE_PATIENCE = 3 * OLD_NODE_PATIENCE
"""Seconds that the node that takes a session over waits for that. Then it goes on with what it has itself."""


class Arrival:
    """What comes for a session from the node that had it, and what comes here meanwhile; see `Session.arrival`.

    `max_frames`, `max_bytes`: of what waits here; of more, the oldest is lost.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self.told: dict[RoomId, Handover | None] = {}
        self.recovered: list[bytes] = []
        self.waiting: list[bytes] = []
        self.lossy = False
        self._bytes = 0
        self._max_frames, self._max_bytes = max_frames, max_bytes
        self._awaited: set[RoomId] = set()
        self._all_told = asyncio.Event()

    def put(self, frame: bytes) -> bool:
        """Let a frame wait."""
        self.waiting.append(frame)
        self._bytes += len(frame)
        while len(self.waiting) > self._max_frames or self._bytes > self._max_bytes:
            self._bytes -= len(self.waiting.pop(0))
            self.lossy = True
        return True

    def handed_over(self, room: RoomId, told: Handover | None) -> None:
        """See `Outlet`."""
        if self.told.get(room) is None:
            self.told[room] = told
        if self._awaited <= self.told.keys():
            self._all_told.set()

    async def wait_for(self, rooms: set[RoomId], patience: float) -> None:
        """Wait until all these rooms were handed over, or will not be."""
        self._awaited = rooms
        if not rooms <= self.told.keys():
            self._all_told.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._all_told.wait()

    def state(self, received: int) -> SessionState:
        """What the session goes on with; the client has the frames up to a number.

        Where the other node does not say, numbers go on above all that it may have written to the client since.
        """
        states = [told.session for told in self.told.values() if told is not None and told.session is not None]
        return states[0] if states else SessionState(received + self._max_frames, [])


class TakeOver:
    """The taking over of one session. `received`, `at`: what its client has, by number and by place in each room."""

    def __init__(self, node: Node, session: Session, taken: Taken, received: int, at: Mapping[RoomId, str]) -> None:
        self._node = node
        self._session = session
        self._received = received
        self._at = at
        self._rooms = taken.rooms
        self._put_out: list[bytes] = []  # what tells the client of the rooms that it was put out of meanwhile
        self._left = handover.unpack_left(taken.left) if taken.left else None

    async def run(self, arrival: Arrival) -> bool:
        """Have the places of the session at this node, and what it kept; False if none is left."""
        self._session.arrival = arrival
        here = await self._claim()
        if not here:
            return False
        if self._left is None:
            await arrival.wait_for(set(here), NEW_NODE_PATIENCE)
        else:
            self._take_left(self._left, arrival)
        arrival.lossy |= len(here) + len(self._put_out) < len(self._rooms)
        for room, (place, move) in here.items():
            if room not in (self._session.out or {}):
                await self._recover(room, place, move, arrival)
        memberships = {room: place for room, (place, _) in here.items()}
        frames = [*arrival.recovered, *arrival.waiting, *self._put_out]
        self._session.go_on(memberships, arrival.state(self._received), frames, lossy=arrival.lossy)
        if arrival.lossy:
            told = sum(one is not None for one in arrival.told.values())
            log.info("session taken over incomplete", rooms=len(self._rooms), here=len(here), handed_over=told)
        return True

    async def _claim(self) -> dict[RoomId, tuple[Membership, MemberMoved]]:
        places: dict[RoomId, Membership] = {}
        asked: list[Awaitable[MemberMoved | LeaveReason | None]] = []
        kind, moves = self._session.kind, self._session.generation
        for name, member, incarnation, presence in self._rooms:
            room, member_id = RoomId(name), PeerId(member) if kind is Kind.PEER else UserId(member)
            with suppress(SignalingError):
                place = self._node.claimed(
                    room, kind, member_id, Incarnation(incarnation), moves, verified=self._session.verified
                )
                place.presence = presence
                places[room] = place
                asked.append(place.claim(self._session))
        given = await asyncio.gather(*asked, return_exceptions=True)
        for (room, place), outcome in zip(places.items(), given, strict=True):
            if isinstance(outcome, LeaveReason):
                self._session.note_out(room, outcome)
                self._put_out.append(news(outcome, kind, room, place.member_id))
        return {
            room: (place, move)
            for (room, place), move in zip(places.items(), given, strict=True)
            if isinstance(move, MemberMoved)
        }

    def _take_left(self, left: LeftBehind, arrival: Arrival) -> None:
        """Go on from what a node left behind that has stopped."""
        session: SessionState | None = left.session
        for behind in left.members:
            arrival.told[behind.room] = Handover(behind.member, session, behind.at)
            session = None

    async def _recover(self, room: RoomId, place: Membership, move: MemberMoved, arrival: Arrival) -> None:
        """Have what came to the node that is gone: all of it if that had stopped, else what came from other nodes."""
        told = arrival.told.get(room)
        if told is not None and not told.at:
            return
        if told is None or self._left is not None:  # else the room was told by that node
            place.adopt(MemberState(place.presence) if told is None else told.member)
        at = self._at.get(room, "") if told is None else told.at
        whole = await place.recover(room, move, at, OLD_NODE_PATIENCE)
        if told is None or not whole:
            arrival.lossy = True


async def hand_over(session: Session, stopped: Node | None = None) -> None:
    """Send what is known of a session to the node that has it now; places that did not move are given up.

    `stopped`: this node, if it hears no more, so that the other one must look for what came after.
    """
    leaving = session.leaving or {}
    rooms = session.rooms()
    departed = [(room, place, await place.depart()) for room, place in rooms if room in leaving]
    state: SessionState | None = session.depart()
    for room, place in rooms:
        if room not in leaving:
            place.end(LeaveReason.DISCONNECTED)
    for room, place, known in departed:
        if known is not None:
            place.hand_over(room, known, state, "" if stopped is None else stopped.broker.place(room))
            state = None


async def leave_behind(node: Node, session: Session) -> bytes:
    """Let go of a session whose node stops, and hears no more; what another one needs to go on with it."""
    departed = [(room, await place.depart()) for room, place in session.rooms()]
    members = [Behind(room, known.state, node.broker.place(room)) for room, known in departed if known is not None]
    return handover.pack(LeftBehind(session.depart(), members))
