"""The rooms of one bucket on this node, without I/O: `queue` holds what to write, `receive` takes what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from mcp_actors.broker.redis.audit import Auditor, difference
from mcp_actors.broker.redis.connection import LinkLost, texts, words
from mcp_actors.broker.redis.dead_node_inbox import DeadNodeInbox
from mcp_actors.broker.redis.entries import Audit, Changes, Damaged, Frame, Snapshot
from mcp_actors.broker.redis.executor import Executor
from mcp_actors.broker.redis.frames import FrameReceiver, FrameSender
from mcp_actors.broker.redis.latencies import Latencies
from mcp_actors.broker.redis.log_limit import LogLimit
from mcp_actors.broker.redis.offsets import format_offset
from mcp_actors.broker.redis.outage import (
    accept_leaves,
    expire_suspects,
    extend_suspicion,
    join_locally,
    leave_locally,
    refuse_joins,
    refuse_moderation,
)
from mcp_actors.broker.redis.recovery import Recovery
from mcp_actors.broker.redis.revocations import RedisRevocations
from mcp_actors.broker.redis.room import Fenced, Room
from mcp_actors.broker.redis.session_directory import SessionDirectory
from mcp_actors.broker.redis.settings import Counters
from mcp_actors.broker.redis.up_time import UpTime
from mcp_actors.broker.redis.write_queue import Call, WriteQueue
from mcp_actors.protocol.events import MemberLeft
from mcp_actors.protocol.identifiers import RoomId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_actors.broker import Listener
    from mcp_actors.broker.redis.connection import Reply
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.settings import RedisSettings
    from mcp_actors.protocol.events import Event
    from mcp_actors.protocol.identifiers import NodeId

log = structlog.get_logger("mcp_actors.redis")


class Bucket:
    """`wake` is called when there is something to write; `clock` tells seconds."""

    def __init__(
        self,
        keys: Keys,
        node: NodeId,
        listener: Listener,
        settings: RedisSettings,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.rooms: dict[RoomId, Room] = {}
        self.counters = Counters()
        self.latencies = Latencies()
        self.up_time = UpTime(clock)
        self.queue = WriteQueue(settings)
        self.executor = Executor(self._call)
        self.sessions = SessionDirectory(keys, node, self.executor, clock, self.latencies.stamp, settings)
        self.revocations = RedisRevocations(keys, node, self.executor, settings)
        self.sender = FrameSender(node, keys, self.rooms, self.queue, wake)
        self.slow: list[Awaitable[None]] = []
        """Futures to await before more is read."""
        self._receiver = FrameReceiver(self.sender, self.emit, self.counters, settings.max_remote_messages)
        self._keys = keys
        self._node = node
        self._listener = listener
        self._settings = settings
        self._wake = wake
        self._clock = clock
        self._limited_log = LogLimit(clock)
        self.run_id = ""
        """The run of the server that the link was attached to last."""
        self._watched: dict[RoomId, None] = {}  # rooms where something waits for time to pass
        self._dead_inboxes: dict[NodeId, tuple[float, DeadNodeInbox]] = {}  # since when
        self._link_down_at = 0.0
        self._recovery = Recovery(keys, node, self._call)
        self._sweep_at: float | None = None  # when Redis has had time to learn what it lost
        self._announced: frozenset[RoomId] = frozenset()  # the rooms that were announced since it lost data
        self._auditor = Auditor(node, keys, self.rooms, settings)

    @property
    def up(self) -> bool:
        """Whether the link is up."""
        return self.executor.up.is_set()

    @property
    def idle(self) -> bool:
        """Whether Redis has been asked and told everything."""
        written = not self.queue and not self.queue.frames and not self.sessions.unwritten
        return written and all(room.replica.queue.empty for room in self.rooms.values())

    def open_room(self, room: RoomId) -> Room:
        """The room, which is new if this node has nothing to do with it yet."""
        found = self.rooms.get(room)
        if found is None:
            found = self.rooms[room] = Room(room, self._node, self._clock, self._requested)
        return found

    def dead_inbox(self, node: NodeId) -> DeadNodeInbox:
        """The inbox of a dead node, which all members that moved from it share."""
        _, found = self._dead_inboxes.get(node) or (0.0, None)
        if found is None:
            found = DeadNodeInbox(self._keys, node, self.executor)
            self._dead_inboxes[node] = self._clock(), found
        return found

    def abandon(self, room: RoomId) -> None:
        """See `Broker`."""
        found = self.rooms.get(room)
        if found is not None:
            self._receiver.drop_waiting(room)
            found.abandon()

    def _requested(self, room: Room) -> None:
        self._watched[room.id] = None
        self._ask(room)
        if not self.up:
            self._decide_alone(room, self._clock() - self._settings.outage_patience)

    def _ask(self, room: Room) -> None:
        """Send the next request of a room; while Redis is away it waits."""
        call = self._next_call(room) if self.up else None
        if call is not None:
            self._call(call)

    def _next_call(self, room: Room) -> Call | None:
        command = room.next_command(self._keys, self._settings, self.run_id)
        return None if command is None else Call(command, lambda reply: self._answered(room, reply), room=room.id)

    def _call(self, call: Call) -> None:
        self.queue.call(call)
        self._wake()

    def _answered(self, room: Room, reply: Reply) -> None:
        if isinstance(reply, ResponseError) and not isinstance(reply, NoPermissionError):
            if isinstance(reply, OutOfMemoryError):  # of joins only, see `LIMITED`
                self._limited_log.warning("redis is out of memory, joins are refused", reason=str(reply))
            else:  # something else wrote into the keys of this room
                log.error("redis refused a request", room=room.id, error=str(reply))
            self.deliver(room, room.failed())
        else:
            damage = room.damage
            try:
                self.deliver(room, room.answered(words(reply)))
            except Fenced:
                raise LinkLost("this node was fenced") from None
            if damage and not room.damage:
                self.counters.repaired += 1
                log.warning("room repaired", room=room.id, damage=damage)
        if not room.resyncing:
            self._recovery.announced(room.id)

    def deliver(self, room: Room, told: list[Event]) -> None:
        """Emit events of a room, send its next request, and forget it if nothing ties this node to it."""
        for event in told:
            self.emit(room.id, event)
            if isinstance(event, MemberLeft):
                self._receiver.member_left(room, event.incarnation, self.up_time.seconds)
        self._receiver.receive_waiting(room)
        self._ask(room)
        if not room.replica.settled or room.replica.queue.blocked:
            self._watched[room.id] = None
        if room.idle and self.rooms.get(room.id) is room:
            del self.rooms[room.id]
            self._receiver.drop_waiting(room.id)
            self._recovery.announced(room.id)

    def emit(self, room: RoomId, event: Event) -> None:
        """Tell the listener of this node."""
        slow = self._listener(room, event)
        if slow is not None:
            self.slow.append(slow)

    def receive(self, news: list[Frame] | Changes | Snapshot | Audit | Damaged, entry: bytes = b"") -> None:
        """Process an entry of the inbox; `entry` is its id."""

        def offset(index: int) -> bytes:
            return format_offset(entry, index, self._node) if entry and self._settings.resume_window else b""

        if isinstance(news, list):
            for index, frame in enumerate(news):
                self._receiver.receive(self.rooms.get(frame.room), frame, offset(index))
            return
        if isinstance(news, Audit):
            for stored in news.rooms:
                audited = self.rooms.get(stored.room)
                damage = "" if audited is None else difference(audited.replica, stored)
                if audited is not None and damage:
                    self._repair(audited, damage)
            return
        room, now = self.rooms.get(news.room), self._clock()
        if room is None:
            return
        if isinstance(news, Damaged):
            self._repair(room)
        elif isinstance(news, Changes):
            self.deliver(room, room.replica.apply_changes(news, now, offset))
        else:
            self._watched[room.id] = None
            self.deliver(room, room.replica.apply_snapshot(news, now, now + self._settings.grace, offset(0)))

    def _repair(self, room: Room, damage: str = "") -> None:
        self.counters.resyncs += 1
        room.repair(self._clock(), damage)
        self._requested(room)

    def link_up(self, run_id: str, *, fenced: bool = False, lost: bool = False) -> None:
        """The link is attached to a run of the server.

        `fenced`: this node was declared dead. `lost`: the run is the same, but its data are gone.
        """
        now = self._clock()
        changed = lost or self.run_id not in ("", run_id)
        self.run_id = run_id
        self.executor.up.set()
        self.up_time.start()
        self.counters.attached += 1
        self.queue.link_up()
        self.sessions.link_up(lost=changed or fenced)
        if lost:
            for room in self.rooms.values():
                room.replica.mark_data_lost()
        if fenced:
            self._fenced()
        elif changed:
            self._resync_all(now)
        else:
            self._recovery.tell()  # the link may have broken before Redis learned it
        for room in list(self.rooms.values()):
            extend_suspicion(room.replica, now, now + self._settings.grace)
            if room.replica.provisional:
                room.resync_anew(now)
            self._ask(room)
        self._wake()

    def link_down(self) -> None:
        """The link broke: requests without a reply are repeated over the next one."""
        self.executor.up.clear()
        self.up_time.stop()
        self._link_down_at = self._clock()
        self.queue.drop_calls()
        for room in self.rooms.values():
            room.replica.queue.retry()

    def _fenced(self) -> None:
        self.counters.fenced += 1
        self.queue.clear()
        self._recovery.cancel()
        for room in list(self.rooms.values()):
            self.deliver(room, room.replica.fenced())

    def _resync_all(self, now: float) -> None:
        """Redis runs anew and may have lost data: announce all rooms before older requests, and replay frames."""
        self.counters.epochs += 1
        self.counters.replayed += self.queue.replay(self.up_time.seconds)
        calls = []
        for room in self.rooms.values():
            room.resync_anew(now)
            self.counters.resyncs += 1
            self._watched[room.id] = None
            call = self._next_call(room)
            if call is not None:
                calls.append(call)
        self._recovery.begin(self.rooms)
        self._sweep_at = now + self._settings.grace
        self._announced = frozenset(room.id for room in self.rooms.values() if room.resyncing)
        self.queue.call_first(calls)
        self._recovery.tell()

    def housekeeping(self) -> None:
        """Look after what waits for time to pass: joins, suspects, and frames for missing inboxes."""
        now, up_time, settings = self._clock(), self.up_time.seconds, self._settings
        for node, (since, _) in list(self._dead_inboxes.items()):
            if since < now - 2 * settings.resume_window:
                del self._dead_inboxes[node]
        self.queue.forget_old(up_time)
        self.sessions.refresh()
        for room in list(self._watched):
            found = self.rooms.get(room)
            if found is None or found.quiet:
                del self._watched[room]
            elif self.up:
                self._look_after(found, now)
            else:
                self._decide_alone(found, now - settings.outage_patience)
        if self.up:
            for command in self._auditor.due(now):
                self._call(Call(command, self._audited))
            self._receiver.return_lost(self.queue.retry_held(up_time))
            if self.queue.refusal:
                self._limited_log.warning("redis refuses messages for other nodes", reason=self.queue.refusal)
            if self.queue:
                self._wake()
        self._sweep_if_due(now)
        self._receiver.forget_left(up_time - settings.replay_seconds - settings.lease)

    def _sweep_if_due(self, now: float) -> None:
        """Ask for the rooms of this node, once the other nodes have announced theirs: members may have moved there."""
        if self.up and self._sweep_at is not None and self._sweep_at <= now:
            self._sweep_at = None
            self._call(Call(("SMEMBERS", self._keys.rooms_of(self._node)), self._sweep))

    def _sweep(self, reply: Reply) -> None:
        """Announce the other rooms in which Redis knows members of this node, as it may have lost that they left."""
        announced, self._announced = self._announced, frozenset()
        for name in () if isinstance(reply, ResponseError) else texts(reply):
            room = RoomId(name.decode())
            if room not in announced:
                found = self.open_room(room)
                found.replica.resync(self._clock())
                self._requested(found)

    def _audited(self, reply: Reply) -> None:
        if isinstance(reply, ResponseError):
            log.error("redis refused an audit of rooms", error=str(reply))
            self._auditor.postpone(self._clock())

    def _look_after(self, room: Room, now: float) -> None:
        lease = self._settings.lease
        if room.overdue(now - lease):
            self.counters.resyncs += 1
            room.resync_anew(now)
        expire_suspects(room.replica, now, now + lease)
        self._ask(room)

    def _decide_alone(self, room: Room, before: float) -> None:
        """Decide about requests while Redis is away; joins and moderators wait for it since `before`, and no longer."""
        replica = room.replica
        told = accept_leaves(replica)
        if self._link_down_at < before:
            told += refuse_moderation(replica)
        if self._settings.outage_joins != "local":
            told += refuse_joins(replica, before)
        elif self._link_down_at < before:
            told += [*leave_locally(replica), *join_locally(replica, before)]
        self.deliver(room, told)
