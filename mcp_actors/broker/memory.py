"""The broker of a single process: the default, and the one that tests of rooms use."""
# ruff: noqa: D102 - the protocols in mcp_actors.broker document the methods

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING, Any

from msgspec import structs

from mcp_actors.broker import Recovered
from mcp_actors.broker.administration import Outcome, RoomState, RoomSummary
from mcp_actors.broker.bans import Bans
from mcp_actors.broker.member_table import MemberTable
from mcp_actors.broker.memory_administration import MemoryAdministration
from mcp_actors.broker.revocations import MemoryRevocations
from mcp_actors.protocol import events
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import NO_NOTICE, Ban, Kind, LeaveReason, Notice
from mcp_actors.protocol.identifiers import SERVER, PeerId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mcp_actors.broker import AcquiredSession, Listener, SessionRecord
    from mcp_actors.broker.event_log import EventLog
    from mcp_actors.broker.figures import LinkFigures
    from mcp_actors.protocol.events import Event, Member
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId, UserId


def _no_listener(_room: RoomId, _event: Event) -> None:
    raise RuntimeError("listen() comes first")


class _Room:
    """The membership of one room."""

    __slots__ = ("joins", "locked", "members", "table", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.locked = False
        self.joins = {Kind.PEER: 0, Kind.USER: 0}
        self.table = MemberTable()
        self.members = self.table.members

    def bump(self) -> int:
        self.version += 1
        return self.version

    def join(self, member: Member, capacity: int, *, moderator: bool) -> list[Event]:
        locked = self.locked and not moderator
        code = ErrorCode.ROOM_LOCKED if locked else self.table.refusal(member, capacity)
        if code is not None:
            return [events.JoinRefused(member.incarnation, code)]
        told: list[Event] = []
        rivals = self.table.rivals(member)
        version = self.bump()
        for rival in rivals:
            self.table.remove(rival.incarnation)
            told.append(events.MemberLeft(version, rival.incarnation, LeaveReason.REPLACED))
        self.joins[member.kind] += 1
        alike = self.table.like(member) or member
        member = structs.replace(member, order=self.joins[member.kind], metadata=alike.metadata, updated=alike.updated)
        self.table.put(member)
        return [*told, events.MemberJoined(version, member)]

    def update(self, by: Incarnation, metadata: dict[str, Any]) -> list[Event]:
        member = self.members[by]
        if member.metadata == metadata:
            return []
        version = self.bump()
        self.table.update(member.kind, member.id, metadata, version)
        return [events.MemberUpdated(version, member.kind, member.id, metadata, by)]

    def targets(self, kind: Kind, whom: PeerId | UserId, *, banned: bool) -> list[Member]:
        """The members that a kick removes; if it bans them, also those of the other kind with the same token."""
        named = [one for one in self.members.values() if one.id == whom]
        found = [one for one in named if one.kind is kind]
        is_owned = not found or any(one.verified for one in found)
        return found + [one for one in named if banned and is_owned and one.kind is not kind and one.verified]

    def has(self, target: tuple[Kind, PeerId | UserId]) -> bool:
        """Whether a peer, or a connection of a user, is here."""
        return any((one.kind, one.id) == target for one in self.members.values())

    def kick(self, targets: list[Member], notice: Notice) -> list[Event]:
        version = self.bump() if targets else 0
        for one in targets:
            self.table.remove(one.incarnation)
        return [events.MemberLeft(version, one.incarnation, LeaveReason.KICKED, notice) for one in targets]


class _Decisions:
    """The rooms, and what moderators and operators decide about them: each change is told, and its outcome returned."""

    def __init__(
        self, *, max_room_bans: int = 256, max_bans: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rooms: dict[RoomId, _Room] = {}
        self._bans = Bans(max_room_bans, max_bans)
        self._clock = clock
        self._last_version = 0  # of all rooms that ended: a new one starts above it
        self._listener: Listener = _no_listener

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def kicked(
        self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId, notice: Notice = NO_NOTICE
    ) -> Outcome:
        """Remove and ban, and return the outcome; so do the next ones."""
        state, now, is_ban = self._rooms.get(room), self._clock(), notice.ban_seconds > 0
        if is_ban and not self._bans.has_place(room, (kind, whom), now):
            return Outcome.FULL
        targets = [] if state is None else state.targets(kind, whom, banned=is_ban)
        if is_ban:
            author = PeerId("") if by == SERVER or state is None else state.members[by].id
            self._bans.add(room, Ban(kind, whom, notice.ban_seconds, notice, author), targets, now)
        if state is not None:
            self._emit(room, state.kick(targets, notice))
        return Outcome.DONE if targets else Outcome.UNCHANGED

    def bans(self, room: RoomId) -> tuple[Ban, ...]:
        return self._bans.of(room, self._clock())

    def unbanned(self, room: RoomId, kind: Kind, whom: PeerId | UserId) -> Outcome:
        return Outcome.DONE if self._bans.lift(room, (kind, whom), self._clock()) else Outcome.UNCHANGED

    def locked(self, room: RoomId, by: Incarnation, *, locked: bool) -> Outcome:
        state = self._rooms.get(room)
        if state is None or state.locked is locked:
            return Outcome.UNCHANGED
        state.locked = locked
        self._emit(room, [events.RoomLocked(state.bump(), locked, by)])
        return Outcome.DONE

    def closed(self, room: RoomId, by: Incarnation, notice: Notice = NO_NOTICE) -> Outcome:
        state = self._rooms.get(room)
        if state is None:
            return Outcome.UNCHANGED
        state.table.clear()
        self._emit(room, [events.RoomClosed(state.bump(), by, notice)])
        return Outcome.DONE

    def announced(self, room: RoomId, content: Any, to: tuple[Kind, PeerId | UserId] | None = None) -> Outcome:
        state = self._rooms.get(room)
        if state is None or (to is not None and not state.has(to)):
            return Outcome.UNCHANGED
        self._emit(room, [events.Announced(state.bump(), content, to)])
        return Outcome.DONE

    def names(self) -> Collection[RoomId]:
        return self._rooms.keys()

    def summary(self, room: RoomId) -> RoomSummary | None:
        state = self._rooms.get(room)
        if state is None:
            return None
        peers = sum(member.kind is Kind.PEER for member in state.members.values())
        return RoomSummary(room, dict(state.table.nodes), peers, len(state.members) - peers, state.locked)

    def state(self, room: RoomId) -> RoomState:
        state = self._rooms.get(room)
        members = [] if state is None else state.members.values()
        order = sorted(members, key=lambda member: (member.kind, member.order))
        return RoomState(order, state is not None and state.locked)

    def _room_of(self, room: RoomId, incarnation: Incarnation) -> _Room | None:
        state = self._rooms.get(room)
        known = state is not None and (incarnation in state.members or incarnation == SERVER)
        return state if known else None

    def _tell(self, room: RoomId, event: Event) -> None:
        self._listener(room, event)

    def _emit(self, room: RoomId, told: Sequence[Event]) -> None:
        """Tell the listener, and end the room first if it is empty."""
        state = self._rooms.get(room)
        ended = state is not None and not state.members
        if state is not None and ended:
            self._last_version = max(self._last_version, state.version)
            del self._rooms[room]
        for event in told:
            self._tell(room, event)
        if ended:
            self._tell(room, events.Unsubscribed())


class _Rooms(_Decisions):
    """The requests about rooms."""

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        state = self._rooms.get(room)
        if state is None:
            state = self._rooms[room] = _Room(self._last_version)
        if member.incarnation in state.members:
            return
        ban = None if moderator else self._bans.find(room, member, self._clock())
        if ban is None:
            self._emit(room, state.join(member, capacity, moderator=moderator))
        else:
            left = ceil(ban.expires_in * 1000)
            self._emit(room, [events.JoinRefused(member.incarnation, ErrorCode.BANNED, ban.notice, left)])

    def update(self, room: RoomId, by: Incarnation, metadata: dict[str, Any]) -> None:
        state = self._room_of(room, by)
        told = [] if state is None else state.update(by, metadata)
        self._emit(room, told)
        self._tell(room, events.Moderated(by, done=bool(told)))

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        state = self._room_of(room, incarnation)
        if state is not None:
            state.table.remove(incarnation)
            self._emit(room, [events.MemberLeft(state.bump(), incarnation, reason)])

    def set_presence(self, room: RoomId, incarnation: Incarnation, *, detached: bool, address: str = "") -> None:
        state = self._room_of(room, incarnation)
        if state is not None and address:
            state.table.put(structs.replace(state.members[incarnation], address=address))
        if state is not None and state.members[incarnation].detached is not detached:
            state.table.put(structs.replace(state.members[incarnation], detached=detached))
            self._emit(room, [events.PresenceChanged(state.bump(), incarnation, detached)])

    def claim(self, room: RoomId, member: Member) -> None:
        self._emit(room, [events.ClaimRefused(member.incarnation)])

    def fence_owner(self, room: RoomId, incarnation: Incarnation) -> None:
        state = self._room_of(room, incarnation)
        if state is not None:
            self._tell(room, events.OwnerFenced(state.version, incarnation, state.members[incarnation].epoch))

    def end_recovery(self, room: RoomId, incarnation: Incarnation, epoch: int) -> None:
        state = self._room_of(room, incarnation)
        if state is not None:
            self._tell(room, events.RecoveryEnded(state.version, incarnation, epoch))

    async def is_gone(self, room: RoomId, node: NodeId) -> bool:
        return False

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        pass

    def abandon(self, room: RoomId) -> None:
        state = self._rooms.get(room)
        for incarnation in list(state.members) if state is not None else ():
            self.leave(room, incarnation, LeaveReason.DISCONNECTED)

    def kick(
        self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId, notice: Notice = NO_NOTICE
    ) -> None:
        is_known, is_ban = self._room_of(room, by) is not None, notice.ban_seconds > 0
        outcome = self.kicked(room, by, kind, whom, notice) if is_known else Outcome.UNCHANGED
        is_done, is_full = outcome is Outcome.DONE, outcome is Outcome.FULL
        is_absent = is_known and is_ban and outcome is Outcome.UNCHANGED
        self._tell(room, events.Moderated(by, done=is_done or is_absent, full=is_full, absent=is_absent))

    def list_bans(self, room: RoomId, by: Incarnation) -> None:
        state = self._room_of(room, by)
        found = () if state is None else self.bans(room)
        self._tell(room, events.Moderated(by, done=state is not None, bans=found))

    def unban(self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId) -> None:
        is_done = self._room_of(room, by) is not None and self.unbanned(room, kind, whom) is Outcome.DONE
        self._tell(room, events.Moderated(by, is_done))

    def lock(self, room: RoomId, by: Incarnation, *, locked: bool) -> None:
        is_done = self._room_of(room, by) is not None and self.locked(room, by, locked=locked) is Outcome.DONE
        self._tell(room, events.Moderated(by, is_done))

    def close(self, room: RoomId, by: Incarnation, notice: Notice = NO_NOTICE) -> None:
        is_done = self._room_of(room, by) is not None and self.closed(room, by, notice) is Outcome.DONE
        self._tell(room, events.Moderated(by, is_done))

    def announce(self, room: RoomId, content: Any) -> None:
        self._tell(room, events.Moderated(SERVER, self.announced(room, content) is Outcome.DONE))


class MemoryBroker(_Rooms):
    """A `Broker` whose only node is this process: frames loop back, and sessions stay where they are."""

    ready = True
    event_logs: Sequence[EventLog] = ()

    def __init__(self, *, max_revocations: int = 10_000, **limits: Any) -> None:
        super().__init__(**limits)
        self.revocations = MemoryRevocations(max_revocations, time.time)

    @property
    def administration(self) -> MemoryAdministration:
        return MemoryAdministration(self)

    @property
    def shared(self) -> bool:
        return False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def health(self) -> Mapping[str, Any]:
        return {"broker": "memory", "rooms": len(self._rooms), "bans": len(self._bans)}

    def links(self) -> Sequence[LinkFigures]:
        return ()

    def relay(
        self,
        room: RoomId,
        sender: Member,
        target: Member,
        frame: bytes,
        delivery_id: int,
        step: events.NegotiationStep | None = None,
    ) -> None:
        self._tell(room, events.RemoteSignal(sender.incarnation, target.incarnation, frame, delivery_id, step))

    def broadcast(
        self, room: RoomId, sender: Member, targets: Sequence[Member], frame: bytes, delivery_id: int
    ) -> None:
        for target in targets:
            self._tell(room, events.RemoteBroadcast(sender.incarnation, target.incarnation, frame, delivery_id))

    def send_receipt(self, room: RoomId, sender: Member, receipt: events.Receipt) -> None:
        self._tell(room, receipt)

    def ack_cutover(self, room: RoomId, move: events.MemberMoved) -> None:
        pass

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        pass

    async def recover(
        self, room: RoomId, kind: Kind, move: events.MemberMoved, offset: str, patience: float
    ) -> Recovered:
        return Recovered()

    def offset(self, room: RoomId) -> str:
        return ""

    def is_settled(self, room: RoomId) -> bool:
        return True

    async def stop_reading(self) -> None:
        pass

    def save_session(self, note: SessionRecord) -> None:
        pass

    def delete_session(self, session: str) -> None:
        pass

    def disown_session(self, session: str) -> None:
        pass

    async def acquire_session(
        self, session: str, generation: int, whose: str, patience: float, asked_at: float = 0.0
    ) -> AcquiredSession | None:
        return None
