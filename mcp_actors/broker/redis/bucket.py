"""The rooms of one bucket on this node: what they ask, what they are told, and what they send to other nodes.

No I/O happens here, so that every mishap can be tested: what is to be written waits in `outgoing`, what was read comes
in by `take`, and the link says when it is attached and when not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog
from redis.exceptions import OutOfMemoryError, ResponseError

from mcp_actors.broker.redis.channels import Arrival
from mcp_actors.broker.redis.connection import LinkLost
from mcp_actors.broker.redis.entries import Changes, Frame, Snapshot
from mcp_actors.broker.redis.estate import Estate, place
from mcp_actors.broker.redis.notes import Notes
from mcp_actors.broker.redis.outgoing import Call, Outgoing
from mcp_actors.broker.redis.questions import Ask
from mcp_actors.broker.redis.replica import Fenced, Replica
from mcp_actors.broker.redis.scripts import CLAIM, CLOSE, JOIN, KICK, RESYNC
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import (
    Announced,
    FramesLost,
    HandedOver,
    MemberLeft,
    Moderated,
    Receipt,
    Signalled,
    Step,
    Switched,
)
from mcp_actors.protocol.identifiers import Incarnation, NodeId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_actors.broker import Listener, Recovered
    from mcp_actors.broker.redis.connection import Reply
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.questions import Question
    from mcp_actors.protocol.events import Event, Kind, LeaveReason, Member, MemberMoved
    from mcp_actors.protocol.identifiers import PeerId, RoomId, UserId

log = structlog.get_logger("mcp_actors.redis")

SUSPICION = 1.5
"""Leases that a node has to announce members that Redis lost, and that frames wait for an inbox that is missing."""

NOTE_LIFE = 600.0
"""Seconds that Redis keeps the note of a session whose node does not write it again, or four times the window."""


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """What an operator may set; seconds, messages and bytes. Named as in the settings."""

    lease: float = 6.0
    resume_window: float = 0.0
    outage_joins: Literal["refuse", "local"] = "refuse"
    outage_patience: float = 2.0
    max_remote_messages: int = 20_000
    max_remote_bytes: int = 33_554_432
    replay_seconds: float = 10.0
    max_replay_bytes: int = 67_108_864
    max_inbox_entries: int = 50_000
    max_inbox_bytes: int = 33_554_432


@dataclass(slots=True)
class Counters:
    """What happened to a bucket since the start of the process."""

    attached: int = 0
    epochs: int = 0
    fenced: int = 0
    reaped: int = 0
    resyncs: int = 0
    replayed: int = 0
    duplicates: int = 0
    gaps: int = 0
    stale: int = 0
    unreachable: int = 0


class Bucket:
    """See the module's docstring. `wake` is called when there is something to write, `clock` tells seconds."""

    def __init__(
        self,
        keys: Keys,
        node: NodeId,
        tell: Listener,
        settings: RedisSettings,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.up = False
        self.counters = Counters()
        self.outgoing = Outgoing(
            max_frames=settings.max_remote_messages,
            max_bytes=settings.max_remote_bytes,
            max_entries=settings.max_inbox_entries,
            keep=settings.replay_seconds,
            max_kept_bytes=settings.max_replay_bytes,
            patience=SUSPICION * settings.lease,
        )
        life = max(NOTE_LIFE, 4 * settings.resume_window)
        self.notes = Notes(keys, node, self._call_soon, clock, life)
        self.slow: list[Awaitable[None]] = []
        """What to wait for before more is taken."""
        self._keys = keys
        self._node = node
        self._tell_room = tell
        self._settings = settings
        self._wake = wake
        self._clock = clock
        self._grace = SUSPICION * settings.lease
        self._run_id = ""
        self._replicas: dict[RoomId, Replica] = {}
        self._restless: dict[RoomId, None] = {}  # rooms with a join, a snapshot or a suspect to wait for
        self._estates: dict[NodeId, tuple[float, Estate]] = {}  # since when
        self._departed: deque[tuple[float, Replica, Incarnation]] = deque()
        self._early = 0
        self._detached_at = 0.0
        self._recovering: dict[RoomId, None] | None = None  # rooms still to be announced after a restart

    def __len__(self) -> int:
        return len(self._replicas)

    @property
    def idle(self) -> bool:
        """Whether Redis has been asked all that was to be asked, and told all that was to be told."""
        said = not self.outgoing and not self.outgoing.frames and self.notes.all_written
        return said and all(replica.unasking for replica in self._replicas.values())

    # ------------------------------------------------------------------------------------------------ asked by rooms

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        """See `Broker`."""
        replica = self._replicas.get(room)
        if replica is None:
            replica = self._replicas[room] = Replica(room, self._node)
        replica.join(member, capacity, self._clock(), moderator=moderator)
        self._restless[room] = None
        self._ask(replica)

    def claim(self, room: RoomId, member: Member) -> None:
        """See `Broker`."""
        replica = self._replicas.get(room)
        if replica is None:
            replica = self._replicas[room] = Replica(room, self._node)
        replica.claim(member, self._clock())
        self._restless[room] = None
        self._ask(replica)

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        """See `Broker`."""
        replica = self._replicas.get(room)
        if replica is not None:
            replica.leave(incarnation, reason)
            self._restless[room] = None
            self._ask(replica)

    def mark(self, room: RoomId, incarnation: Incarnation, *, away: bool) -> None:
        """See `Broker`."""
        replica = self._replicas.get(room)
        if replica is not None:
            replica.mark(incarnation, away=away)
            self._ask(replica)

    def kick(self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId) -> None:
        """See `Broker`."""
        self._moderate(room, by, Ask.KICK, f"{kind[0]}{whom}")

    def lock(self, room: RoomId, by: Incarnation, *, locked: bool) -> None:
        """See `Broker`."""
        self._moderate(room, by, Ask.LOCK if locked else Ask.UNLOCK)

    def close(self, room: RoomId, by: Incarnation) -> None:
        """See `Broker`."""
        self._moderate(room, by, Ask.CLOSE)

    def _moderate(self, room: RoomId, by: Incarnation, ask: Ask, whom: str = "") -> None:
        replica = self._replicas.get(room)
        if replica is None or not replica.moderate(by, ask, whom):
            self._tell(room, Moderated(by, done=False))
        else:
            self._ask(replica)

    def abandon(self, room: RoomId) -> None:
        """See `Broker`."""
        replica = self._replicas.get(room)
        if replica is not None:
            self._early -= len(replica.early)
            replica.early.clear()
            replica.abandon()
            self._ask(replica)

    def send(
        self,
        room: RoomId,
        kind: str,
        sender: Member,
        target: Member,
        frame: bytes,
        ticket: int,
        step: Step | None = None,
    ) -> None:
        """Send a frame to a member, or to the users of its node. Raises `Unavailable`."""
        replica = self._replicas.get(room)
        if replica is None:  # the room is about to hear that its members left
            raise Unavailable("This server has lost the others in this room; join it again.")
        source, to = sender.incarnation, target.incarnation
        number = replica.channels.next(source, to, sender.moves + target.moves)
        parcel = Frame(room, source, to, number, kind, ticket, frame, step, target.moves)  # type: ignore[arg-type]
        self._put(target.node, parcel)

    def confirm(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        """See `Broker`."""
        body = b"2" if receipt.queued else b"1" if receipt.delivered else b"0"
        step = Step("offer", receipt.overtaken) if receipt.overtaken else None
        self._put(sender.node, Frame(room, receipt.target, receipt.sender, 0, "r", receipt.ticket, body, step))

    def switch(self, room: RoomId, move: MemberMoved) -> None:
        """See `Broker`."""
        for node in {move.old, move.node} - {self._node}:
            self._put(node, Frame(room, self._node, move.incarnation, move.moves, "w", 0, b""))

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        """See `Broker`."""
        self._put(member.node, Frame(room, self._node, member.incarnation, member.moves, "h", 0, body))

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        """See `Broker`."""
        replica = self._replicas.get(room)
        if replica is not None:
            self._heard(replica, replica.departed(incarnation))

    async def recover(self, room: RoomId, kind: Kind, move: MemberMoved, at: str, patience: float) -> Recovered:
        """See `Broker`."""
        _, estate = self._estates.get(move.old) or (0.0, None)
        if estate is None:
            estate = Estate(self._keys, move.old, self._call_soon, up=self.up)
            self._estates[move.old] = self._clock(), estate
        replica = self._replicas.get(room)
        members = {} if replica is None else replica.members
        return await estate.recover(room, kind, move, at, patience, members)

    def _put(self, node: NodeId, frame: Frame) -> None:
        self.outgoing.put(self._keys.inbox(node), frame)
        self._wake()

    def _ask(self, replica: Replica) -> None:
        """Ask Redis what is to be asked about a room; where it is away, the room is asked about when it is back."""
        question = replica.ask(self._clock()) if self.up else None
        if question is not None:
            self.outgoing.call(self._call(replica, question))
            self._wake()

    def _call(self, replica: Replica, question: Question) -> Call:
        keys = self._keys
        room = replica.room
        inboxes = [keys.inbox(node) for node in question.nodes]
        also = self._keys_of(room, question)
        named = (keys.nodes, keys.room(room), keys.nodes_of(room), keys.rooms_of(self._node), *inboxes, *also)
        common = (self._node, room, keys.inboxes, self._settings.max_inbox_entries, self._run_id)
        life = (int(self._settings.resume_window * 1000),) if question.script in (KICK, CLOSE) else ()
        command = ("EVALSHA", question.script.digest, len(named), *named, *common, *question.arguments, *life)

        def answered(reply: Reply) -> None:
            self._answered(replica, reply)

        return Call(command, answered)

    def _keys_of(self, room: RoomId, question: Question) -> tuple[str, ...]:
        """What keys a script wants behind the inboxes."""
        keys = self._keys
        rival = keys.rooms_of(question.rival or self._node)
        if question.script is JOIN:
            return rival, keys.config
        if question.script is CLAIM:
            return keys.out_of(room), rival
        if question.script is RESYNC:
            return (keys.out_of(room),)
        if question.script in (KICK, CLOSE):
            return *map(keys.rooms_of, question.nodes), keys.config, keys.out_of(room)
        return ()

    def _call_soon(self, call: Call) -> None:
        self.outgoing.call(call)
        self._wake()

    def _answered(self, replica: Replica, reply: Reply) -> None:
        if isinstance(reply, ResponseError):
            self._refused(replica, reply)
            return
        try:
            events = replica.answered(reply, self._clock())
        except Fenced:
            raise LinkLost("this node was declared dead") from None
        self._heard(replica, events)
        if self._recovering and not replica.resyncing:
            self._recovering.pop(replica.room, None)
            self._recovered()

    def _refused(self, replica: Replica, error: ResponseError) -> None:
        """Redis cannot do what was asked: because it is full, or because something else wrote into this room's keys."""
        if isinstance(error, OutOfMemoryError):
            raise LinkLost(f"Redis is full: {error}")
        log.error("redis refuses what is asked about a room", room=replica.room, error=str(error))
        self._heard(replica, replica.failed())

    # -------------------------------------------------------------------------------------------------- told by Redis

    def _heard(self, replica: Replica, events: list[Event]) -> None:
        """Pass on what is new of a room, ask what is left to ask, and forget the room when nothing ties us to it."""
        room = replica.room
        for event in events:
            self._tell(room, event)
            if isinstance(event, MemberLeft):
                self._departed.append((self._clock(), replica, event.incarnation))
        if replica.early:
            self._take_early(replica)
        self._ask(replica)
        if not replica.settled or replica.held:
            self._restless[room] = None
        if replica.idle and self._replicas.get(room) is replica:
            del self._replicas[room]
            self._early -= len(replica.early)
            if self._recovering:
                self._recovering.pop(room, None)
                self._recovered()

    def _tell(self, room: RoomId, event: Event) -> None:
        slow = self._tell_room(room, event)
        if slow is not None:
            self.slow.append(slow)

    def take(self, news: list[Frame] | Changes | Snapshot, entry: bytes = b"") -> None:
        """Take what was read from the inbox, as an entry of that id."""
        located = entry and self._settings.resume_window
        if not isinstance(news, list):
            self._membership(news, entry if located else b"")
            return
        for index, frame in enumerate(news):
            self._frame(frame, place(entry, index, self._node) if located else b"")

    def _membership(self, news: Changes | Snapshot, entry: bytes) -> None:
        replica = self._replicas.get(news.room)
        if replica is None:
            return
        now = self._clock()

        def at(index: int) -> bytes:
            return place(entry, index, self._node) if entry else b""

        if isinstance(news, Changes):
            events = replica.changed(news, now, at)
        else:
            events = replica.told(news, now, now + self._grace, at(0))
            self._restless[news.room] = None
        self._heard(replica, events)

    def _frame(self, frame: Frame, at: bytes) -> None:
        replica = self._replicas.get(frame.room)
        if replica is None:
            self.counters.stale += 1  # its target's leave is on its way to the sender, and answers it
        elif frame.kind == "r":
            source, target = Incarnation(frame.source), Incarnation(frame.target)
            delivered, queued = frame.body != b"0", frame.body == b"2"
            overtaken = frame.step.number if frame.step else 0
            self._tell(frame.room, Receipt(target, source, frame.ticket, delivered, queued, overtaken))
        elif frame.kind == "h":
            self._handed_over(replica, frame)
        elif frame.kind == "w" and not replica.early:
            self._tell(frame.room, Switched(Incarnation(frame.target), NodeId(frame.source), frame.number))
        elif frame.source in replica.members:
            self._known(replica, frame, at)
        elif (replica.settled and not replica.early) or self._early >= self._settings.max_remote_messages:
            self.counters.stale += 1
        else:
            replica.early.append((frame, at))
            self._early += 1

    def _handed_over(self, replica: Replica, frame: Frame) -> None:
        if replica.channels.arrived(frame.source, frame.target, frame.number) is Arrival.AGAIN:
            self.counters.duplicates += 1
        elif replica.moves_here(Incarnation(frame.target)) != frame.number:  # read again, from when it was here before
            self.counters.stale += 1
        else:
            self._tell(frame.room, HandedOver(Incarnation(frame.target), frame.body))

    def _known(self, replica: Replica, frame: Frame, at: bytes) -> None:
        """A frame from a member of the room."""
        sender, target = Incarnation(frame.source), Incarnation(frame.target)
        if frame.moves < replica.moves_here(target):  # likewise; or its sender was too slow to hear of two moves
            self.counters.stale += 1
            if frame.ticket:
                receipt = Receipt(sender, target, frame.ticket, delivered=False)
                self.confirm(frame.room, replica.members[sender], receipt)
            return
        arrival = replica.channels.arrived(sender, target, frame.number)
        if arrival is Arrival.AGAIN:
            self.counters.duplicates += 1
            return
        if arrival is Arrival.GAP:
            self.counters.gaps += 1
            log.warning("frames of another node were lost", room=frame.room, sender=sender, target=target)
            self._tell(frame.room, FramesLost(target))
        if frame.kind == "s":
            self._tell(frame.room, Signalled(sender, target, frame.body, frame.ticket, frame.step, at))
        else:
            self._tell(frame.room, Announced(sender, target, frame.body, frame.ticket, at))

    def _take_early(self, replica: Replica) -> None:
        frames, replica.early = replica.early, []
        self._early -= len(frames)
        for frame, at in frames:
            self._frame(frame, at)

    # ------------------------------------------------------------------------------------------------ told by the link

    def attached(self, run_id: str, *, fenced: bool = False, lost: bool = False) -> None:
        """The link is attached to a run of the server.

        `fenced`: this node was declared dead before. `lost`: the run is the same, but its data are gone.
        """
        now = self._clock()
        changed = lost or self._run_id not in ("", run_id)
        self._run_id = run_id
        self.up = True
        self.counters.attached += 1
        self.outgoing.attached()
        self.notes.attached(anew=changed or fenced)
        for _, estate in self._estates.values():
            estate.attached()
        if lost:
            for replica in self._replicas.values():
                replica.doubt()
        if fenced:
            self._declared_dead()
        elif changed:
            self._another_run(now)
        else:
            self._recovered()  # the link may have broken before it was told
        for replica in list(self._replicas.values()):
            replica.extend_suspicion(now, now + self._grace)
            if replica.provisional:
                replica.resync_anew(now)
            self._ask(replica)
        self._wake()

    def detached(self) -> None:
        """The link is gone: what was asked over it and not answered is asked again over the next."""
        self.up = False
        self._detached_at = self._clock()
        self.outgoing.drop_calls()
        self.notes.detached()
        for _, estate in self._estates.values():
            estate.detached()
        for replica in self._replicas.values():
            replica.unanswered()

    def _declared_dead(self) -> None:
        self.counters.fenced += 1
        self.outgoing.clear()
        for replica in list(self._replicas.values()):
            self._heard(replica, replica.lost())

    def _another_run(self, now: float) -> None:
        self.counters.epochs += 1
        self.counters.replayed += self.outgoing.replay(now)
        calls = []
        for replica in self._replicas.values():
            replica.resync_anew(now)
            self.counters.resyncs += 1
            self._restless[replica.room] = None
            question = replica.ask(now)
            if question is not None:
                calls.append(self._call(replica, question))
        self._recovering = dict.fromkeys(self._replicas)
        self.outgoing.call_first(calls)
        self._recovered()

    def _recovered(self) -> None:
        """Let the others know when all rooms are announced again: joins wait for that."""
        if self._recovering is not None and not self._recovering:
            self.outgoing.call(Call(("HINCRBY", self._keys.config, "recovering", -1), self._told_recovered))
            self._wake()

    def _told_recovered(self, _reply: Reply) -> None:
        self._recovering = None

    def tend(self) -> None:
        """Look after what waits: joins that cannot be done, suspects, frames for nodes that are missing."""
        now = self._clock()
        for node, (since, _) in list(self._estates.items()):
            if since < now - 2 * self._settings.resume_window:
                del self._estates[node]
        self.outgoing.tend(now)
        self.notes.tend()
        for room in list(self._restless):
            self._look_after(room, now)
        if self.up:
            self._return(self.outgoing.retry_held(now))
            if self.outgoing:
                self._wake()
        while self._departed and self._departed[0][0] < now - self._settings.replay_seconds - self._settings.lease:
            _, replica, incarnation = self._departed.popleft()
            replica.channels.forget(incarnation)

    def _look_after(self, room: RoomId, now: float) -> None:
        replica = self._replicas.get(room)
        if replica is None or replica.quiet:
            del self._restless[room]
            return
        if not self.up:
            before = now - self._settings.outage_patience
            local = self._settings.outage_joins == "local"
            if not local:
                self._heard(replica, replica.give_up(before))
            elif self._detached_at < before:
                self._heard(replica, [*replica.part(), *replica.admit(before)])
            return
        if replica.overdue(now - self._settings.lease):
            self.counters.resyncs += 1
            replica.resync_anew(now)
        replica.expire(now, now + self._settings.lease)
        self._ask(replica)

    def _return(self, frames: list[Frame]) -> None:
        """Tell the senders of frames for a node that is gone."""
        self.counters.unreachable += len(frames)
        for frame in frames:
            if frame.kind in "sm":
                receipt = Receipt(Incarnation(frame.source), Incarnation(frame.target), frame.ticket, delivered=False)
                self._tell(frame.room, receipt)
