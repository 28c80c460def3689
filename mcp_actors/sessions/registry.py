"""The sessions of this node: opened, found again by their tokens, taken over from other nodes, ended in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from msgspec import structs

from mcp_actors.broker import Note
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.sessions.outcasts import Outcast, Outcasts, refusal
from mcp_actors.sessions.session import Session
from mcp_actors.sessions.takeover import (
    NEW_NODE_PATIENCE,
    OLD_NODE_PATIENCE,
    Arrival,
    TakeOver,
    hand_over,
    leave_behind,
)
from mcp_actors.sessions.tokens import Claim, Tokens, new_session_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.node import Node
    from mcp_actors.protocol.events import Kind
    from mcp_actors.sessions.session import Wire

log = structlog.get_logger("mcp_actors.session")

TICK = 0.25
"""Seconds between looks at who has been away for too long."""

ARRIVAL_PATIENCE = NEW_NODE_PATIENCE + OLD_NODE_PATIENCE + 1.0
"""Seconds that a client waits for its session to arrive from another node, before it is told to try again."""

TAKING = NEW_NODE_PATIENCE + 1.0
"""Seconds in which a session that a node is taking over is taken over by no other."""


class Sessions:
    """The sessions of a node.

    `secret` seals the tokens. `window`: seconds a session waits for its client; 0 lets none wait. `max_frames`,
    `max_bytes`: what is kept for a session until it is known to have arrived. `max_away`: sessions that wait at once.
    """

    def __init__(
        self,
        node: Node,
        secret: bytes,
        *,
        window: float,
        max_frames: int,
        max_bytes: int,
        max_rooms: int,
        max_away: int,
    ) -> None:
        self._node = node
        self._shared = node.broker.shared and window > 0
        self.window = window
        self.max_frames = max_frames
        self.max_bytes = max_bytes
        self.max_rooms = max_rooms
        self._tokens = Tokens(secret)
        self._max_away = max_away
        self._sessions: dict[str, Session] = {}
        self._leaving: dict[Session, float] = {}  # for other nodes, since when
        self._arriving: dict[str, asyncio.Task[None]] = {}
        self._handing_over: dict[str, asyncio.Task[None]] = {}
        self._away: dict[Session, float] = {}  # since when, the longest first
        self._outcasts = Outcasts(window, max_away)

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, kind: Kind, identity: str, wire: Wire) -> Session:
        """A session for a new client. `identity`: who it is in all rooms, empty where it has an id in each."""
        session = Session(self, kind, identity, wire, new_session_id())
        if self.window:
            self._sessions[session.id] = session
        return session

    # ---------------------------------------------------------------------------------------------------------- tokens

    def token(self, session: Session) -> str:
        """The token with which a next connection goes on with a session; empty where sessions do not wait."""
        return self._tokens.make(session.id, session.generation) if self.window else ""

    def find(self, token: str, kind: Kind, identity: str) -> Session | None:
        """The session of this node a token is for; None if it is for none, used up, or the session has ended.

        A token is used up once the client is known to have the next: the reply that brought that may have been lost.
        Raises `Kicked` or `RoomClosed` if moderators put it out of all its rooms.
        """
        claim = self._tokens.read(token)
        reason = None if claim is None else self._outcasts.reason(*claim, kind, identity)
        if reason is not None:
            raise refusal(reason).final()
        session = None if claim is None else self._sessions.get(claim.session)
        if claim is None or session is None or (session.kind, session.identity) != (kind, identity):
            return None
        return session if session.oldest <= claim.generation <= session.generation else None

    # ------------------------------------------------------------------------------------------ from and to other nodes

    async def take_over(
        self, token: str, kind: Kind, identity: str, received: int, at: Mapping[RoomId, str]
    ) -> Session | None:
        """The session of another node a token is for, which is this node's from now on; None where `find` says so.

        `received`, `at`: what its client has, as the number of the last frame and the last place told in each room.
        """
        claim = self._tokens.read(token)
        if claim is None or not self._shared or self._has_later(claim):
            return None
        task = self._arriving.get(claim.session)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._take_over(claim, kind, identity, received, at))
            self._arriving[claim.session] = task
            task.add_done_callback(lambda _task: self._arriving.pop(claim.session))
        await asyncio.wait([task], timeout=ARRIVAL_PATIENCE)
        if not task.done():  # it goes on: claims wait for a Redis that is away
            raise Unavailable("Your session is on its way here from another server; try again in a moment.")
        task.result()
        return self.find(token, kind, identity)

    async def _take_over(
        self, claim: Claim, kind: Kind, identity: str, received: int, at: Mapping[RoomId, str]
    ) -> None:
        taken = await self._node.broker.take(claim.session, claim.generation, _whose(kind, identity), TAKING)
        if taken is None:
            return
        await self._until_gone(claim.session)
        session = Session(self, kind, identity, None, claim.session, taken.generation)
        session.oldest = taken.oldest
        for room, word in taken.out.items():
            session.note_out(RoomId(room), LeaveReason(word))
        work = TakeOver(self._node, session, taken, received, at)
        if not await work.run(Arrival(self.max_frames, self.max_bytes)):
            if session.out:
                self.banish(session, next(reversed(session.out.values())))
            return
        if session.ended or session.leaving is not None:  # it was lost meanwhile, or goes on at yet another node
            return
        self._sessions[session.id] = session
        self.note(session)
        log.debug("session taken over", rooms=len(session.rooms()))
        if not self.wait_for(session):
            session.end(LeaveReason.TIMEOUT)

    def _has_later(self, claim: Claim) -> bool:
        """Whether the session is here, with a later connection than the one that a token was given to."""
        session = self._sessions.get(claim.session)
        return session is not None and session.generation >= claim.generation

    async def _until_gone(self, session_id: str) -> None:
        """Wait until a session that was here before, went to another node and comes back from it, was handed over."""
        while (task := self._handing_over.get(session_id)) or self._is_leaving(session_id):
            await (asyncio.sleep(TICK / 10) if task is None else asyncio.wait([task]))

    def _is_leaving(self, session_id: str) -> bool:
        return session_id in self._sessions or any(session.id == session_id for session in self._leaving)

    def leaves(self, session: Session) -> None:
        """Another node has it now; what still comes for it here is to be handed over."""
        self._away.pop(session, None)
        self._sessions.pop(session.id, None)
        self._node.broker.drop(session.id)
        self._leaving[session] = asyncio.get_running_loop().time()

    def hand_over(self, session: Session) -> None:
        """Nothing more comes for it here, or it took too long."""
        if self._leaving.pop(session, None) is not None:
            task = asyncio.get_running_loop().create_task(hand_over(session))
            self._handing_over[session.id] = task
            task.add_done_callback(lambda _task: self._handing_over.pop(session.id))

    def note(self, session: Session) -> None:
        """Let the other nodes know of it, or what is new of it."""
        if self._shared and not session.ended and session.leaving is None:
            self._node.broker.note(_note(session))

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
        self.note(session)

    def forget(self, session: Session) -> None:
        """It has ended."""
        self._away.pop(session, None)
        self._sessions.pop(session.id, None)
        if self._leaving.pop(session, None) is None:
            self._node.broker.forget(session.id)

    def banish(self, session: Session, reason: LeaveReason) -> None:
        """Moderators put it out of all its rooms: its client is told so at any node, for as long as it would wait."""
        self._away.pop(session, None)
        self._sessions.pop(session.id, None)
        if not self.window:
            return
        now = asyncio.get_running_loop().time()
        outcast = Outcast(session.kind, session.identity, session.oldest, now, reason)
        if self._shared:
            self._node.broker.note(_note(session))
        self._forget_outcasts(self._outcasts.add(session.id, outcast))

    def _forget_outcasts(self, sessions: list[str]) -> None:
        for session in sessions:
            self._node.broker.forget(session)

    async def end_the_late(self) -> None:
        """End the sessions that have been away for too long, for ever; hand over those that left, in time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            before = loop.time() - self.window
            for session, since in list(self._away.items()):
                if since > before:
                    break
                log.debug("session ended", waited=self.window)
                session.end(LeaveReason.TIMEOUT)
            self._forget_outcasts(self._outcasts.forget_the_late(loop.time()))
            before = loop.time() - OLD_NODE_PATIENCE
            for session, since in list(self._leaving.items()):
                if since > before:
                    break
                self.hand_over(session)

    async def stop(self) -> None:
        """Let go of all sessions, as this node stops; other nodes may go on with those that wait for their clients."""
        if not self._shared:
            for session in list(self._away):
                session.end(LeaveReason.DISCONNECTED)
            return
        for task in list(self._arriving.values()):
            task.cancel()
        await asyncio.gather(*self._arriving.values(), return_exceptions=True)
        await self._node.broker.stop_reading()
        await asyncio.gather(*self._handing_over.values())
        for session in list(self._leaving):
            await hand_over(session, stopped=self._node)
        self._leaving.clear()
        for session in list(self._away):
            note = _note(session)
            left = await leave_behind(self._node, session)
            self._node.broker.note(structs.replace(note, left=left))
        self._away.clear()
        self._sessions.clear()


def _note(session: Session) -> Note:
    rooms = [(room, place.member_id, place.incarnation, place.presence) for room, place in session.rooms()]
    whose = _whose(session.kind, session.identity)
    out = {str(room): str(reason) for room, reason in (session.out or {}).items()}
    return Note(session.id, session.generation, session.oldest, whose, list(rooms), out=out)


def _whose(kind: Kind, identity: str) -> str:
    return f"{kind}:{identity}"
