"""A session that changes nodes: what the node does that takes it over, and what the one does that had it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from mcp_actors.protocol.errors import SignalingError
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.handover import SessionState
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RoomId, UserId

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.broker import Taken
    from mcp_actors.node import Membership, Node
    from mcp_actors.protocol.handover import Handover
    from mcp_actors.sessions.session import Session

log = structlog.get_logger("mcp_actors.session")

OLD_NODE_PATIENCE = 1.0
"""Seconds that the node that had a session waits for what others sent it there. Then it hands over what it has."""

NEW_NODE_PATIENCE = 2 * OLD_NODE_PATIENCE
"""Seconds that the node that takes a session over waits for that. Then it goes on with what it has itself."""


class Arrival:
    """What comes for a session from the node that had it, and what comes here meanwhile; see `Session.arrival`.

    `max_frames`, `max_bytes`: of what waits here; of more, the oldest is lost.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self.told: dict[RoomId, Handover | None] = {}
        self.waiting: list[bytes] = []
        self.lossy = False
        self._bytes = 0
        self._max_frames, self._max_bytes = max_frames, max_bytes
        self._awaited: set[RoomId] | None = None
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
        self._look()

    async def wait_for(self, rooms: set[RoomId], patience: float) -> None:
        """Wait until all these rooms were handed over, or will not be."""
        self._awaited = rooms
        self._look()
        try:
            async with asyncio.timeout(patience):
                await self._all_told.wait()
        except TimeoutError:
            self.lossy = True

    def _look(self) -> None:
        if self._awaited is not None and self._awaited <= self.told.keys():
            self._all_told.set()

    def state(self, received: int) -> SessionState:
        """What the session goes on with; the client has the frames up to a number."""
        states = [told.session for told in self.told.values() if told is not None and told.session is not None]
        whole = self._awaited is not None and all(self.told.get(room) is not None for room in self._awaited)
        if not states or not whole:
            self.lossy = True
        return states[0] if states else SessionState(received, [])


async def take_over(node: Node, session: Session, arrival: Arrival, taken: Taken, received: int) -> bool:
    """Have the places of a session at this node; False if none is left. The client has the frames up to a number."""
    session.arrival = arrival
    claims = {RoomId(room): _claim(node, session, room, *place) for room, *place in taken.rooms}
    places = {room: claim for room, claim in claims.items() if claim is not None}
    given = await asyncio.gather(*(asked for _, asked in places.values()), return_exceptions=True)
    memberships = {
        room: membership for (room, (membership, _)), has in zip(places.items(), given, strict=True) if has is True
    }
    if not memberships:
        return False
    if len(memberships) < len(taken.rooms):
        arrival.lossy = True
    await arrival.wait_for(set(memberships), NEW_NODE_PATIENCE)
    for room, membership in memberships.items():
        if arrival.told.get(room) is None:
            membership.adopt()
    state = arrival.state(received)
    if arrival.lossy:
        told = sum(one is not None for one in arrival.told.values())
        log.info("session taken over incomplete", rooms=len(taken.rooms), here=len(memberships), handed_over=told)
    session.go_on(memberships, state, arrival.waiting, lossy=arrival.lossy)
    return True


def _claim(
    node: Node, session: Session, room: str, member_id: str, incarnation: str
) -> tuple[Membership, Awaitable[bool]] | None:
    known = PeerId(member_id) if session.kind is Kind.PEER else UserId(member_id)
    try:
        place = node.claimed(RoomId(room), session.kind, known, Incarnation(incarnation), session.generation)
    except SignalingError:
        return None
    return place, place.claim(session)


async def hand_over(session: Session) -> None:
    """Send what is known of a session to the node that has it now; places that did not move are given up."""
    leaving = session.leaving or {}
    rooms = session.rooms()
    departed = [(room, place, await place.depart()) for room, place in rooms if room in leaving]
    state: SessionState | None = session.depart()
    for room, place in rooms:
        if room not in leaving:
            place.end(LeaveReason.DISCONNECTED)
    for room, place, known in departed:
        if known is not None:
            place.hand_over(room, known, state)
            state = None
