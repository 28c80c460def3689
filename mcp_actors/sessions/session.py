"""One client across its connections, as the rooms of this node see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mcp_actors.protocol.codec import error_message
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.outgoing import Dialect, Outgoing, Relayed
from mcp_actors.sessions.confinement import confine, forbidden, origin
from mcp_actors.sessions.generations import Generations
from mcp_actors.sessions.greeting import Greeting, Greetings, charge_join, join_reply
from mcp_actors.sessions.kept import Kept
from mcp_actors.sessions.memberships import Memberships
from mcp_actors.sessions.replay_buffer import ReplayBuffer
from mcp_actors.sessions.revocation import CLOSE_CODES
from mcp_actors.sessions.state import TRANSITIONS, IllegalTransition, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mcp_actors.memory_budget import MemoryBudget
    from mcp_actors.node import Membership
    from mcp_actors.protocol.events import Removal
    from mcp_actors.protocol.handover import Handover, SessionState
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.room.effects import Welcome
    from mcp_actors.sessions.counters import SessionCounters
    from mcp_actors.sessions.late_handover import LateHandover
    from mcp_actors.sessions.migration_buffer import MigrationBuffer
    from mcp_actors.sessions.ports import ClientConnection, SessionLimits

VERIFIED = "\0"
"""Prefix of the identity of a client with an access token. No claimed id starts with it: ids are printable."""

ACKNOWLEDGE_EVERY = 32_768
"""Bytes in the replay buffer before the client is pinged for an acknowledgement between two heartbeats.

Half of it and twice as much cost the same CPU, within the noise of the measurement.
"""


class SessionOwner(Protocol):
    """The registry of a session: `memory` counts what is kept, `counters` sessions and messages to their clients."""

    memory: MemoryBudget
    counters: SessionCounters
    dialect: Dialect

    def may_detach(self, session: Session) -> bool:
        """Whether a session may wait for its client. Another one may have to end."""

    def transitioned(self, session: Session) -> None:
        """Follow the session into its new state."""

    def changed(self, session: Session) -> None:
        """Tell other nodes of the session's rooms and tokens."""

    def is_settled(self, room: RoomId) -> bool:
        """Whether the next node of the session knows all members of a room that this one knows."""

    def hand_over(self, session: Session) -> None:
        """Hand a session that migrates out over: nothing more arrives for it here."""


class Session:
    """The `ClientPort` of one client; see `State` for what becomes of the messages that rooms send to it.

    A session begins with a `connection`, or with a `migration` from another node. `epoch` counts the nodes that had it
    before. `asked_at` is when the client last asked for it. `cutovers` is set while it migrates out: the rooms that
    have moved, and whether everything that other nodes sent here has arrived. `late` is set if it went on without a
    handover.
    """

    __slots__ = (
        *("_acknowledge_above", "_connection", "_dialect", "_greetings", "_is_numbered", "_owner", "_traffic"),
        *("asked_at", "congested", "cutovers", "detached", "ended", "epoch", "generations", "id", "identity", "kept"),
        *("kind", "late", "migration", "replay", "rooms", "state"),
    )

    def __init__(
        self,
        owner: SessionOwner,
        limits: SessionLimits,
        kind: Kind,
        identity: str,
        session_id: str,
        connection: ClientConnection | None = None,
        migration: MigrationBuffer | None = None,
        charged_to: str = "",
    ) -> None:
        self.id = session_id
        self.kind = kind
        self.identity = identity
        self.generations = Generations(is_reserved=migration is not None)
        self.epoch, self.asked_at = 0, 0.0
        self.state = State.ATTACHED if migration is None else State.MIGRATING_IN
        self.detached = migration is not None
        self.ended = self.congested = False
        self.rooms = Memberships(limits.max_rooms)
        self.replay = ReplayBuffer(limits.max_frames, limits.max_bytes)
        self.migration = migration
        self.late: LateHandover | None = None
        self.cutovers: dict[RoomId, bool] | None = None
        self._owner, self._dialect = owner, owner.dialect
        self._traffic = owner.counters.traffic
        owner.counters.count_opened(self.state)
        self._connection = connection
        self._greetings = Greetings()
        self._is_numbered = limits.window > 0
        self._acknowledge_above = ACKNOWLEDGE_EVERY
        self.kept = Kept(self, owner.memory, charged_to if connection is None else connection.charged_to)

    def send(self, message: Outgoing | Relayed, bulk: bool = False) -> bool:
        """Send or keep a message; False if it will never be delivered. `bulk`: see `ClientPort.send`."""
        if self.ended or (self.rooms.forbidden and origin(message) in self.rooms.forbidden):
            return False
        if isinstance(message, Relayed):
            self._traffic.sent[type(message.request)] += 1
        else:
            self._traffic.count_sent(message.message)
        dialect = self._dialect
        head, body = message.encoded(dialect)
        replay, connection = self.replay, self._connection
        if not self._is_numbered:
            return not body or (connection is not None and connection.send(dialect.prefix(head, None), body, bulk))
        if connection is None:
            hold = self.kind is Kind.PEER and isinstance(message, Relayed)
            replay.keep(head, body, message.room, hold=hold, alone=len(self.rooms) <= 1)
            if replay.bytes > self.kept.count_above:
                self.kept.count()
            return True
        number = replay.append(head, body, message.room)
        connection.send(dialect.prefix(head, number), body, bulk)  # may close a slow client, and so end the session
        if replay.bytes > self.kept.count_above:
            self.kept.count()
            if replay.bytes > self._acknowledge_above and self._connection is not None:
                self._acknowledge_above = replay.bytes + ACKNOWLEDGE_EVERY
                self._connection.ping()
        return not self.ended

    def has_room(self, message: Relayed) -> bool:
        """Whether another peer's message can wait until the client is back, or has read what it was sent before."""
        size = sum(map(len, message.encoded(self._dialect)))
        if self._connection is not None:
            return self._connection.has_room(size)
        return self.ended or self.replay.has_room(size, message.room, alone=len(self.rooms) <= 1)

    def charge_waiting(self, size: int) -> None:
        """Charge the client for a message that waits for another one that does not keep up."""
        if self._connection is not None:
            self._connection.costs.charge_waiting(size)

    def acknowledge(self, received: int) -> None:
        """Take the client's word that it has the messages up to a number."""
        self.replay.acknowledge(received)
        self.kept.count()
        self._acknowledge_above = ACKNOWLEDGE_EVERY
        if self.generations.acknowledge(received):
            self._owner.changed(self)

    def token_sent(self) -> None:
        """Note that the last message tells the client its latest resume token."""
        self.generations.token_sent(self.replay.last)

    def attach(self, connection: ClientConnection, received: int, address: str = "") -> bool:
        """Continue on another connection, whose client has the messages up to a number; whether it gets all others.

        `address`: that of the client, if it is for bans.
        """
        self.generations.begin()
        old, self._connection = self._connection, connection
        self._transition(State.ATTACHED)
        self.kept.move(connection.charged_to)
        if old is not None:
            old.close(CloseCode.REPLACED)
        if old is None or address:
            self.rooms.mark(detached=False, address=address)
        is_complete = self.replay.is_complete(received)
        size = 0
        for number, head, body in self.replay.after(received):
            connection.send(self._dialect.prefix(head, number), body)
            size += len(body)
        connection.costs.charge_reply(size)
        return is_complete

    def connection_lost(self, connection: ClientConnection, reason: LeaveReason, *, final: bool) -> None:
        """Wait for the client to come back, unless it meant to leave (`final`) or is in no room."""
        if self._connection is not connection or self.ended:
            return
        self._connection = None
        if final or not self.rooms.present() or not self._owner.may_detach(self):
            self.end(reason)
        else:
            self._transition(State.DETACHED)
            self.rooms.mark(detached=True)

    def close(self, code: CloseCode) -> None:
        """Close the connection and end the session."""
        if self._connection is not None:
            self._connection.close(code)
        self.end(LeaveReason.DISCONNECTED)

    def end(self, reason: LeaveReason) -> None:
        """End the session and leave all rooms; it is revoked if moderators are the reason."""
        if self.ended:
            return
        code, connection = CLOSE_CODES.get(reason), self._connection
        self._transition(State.ENDED if code is None else State.REVOKED)
        self.rooms.end(reason)
        if code is not None and connection is not None:
            connection.close(code)

    def _transition(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"The session is {self.state.value} and cannot become {state.value}.")
        self._owner.counters.count_transition(self.state, state)
        self.state = state
        self.detached = state is not State.ATTACHED
        self.congested = False
        if not TRANSITIONS[state]:
            self.ended = True
            self._connection = None
            self.replay.acknowledge(self.replay.last)
            self.kept.close()
        self.kept.count()
        self._owner.transitioned(self)

    def join(
        self, room: RoomId, membership: Membership, entered: Awaitable[None], greeting: Greeting
    ) -> Awaitable[None]:
        """Join a room that was asked just now; the outcome is awaited."""
        self._greetings.add(room, greeting)
        self.rooms[room] = membership
        self.rooms.forbidden.pop(room, None)
        self.rooms.joining.setdefault(room, 0)
        self._owner.changed(self)  # before the client hears of it, as it may resume at another node at once
        return self._joined(room, membership, entered, greeting)

    async def _joined(self, room: RoomId, membership: Membership, entered: Awaitable[None], greeting: Greeting) -> None:
        try:
            await entered
        except Exception:
            self.rooms.discard(room, membership)
            self._greetings.discard(room, greeting)
            self._owner.changed(self)
            raise
        finally:
            self.rooms.joining.pop(room, None)
            if not self.rooms.joining:
                self.kept.joined()
        if self.rooms.removed.pop(room, None) is not None:
            self._owner.changed(self)

    async def rejoin(self, room: RoomId, greeting: Greeting) -> None:
        """Send the reply to a join again, to a client that has come back."""
        welcomed = self.rooms.membership(room).come_back()
        self._greetings.add(room, greeting)
        try:
            await welcomed
        finally:
            self._greetings.discard(room, greeting)

    def welcome(self, room: RoomId, welcome: Welcome) -> None:
        """Send the reply to a join."""
        greeting = self._greetings.take(room)
        if room in self.rooms.forbidden:
            self.send(Outgoing(error_message(forbidden(room, greeting.request_id))))
            return
        reply = Outgoing(join_reply(self.kind, room, welcome, greeting), welcome.offset)
        connection = self._connection
        self.send(reply)
        if connection is not None:
            charge_join(connection.costs, reply.encoded(self._dialect), welcome, held=self.rooms.joining.get(room, 0))

    def leave(self, room: RoomId, request_id: Any) -> Awaitable[None]:
        """Leave a room: the session is out of it at once, and the reply is awaited. Raises `NotInRoom`."""
        membership = self.rooms.leaving[room] = self.rooms.membership(room)
        del self.rooms[room]
        return self._left(room, membership, membership.leave(request_id))

    async def _left(self, room: RoomId, membership: Membership, left: Awaitable[None]) -> None:
        try:
            await left
        finally:
            if room not in (self.cutovers or ()):  # else the member has moved to another node and stays in the room
                self.rooms.discard(room, membership)
                self._owner.changed(self)

    def confine(self, lets_into: Callable[[RoomId], bool], received: int) -> list[RoomId]:
        """Leave the rooms that the client's access token does not allow, and return them; nothing more comes from them.

        Of their messages, the client gets none above the number that it has received.
        """
        left = confine(self.rooms, self.replay, lets_into, received)
        if left:
            self._owner.changed(self)
        return left

    def removed(self, room: RoomId, removal: Removal) -> None:
        """Forget a room from which moderators removed the client; the session ends if it was the last one."""
        if self.ended:
            return
        self.rooms.remove(room, removal)
        if self.migration is not None:
            self.migration.handed_over(room, None)
        elif self.cutovers is not None:
            self.cutovers.pop(room, None)
            self._hand_over_if_complete()
        elif self.rooms.present():
            self._owner.changed(self)
        else:
            self.end(removal.how)

    def recovered(self, message: Outgoing | Relayed) -> None:
        """Take a message that the previous node did not hand over."""
        if self.migration is not None:
            self.migration.recovered.append(message)

    def handed_over(self, room: RoomId, told: Handover | None) -> None:
        """Take what the previous node knows of a membership; None if that node is lost."""
        if self.late is not None:
            self.late.handed_over(told)
            self.late.deliver(self.rooms)
        elif self.migration is not None:
            self.migration.handed_over(room, told)

    def activate(
        self,
        memberships: dict[RoomId, Membership],
        state: SessionState,
        messages: Iterable[Outgoing | Relayed],
        *,
        lossy: bool,
    ) -> bool:
        """Continue from the state at the previous node, with `messages`, and what rooms have sent here since.

        `lossy`: messages after the state were lost. Returns False if that is so, or what rooms sent was too much.
        """
        self.migration = None
        if self.ended:
            for membership in memberships.values():
                membership.end(LeaveReason.DISCONNECTED)
            return False
        self.rooms.update((room, place) for room, place in memberships.items() if room not in self.rooms.removed)
        sent, lossy = self.replay.kept(), lossy or not self.replay.is_complete(0)
        self.replay.restore(state, lossy=lossy)
        came = [(*message.encoded(self._dialect), message.room) for message in messages]
        for head, body, room in [*came, *sent]:
            self.replay.append(head, body, room, hold=True)
        if self.cutovers is not None:
            self._hand_over_if_complete()
        elif self.rooms and not self._owner.may_detach(self):
            self.end(LeaveReason.TIMEOUT)
        elif self.rooms:
            self._transition(State.DETACHED)
            self._owner.changed(self)
        else:
            removal = self.rooms.last_removal
            self.end(LeaveReason.TIMEOUT if removal is None else removal.how)
        if self.late is not None:
            self.late.deliver(self.rooms)
        return not lossy

    def moved(self, room: RoomId) -> bool:
        """Begin to migrate out, as another node has claimed the membership; False if the session has ended."""
        if self.ended:
            return False
        if self.cutovers is None:
            self.cutovers = {}
            connection, self._connection = self._connection, None
            self._transition(State.MIGRATING_OUT)
            if connection is not None:
                connection.close(CloseCode.REPLACED)
        if not self._owner.is_settled(room):
            self.replay.mark_gap()
        self.cutovers[room] = False
        if room in self.rooms.leaving:
            self.rooms.setdefault(room, self.rooms.leaving.pop(room))
        return True

    def cutover_complete(self, room: RoomId) -> None:
        """Note that everything has arrived that other nodes sent to the membership here."""
        if self.cutovers is not None and not self.ended:
            self.cutovers[room] = True
            self._hand_over_if_complete()

    def _hand_over_if_complete(self) -> None:
        cutovers = self.cutovers or {}
        if self.migration is None and all(cutovers.get(room) for room in self.rooms):
            self._owner.hand_over(self)
