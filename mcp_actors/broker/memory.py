"""The broker of a single process: the embedded default, and what tests of rooms use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from msgspec import structs

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    JoinRefused,
    Kind,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMarked,
    Moderated,
    RoomClosed,
    RoomLocked,
    Vacated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp_actors.broker import Listener, Note, Recovered, Taken
    from mcp_actors.protocol.events import Event, Member, MemberMoved, Receipt, Step
    from mcp_actors.protocol.identifiers import Incarnation, PeerId, RoomId, UserId


def _nobody(_room: RoomId, _event: Event) -> None:
    raise RuntimeError("listen() comes first")


class _Ledger:
    """The membership of one room."""

    __slots__ = ("joins", "locked", "members", "peers", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.locked = False
        self.joins = {Kind.PEER: 0, Kind.USER: 0}
        self.members: dict[Incarnation, Member] = {}
        self.peers: dict[PeerId | UserId, Member] = {}

    def refusal(self, member: Member, capacity: int, *, moderator: bool) -> ErrorCode | None:
        if self.locked and not moderator:
            return ErrorCode.ROOM_LOCKED
        if member.kind is Kind.PEER and member.id in self.peers:
            return None if self.peers[member.id].yields_to(member) else ErrorCode.PEER_ID_TAKEN
        present = len(self.peers) if member.kind is Kind.PEER else len(self.members) - len(self.peers)
        return ErrorCode.ROOM_FULL if present >= capacity else None

    def mark(self, incarnation: Incarnation, *, away: bool) -> Event | None:
        member = self.members.get(incarnation)
        if member is None or member.away is away:
            return None
        self.version += 1
        self.members[incarnation] = member = structs.replace(member, away=away)
        if member.kind is Kind.PEER:
            self.peers[member.id] = member
        return MemberMarked(self.version, incarnation, away)

    def replace(self, member: Member) -> Event | None:
        """Let the peer go whose place is taken by one that joins."""
        rival = self.peers.get(member.id) if member.kind is Kind.PEER else None
        if rival is None:
            return None
        event = self.remove(rival.incarnation, LeaveReason.REPLACED)
        self.version -= 1  # it leaves in the version in which the other joins
        return MemberLeft(event.version, rival.incarnation, LeaveReason.REPLACED)

    def add(self, member: Member) -> Event:
        self.version += 1
        self.joins[member.kind] += 1
        member = structs.replace(member, order=self.joins[member.kind])
        self.members[member.incarnation] = member
        if member.kind is Kind.PEER:
            self.peers[member.id] = member
        return MemberJoined(self.version, member)

    def remove(self, incarnation: Incarnation, reason: LeaveReason) -> MemberLeft:
        self.version += 1
        member = self.members.pop(incarnation)
        if member.kind is Kind.PEER:
            del self.peers[member.id]
        return MemberLeft(self.version, incarnation, reason)

    def kick(self, kind: Kind, whom: PeerId | UserId) -> list[Event]:
        """Remove a peer, or all connections of a user, in one version."""
        found = [one.incarnation for one in self.members.values() if (one.kind, one.id) == (kind, whom)]
        version = self.version + 1
        gone: list[Event] = [structs.replace(self.remove(one, LeaveReason.KICKED), version=version) for one in found]
        if found:
            self.version = version
        return gone


class MemoryBroker:
    """See `Broker`."""

    def __init__(self) -> None:
        self._rooms: dict[RoomId, _Ledger] = {}
        self._last_version = 0  # of all rooms that ended: a new one starts above it
        self._listener: Listener = _nobody

    def listen(self, listener: Listener) -> None:
        """See `Broker`."""
        self._listener = listener

    async def start(self) -> None:
        """See `Broker`."""

    async def stop(self) -> None:
        """See `Broker`."""

    @property
    def shared(self) -> bool:
        """See `Broker`."""
        return False

    @property
    def ready(self) -> bool:
        """See `Broker`."""
        return True

    def health(self) -> Mapping[str, Any]:
        """See `Broker`."""
        return {"broker": "memory", "rooms": len(self._rooms)}

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        """See `Broker`."""
        ledger = self._rooms.get(room)
        if ledger is None:
            ledger = self._rooms[room] = _Ledger(self._last_version)
        if member.incarnation in ledger.members:
            return
        code = ledger.refusal(member, capacity, moderator=moderator)
        if code is not None:
            self._tell(room, JoinRefused(member.incarnation, code))
            return
        replaced = ledger.replace(member)
        if replaced is not None:
            self._tell(room, replaced)
        self._tell(room, ledger.add(member))

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        """See `Broker`."""
        ledger = self._rooms.get(room)
        if ledger is None or incarnation not in ledger.members:
            return
        event = ledger.remove(incarnation, reason)
        self._tell_all(room, ledger, [event])

    def _tell_all(self, room: RoomId, ledger: _Ledger, events: Sequence[Event]) -> None:
        """Tell what happened; and that the room is empty, if it is."""
        if not ledger.members:
            self._last_version = max(self._last_version, ledger.version)
            del self._rooms[room]
        for event in events:
            self._tell(room, event)
        if not ledger.members:
            self._tell(room, Vacated())

    def mark(self, room: RoomId, incarnation: Incarnation, *, away: bool) -> None:
        """See `Broker`."""
        ledger = self._rooms.get(room)
        event = None if ledger is None else ledger.mark(incarnation, away=away)
        if event is not None:
            self._tell(room, event)

    # ----------------------------------------------------------------------------------------------------- moderation

    def kick(self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId) -> None:
        """See `Broker`."""
        ledger = self._ledger_of(room, by)
        gone = [] if ledger is None else ledger.kick(kind, whom)
        if ledger is not None and gone:
            self._tell_all(room, ledger, gone)
        self._tell(room, Moderated(by, done=bool(gone)))

    def lock(self, room: RoomId, by: Incarnation, *, locked: bool) -> None:
        """See `Broker`."""
        ledger = self._ledger_of(room, by)
        done = ledger is not None and ledger.locked is not locked
        if ledger is not None and done:
            ledger.version += 1
            ledger.locked = locked
            self._tell(room, RoomLocked(ledger.version, locked, by))
        self._tell(room, Moderated(by, done=done))

    def close(self, room: RoomId, by: Incarnation) -> None:
        """See `Broker`."""
        ledger = self._ledger_of(room, by)
        if ledger is not None:
            ledger.version += 1
            ledger.members.clear()
            self._tell_all(room, ledger, [RoomClosed(ledger.version, by)])
        self._tell(room, Moderated(by, done=ledger is not None))

    def _ledger_of(self, room: RoomId, by: Incarnation) -> _Ledger | None:
        """A room that a moderator is in."""
        ledger = self._rooms.get(room)
        return ledger if ledger is not None and by in ledger.members else None

    def abandon(self, room: RoomId) -> None:
        """See `Broker`."""
        ledger = self._rooms.get(room)
        for incarnation in list(ledger.members) if ledger is not None else ():
            self.leave(room, incarnation, LeaveReason.DISCONNECTED)

    def relay(
        self, room: RoomId, sender: Member, target: Member, frame: bytes, ticket: int, step: Step | None = None
    ) -> None:
        """See `Broker`."""
        self._no_other_node()

    def announce(self, room: RoomId, sender: Member, targets: Sequence[Member], frame: bytes, ticket: int) -> None:
        """See `Broker`."""
        self._no_other_node()

    def confirm(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        """See `Broker`."""
        self._no_other_node()

    # ------------------------------------------------------------------- sessions, which no other node can go on with

    def claim(self, room: RoomId, member: Member) -> None:
        """See `Broker`."""
        self._no_other_node()

    def switch(self, room: RoomId, move: MemberMoved) -> None:
        """See `Broker`."""
        self._no_other_node()

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        """See `Broker`."""
        self._no_other_node()

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        """See `Broker`."""
        self._no_other_node()

    async def recover(self, room: RoomId, kind: Kind, move: MemberMoved, at: str, patience: float) -> Recovered:
        """See `Broker`."""
        self._no_other_node()

    async def stop_reading(self) -> None:
        """See `Broker`."""

    def place(self, room: RoomId) -> str:
        """See `Broker`."""
        return ""

    def note(self, note: Note) -> None:
        """See `Broker`."""

    def forget(self, session: str) -> None:
        """See `Broker`."""

    def drop(self, session: str) -> None:
        """See `Broker`."""

    async def take(self, session: str, generation: int, whose: str, patience: float) -> Taken | None:
        """See `Broker`."""

    @staticmethod
    def _no_other_node() -> NoReturn:
        raise RuntimeError("no member is on another node")

    def _tell(self, room: RoomId, event: Event) -> None:
        self._listener(room, event)
