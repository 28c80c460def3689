"""The sessions of this node: opened, resumed, migrated from and to other nodes, and ended in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from msgspec import structs

from mcp_actors.broker import SessionRecord
from mcp_actors.memory_budget import MemoryBudget
from mcp_actors.protocol.codec import JSON
from mcp_actors.protocol.errors import SignalingError, Unavailable
from mcp_actors.protocol.events import LeaveReason, Removal
from mcp_actors.sessions.counters import SessionCounters
from mcp_actors.sessions.detached import DetachedSessions
from mcp_actors.sessions.migration import (
    NEW_NODE_PATIENCE,
    OLD_NODE_PATIENCE,
    hand_over,
    list_rooms,
    migrate_in,
    persist,
)
from mcp_actors.sessions.migration_buffer import MigrationBuffer
from mcp_actors.sessions.repeated_comebacks import COST_HERE, RepeatedComebacks
from mcp_actors.sessions.resume_tokens import ResumeToken, ResumeTokens, new_session_id
from mcp_actors.sessions.revocation import refusal
from mcp_actors.sessions.session import Session
from mcp_actors.sessions.state import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp_actors.node import Node
    from mcp_actors.protocol.events import Kind
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.protocol.outgoing import Dialect
    from mcp_actors.sessions.ports import ClientConnection, SessionLimits

log = structlog.get_logger("mcp_actors.session")

CLIENT_PATIENCE = NEW_NODE_PATIENCE + OLD_NODE_PATIENCE + 1.0
"""Seconds a client waits for its session to migrate here, before it is told to try again."""

ACQUIRE_SECONDS = NEW_NODE_PATIENCE + 1.0
"""Seconds in which no other node can acquire a session that is migrating here."""

UNREACHED = 2**32
"""More messages than a client can have received since it asked to resume."""

RESUMABLE = (State.ATTACHED, State.DETACHED)


class Sessions:
    """The sessions of a node, and the `SessionOwner` of each. `secret` seals the resume tokens.

    A `dialect` other than the native one has no numbers for messages, which takes `limits` with a window of 0.

    `by_id`: all sessions that can be resumed or are migrating, and the revoked ones until their window is over.
    `detached`: those that wait for their clients.
    """

    def __init__(
        self,
        node: Node,
        secret: bytes,
        limits: SessionLimits,
        memory: MemoryBudget | None = None,
        dialect: Dialect = JSON,
    ) -> None:
        self.memory = MemoryBudget() if memory is None else memory
        self.counters = SessionCounters(node.traffic)
        self.dialect = dialect
        self.by_id: dict[str, Session] = {}
        self.detached = DetachedSessions[Session](limits.max_detached, limits.max_address_detached)
        self._node = node
        self._limits = limits
        self._is_shared = node.broker.shared and limits.window > 0
        self._tokens = ResumeTokens(secret)
        self._timers: dict[Session, asyncio.TimerHandle] = {}  # one for each state that does not last
        self._revoked: dict[Session, None] = {}  # oldest first
        self._migrations: dict[str, asyncio.Task[None]] = {}
        self._comebacks = RepeatedComebacks(limits.comeback_rate, max(1, limits.max_detached), _loop_time)
        self._handovers: dict[Session, asyncio.Task[None]] = {}
        self._departures: dict[str, asyncio.Event] = {}  # set when the session has left this node

    def open(self, kind: Kind, identity: str, connection: ClientConnection, session_id: str = "") -> Session:
        """Open a session for a new client. `identity` is its id in all rooms, empty if it has one in each.

        `session_id`: of a client that shows by it that it was here before, where sessions have no resume tokens.
        """
        session = Session(self, self._limits, kind, identity, session_id or new_session_id(), connection)
        if self._limits.window:
            self.by_id[session.id] = session
        return session

    def token(self, session: Session) -> str:
        """Return the token with which the client resumes the session; empty if sessions cannot be resumed."""
        return self._tokens.seal(session.id, session.generations.latest) if self._limits.window else ""

    def is_token_of(self, token: str, session: Session) -> bool:
        """Whether a token was given to the client of this session, on any of its connections."""
        opened = self._tokens.open(token)
        return opened is not None and opened.session == session.id

    async def resume(
        self,
        token: str,
        kind: Kind,
        identity: str,
        received: int,
        offsets: Mapping[RoomId, str],
        charged_to: str = "",
        *,
        keeps_first_token: bool = False,
    ) -> Session | None:
        """Return the session of a token, migrated here if it is at another node; see `find` for None and errors.

        `received`, `offsets`: what the client has, as the number of its last message and the last offset in each room.
        `charged_to`: its address. `keeps_first_token`: it is told no other, and may come from anywhere at any time.
        Raises `Unavailable` if the migration takes too long; it goes on for the next attempt. Raises `RateLimited` if
        the session comes back too often.
        """
        found, opened = self.find(token, kind, identity), self._tokens.open(token)
        if found is not None or opened is None or not self._is_shared:
            return found
        task = self._migrations.get(opened.session)
        if task is None:
            here = self.by_id.get(opened.session)
            if here is not None and here.state in RESUMABLE and opened.generation <= here.generations.latest:
                return None
            asked_at = 0.0 if keeps_first_token else _loop_time()
            migrating = self._migrate_in(opened, kind, identity, received, offsets, charged_to, asked_at)
            task = asyncio.create_task(migrating)
            self._migrations[opened.session] = task
            task.add_done_callback(lambda task: self._migrated_in(opened.session, task))
        await asyncio.wait([task], timeout=CLIENT_PATIENCE)
        if not task.done():
            raise Unavailable("Your session is on its way here from another server; try again in a moment.")
        task.result()
        return self.find(token, kind, identity)

    async def take_turn(self, session: Session) -> None:
        """Wait until a session of this node may be resumed, if it comes back again and again. Raises `RateLimited`."""
        await self._comebacks.take_turn(session.id, COST_HERE)
        self._comebacks.note(session.id, len(session.rooms))

    def find(self, token: str, kind: Kind, identity: str) -> Session | None:
        """Return the session of a token at this node; None if there is none, it is another client's, or it is used up.

        A token is used up once the client is known to have the next one. Raises `Kicked` or `RoomClosed` if the
        session is revoked.
        """
        opened = self._tokens.open(token)
        session = None if opened is None else self.by_id.get(opened.session)
        if opened is None or session is None or (session.kind, session.identity) != (kind, identity):
            return None
        if session.state is State.REVOKED:
            raise refusal(session.rooms.last_removal or Removal(LeaveReason.KICKED)).final()
        is_good = session.state in RESUMABLE and session.generations.accepts(opened.generation)
        return session if is_good else None

    async def _migrate_in(
        self,
        token: ResumeToken,
        kind: Kind,
        identity: str,
        received: int,
        offsets: Mapping[RoomId, str],
        charged_to: str,
        asked_at: float,
    ) -> None:
        await self._comebacks.take_turn(token.session)
        acquired = await self._node.broker.acquire_session(
            token.session, token.generation, f"{kind}:{identity}", ACQUIRE_SECONDS, asked_at
        )
        if acquired is None:
            return
        self._comebacks.note(token.session, len(acquired.rooms))
        if token.session in self.by_id:  # it went to another node before, and is still to be handed over
            await self._departures.setdefault(token.session, asyncio.Event()).wait()
        if acquired.generation > token.generation + 1:  # the client may have been elsewhere since it sent this
            received, offsets = received + UNREACHED, {}
        buffer, unknown = MigrationBuffer(), received + self._limits.max_frames
        session = Session(self, self._limits, kind, identity, token.session, migration=buffer, charged_to=charged_to)
        session.generations.latest, session.generations.oldest = acquired.generation, acquired.oldest
        session.epoch, session.asked_at = acquired.epoch, asked_at
        session.rooms.removed.update(acquired.out)
        self.by_id[session.id] = session
        try:
            await migrate_in(self._node, session, buffer, acquired, received, unknown, offsets)
        finally:
            if session.state is State.MIGRATING_IN:
                session.end(LeaveReason.DISCONNECTED)

    def _migrated_in(self, session: str, task: asyncio.Task[None]) -> None:
        """Forget a migration, whose client may have stopped waiting for it."""
        del self._migrations[session]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SignalingError):
            log.error("session could not be migrated", exc_info=error)

    def may_detach(self, session: Session) -> bool:
        """See `SessionOwner`."""
        if not (self._limits.window and self._limits.max_detached):
            return False
        while (surplus := self.detached.surplus(session.kept.address)) is not None:
            surplus.end(LeaveReason.TIMEOUT)
        return True

    def is_settled(self, room: RoomId) -> bool:
        """See `SessionOwner`."""
        return self._node.broker.is_settled(room)

    def changed(self, session: Session) -> None:
        """See `SessionOwner`."""
        if self._is_shared and session.state in (*RESUMABLE, State.REVOKED):
            self._node.broker.save_session(_record(session))

    def transitioned(self, session: Session) -> None:
        """See `SessionOwner`."""
        self.detached.discard(session, session.kept.address)
        self._cancel_timer(session)
        match session.state:
            case State.ATTACHED:
                self.changed(session)
            case State.DETACHED:
                self.detached.add(session, session.kept.address)
                self._start_timer(session, self._limits.window, session.end, LeaveReason.TIMEOUT)
            case State.MIGRATING_OUT:
                self._node.broker.disown_session(session.id)
                self._start_timer(session, OLD_NODE_PATIENCE, self.hand_over, session)
            case State.ENDED:
                self._forget(session)
            case State.REVOKED if self._limits.window:
                session.generations.oldest = 0  # every token is answered with the reason
                self.changed(session)
                self._revoked[session] = None
                self._start_timer(session, self._limits.window, self._forget, session)
                if len(self._revoked) > self._limits.max_detached:
                    self._forget(next(iter(self._revoked)))

    def _start_timer(self, session: Session, seconds: float, expired: Callable[..., None], *args: Any) -> None:
        self._timers[session] = asyncio.get_running_loop().call_later(seconds, expired, *args)

    def _cancel_timer(self, session: Session) -> None:
        timer = self._timers.pop(session, None)
        if timer is not None:
            timer.cancel()

    def _forget(self, session: Session) -> None:
        self._cancel_timer(session)
        self._revoked.pop(session, None)
        if self.by_id.pop(session.id, None) is not None and session.cutovers is None:
            self._node.broker.delete_session(session.id)
        departed = self._departures.pop(session.id, None)
        if departed is not None:
            departed.set()

    def hand_over(self, session: Session) -> None:
        """Hand a session that migrates out over, once: nothing more arrives for it here, or it took too long."""
        if session not in self._handovers and not session.ended:
            self._cancel_timer(session)
            self._handovers[session] = task = asyncio.create_task(hand_over(session, self._node))
            task.add_done_callback(lambda _task: self._handed_over(session))

    def _handed_over(self, session: Session) -> None:
        """Forget a handover; if the session is still in rooms here, the other node has a moment to claim these, too."""
        del self._handovers[session]
        if not session.ended:
            self._start_timer(session, OLD_NODE_PATIENCE, self._abandon, session)

    def _abandon(self, session: Session) -> None:
        """End a session that is still in rooms here; not while no node can claim these, as the broker is away."""
        if self._node.broker.ready:
            session.end(LeaveReason.DISCONNECTED)
        else:
            self._start_timer(session, NEW_NODE_PATIENCE, self._abandon, session)

    async def stop(self) -> None:
        """Let go of all sessions, as the node stops; other nodes can continue those that are detached or migrating.

        A session that fails does not keep the others from being continued.
        """
        if self._is_shared:
            await self._stop_shared()
        for session in list(self.detached):
            session.end(LeaveReason.DISCONNECTED)
        for session in list(self._timers):
            self._cancel_timer(session)

    async def _stop_shared(self) -> None:
        for task in list(self._migrations.values()):
            task.cancel()
        await asyncio.gather(*self._migrations.values(), return_exceptions=True)
        await self._node.broker.stop_reading()
        await asyncio.gather(*self._handovers.values(), return_exceptions=True)
        for session in list(self.by_id.values()):
            if session.state is State.MIGRATING_OUT:
                await _try(hand_over(session, self._node, stopped=True))
        for session in list(self.detached):
            await _try(self._leave_behind(session))

    async def _leave_behind(self, session: Session) -> None:
        del self.by_id[session.id]  # or its end would delete its record
        record = _record(session)
        left = await persist(self._node, session)
        self._node.broker.save_session(structs.replace(record, left=left))


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


async def _try(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:
        log.exception("session could not be left to another node")


def _record(session: Session) -> SessionRecord:
    rooms = list_rooms(session.rooms.present())
    owner, out = f"{session.kind}:{session.identity}", dict(session.rooms.removed)
    return SessionRecord(
        session.id,
        session.generations.latest,
        session.generations.oldest,
        owner,
        rooms,
        out=out,
        epoch=session.epoch,
        asked_at=session.asked_at,
    )
