"""Sessions that migrate to this node or from it; the test plays the other node."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from mcp_actors.broker import AcquiredSession, Recovered
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol import handover
from mcp_actors.protocol.errors import CloseCode, Kicked, PeerIdTaken, Unavailable
from mcp_actors.protocol.events import (
    ClaimRefused,
    CutoverAcked,
    HandedOver,
    Kind,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    OwnerFenced,
    RecoveryEnded,
    RemoteSignal,
    Removal,
)
from mcp_actors.protocol.handover import Behind, Handover, LeftBehind, MemberState, SessionState
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from mcp_actors.sessions import Greeting, SessionLimits, Sessions, migration, registry
from mcp_actors.sessions.resume_tokens import ResumeTokens, new_session_id
from mcp_actors.sessions.state import State
from tests.support.loop import until
from tests.support.sessions import LIMITS, MESSAGE, FakeConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp_actors.broker import SessionRecord
    from mcp_actors.protocol.events import Event
    from mcp_actors.sessions import Session
    from tests.conftest import ExpectedLogs

HERE, OTHER, THIRD = NodeId("here"), NodeId("other"), NodeId("third")
ROOM, SECOND = RoomId("room"), RoomId("second")
SECRET = b"secret"
FRAME = b'{"type":"x"}'


class Elsewhere(MemoryBroker):
    """A broker whose other node, played by the test, has one session: in `rooms`, of which it gives up `given`."""

    def __init__(self, *rooms: RoomId) -> None:
        super().__init__()
        self.rooms_there = rooms or (ROOM,)
        self.given = list(self.rooms_there)
        self.removals: dict[RoomId, Removal] = {}
        self.left = b""
        self.is_slow_to_leave = False
        self.records: list[SessionRecord] = []
        self.deleted: list[str] = []
        self.disowned: list[str] = []
        self.handed: list[tuple[RoomId, NodeId, Handover]] = []
        self.released: list[Incarnation] = []
        self.leaves: list[Incarnation] = []
        self.others: dict[RoomId, Member] = {}
        self.fenced: list[RoomId] = []
        self.ended: list[tuple[RoomId, int]] = []
        self.unsettled: set[RoomId] = set()
        self.gone: set[NodeId] = set()
        self.recovered_from: list[str] = []
        self.recovered = Recovered([], [], known=True, whole=True)
        self.members: dict[RoomId, Member] = {}
        self.later_generations = 0

    @property
    def shared(self) -> bool:
        return True

    def tell(self, room: RoomId, event: Event) -> None:
        """Let this node hear an event."""
        self._tell(room, event)

    async def acquire_session(
        self, session: str, generation: int, whose: str, patience: float, asked_at: float = 0.0
    ) -> AcquiredSession | None:
        del patience, asked_at
        if whose not in ("peer:", "user:"):
            return None
        places = [(str(room), "ana", f"{session}.{room}", True) for room in self.rooms_there]
        return AcquiredSession(generation + 1 + self.later_generations, generation, places, self.left)

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        self.members[room] = member
        super().join(room, member, capacity, moderator=moderator)

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        self.leaves.append(incarnation)
        if not self.is_slow_to_leave:
            super().leave(room, incarnation, reason)

    def claim(self, room: RoomId, member: Member) -> None:
        if room not in self.given:
            self.tell(room, ClaimRefused(member.incarnation, self.removals.get(room)))
            return
        was = structs.replace(member, node=OTHER, epoch=0, order=1)
        self.tell(room, MemberJoined(1, was))
        if room in self.others:
            self.tell(room, MemberJoined(1, self.others[room]))
        self.move(room, member)

    def move(self, room: RoomId, member: Member, old: NodeId = OTHER) -> None:
        """Let a member move to the node that it names."""
        self.members[room] = member
        self.tell(room, MemberMoved(2, member.incarnation, old, member.node, member.epoch, (old, member.node)))

    def hand(self, told: Handover | None, room: RoomId = ROOM) -> None:
        """Let the other node hand a membership over; None if it is lost."""
        body = b"" if told is None else handover.pack(told)
        self.tell(room, HandedOver(self.members[room].incarnation, body))

    def ack_cutover(self, room: RoomId, move: MemberMoved) -> None:
        del room, move

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        self.handed.append((room, member.node, handover.unpack(body)))

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        del room
        self.released.append(incarnation)

    def fence_owner(self, room: RoomId, incarnation: Incarnation) -> None:
        self.fenced.append(room)
        self.tell(room, OwnerFenced(3, incarnation, 2))

    def end_recovery(self, room: RoomId, incarnation: Incarnation, epoch: int) -> None:
        self.ended.append((room, epoch))
        self.tell(room, RecoveryEnded(4, incarnation, epoch))

    def is_settled(self, room: RoomId) -> bool:
        return room not in self.unsettled

    async def is_gone(self, room: RoomId, node: NodeId) -> bool:
        del room
        return node in self.gone

    async def recover(self, room: RoomId, kind: Kind, move: MemberMoved, offset: str, patience: float) -> Recovered:
        del room, kind, move, patience
        self.recovered_from.append(offset)
        return self.recovered

    def offset(self, room: RoomId) -> str:
        return f"offset in {room}"

    def save_session(self, note: SessionRecord) -> None:
        self.records.append(note)

    def delete_session(self, session: str) -> None:
        self.deleted.append(session)

    def disown_session(self, session: str) -> None:
        self.disowned.append(session)


class Home:
    """The node under test, and a token for the first generation of the session elsewhere."""

    def __init__(self, *rooms: RoomId) -> None:
        self.broker = Elsewhere(*rooms)
        self.node = Node(HERE, self.broker, room_capacity=9, max_rooms=9, max_inbox=99, max_pending_acks=9)
        self.sessions = Sessions(self.node, SECRET, SessionLimits(**(LIMITS | {"max_frames": 100})))
        self.token = ResumeTokens(SECRET).seal(new_session_id(), 1)

    def resume(
        self,
        received: int = 0,
        offsets: dict[RoomId, str] | None = None,
        token: str = "",
        kind: Kind = Kind.PEER,
    ) -> asyncio.Task[Session | None]:
        return asyncio.ensure_future(self.sessions.resume(token or self.token, kind, "", received, offsets or {}))

    async def claimed(self, rooms: Iterable[RoomId] = (ROOM,)) -> None:
        """Wait until the memberships are at this node."""
        await until(lambda: set(rooms) <= set(self.broker.members), "the claims")

    async def migrated(self, told: Handover | None, **how: Any) -> Session:
        """The session, after the other node has handed this over."""
        task = self.resume(**how)
        await self.claimed()
        self.broker.hand(told)
        session = await task
        assert session is not None
        return session

    async def opened(self) -> tuple[Session, FakeConnection, Member]:
        """A session of this node in one room."""
        connection = FakeConnection()
        session = self.sessions.open(Kind.PEER, "", connection)
        membership = self.node.membership(ROOM, Kind.PEER, PeerId("ana"), session=session.id)
        await session.join(ROOM, membership, membership.enter(session), Greeting())
        return session, connection, self.broker.members[ROOM]

    def send(self, frame: bytes) -> None:
        """Let a message of another node arrive for the member."""
        self.broker.tell(ROOM, RemoteSignal(Incarnation("ben"), self.broker.members[ROOM].incarnation, frame, 0))

    async def moved(self, member: Member, node: NodeId = OTHER) -> None:
        """Let another node claim the member, and wait until its session knows."""
        known = len(self.broker.disowned)
        self.broker.move(ROOM, structs.replace(member, node=node, epoch=member.epoch + 2), old=HERE)
        await until(lambda: len(self.broker.disowned) > known, "that the session is known to be at another node")

    async def end(self, session: Session) -> None:
        """End the session's rooms."""
        for room in list(session.rooms):
            self.broker.tell(room, MemberLeft(9, self.broker.members[room].incarnation, LeaveReason.LEFT))
        await self.rooms_ended()

    async def rooms_ended(self) -> None:
        for room, member in self.broker.members.items():
            for node in (OTHER, THIRD):
                self.broker.tell(room, CutoverAcked(member.incarnation, node, member.epoch))
        await until(lambda: not self.node.rooms(), "the end of the rooms")
        await self.sessions.stop()


def told(number: int, *kept: bytes, offset: str = "", state: MemberState | None = None) -> Handover:
    return Handover(state or MemberState(), SessionState(number, list(kept)), offset)


def numbered(number: int) -> bytes:
    return b'{"delivery":%d,"type":"x"}' % number


async def test_a_session_continues_with_what_the_other_node_kept_and_then_with_what_arrived_here() -> None:
    home = Home()
    task = home.resume()
    await home.claimed()
    home.send(FRAME)
    home.broker.hand(told(7, numbered(6), numbered(7)))
    session = await task
    assert session is not None
    connection = FakeConnection()
    assert session.attach(connection, 5)
    assert connection.frames == [numbered(6), numbered(7), numbered(8)]
    assert [(record.generation, record.rooms) for record in home.broker.records][:1] == [
        (2, [(ROOM, "ana", f"{session.id}.{ROOM}", True)])
    ]
    assert home.sessions.find(home.token, Kind.PEER, "") is session
    await home.end(session)


async def test_messages_kept_by_a_lost_node_are_missing_and_those_sent_by_others_are_recovered() -> None:
    home = Home()
    signal = RemoteSignal(Incarnation("ben"), Incarnation("x"), FRAME, 0)
    home.broker.recovered = Recovered([signal], [], known=True, whole=True)
    session = await home.migrated(None, received=4, offsets={ROOM: "1-1.0@other"})
    assert home.broker.recovered_from == ["1-1.0@other"]
    assert home.broker.ended == [(ROOM, home.broker.members[ROOM].epoch)]
    connection = FakeConnection()
    assert not session.attach(connection, 4)
    assert connection.frames == [numbered(session.replay.last)]
    assert session.replay.last > 4 + 100
    await home.end(session)


async def test_what_a_client_had_before_it_was_at_a_lost_node_is_no_place_to_recover_from() -> None:
    home = Home()
    home.broker.later_generations = 1
    signal = RemoteSignal(Incarnation("ben"), Incarnation("x"), FRAME, 0)
    home.broker.recovered = Recovered([], [signal], known=False, whole=False)
    session = await home.migrated(None, received=4, offsets={ROOM: "1-1.0@other"})
    assert home.broker.recovered_from == [""]
    connection = FakeConnection()
    assert not session.attach(connection, 1_000_000)
    assert connection.frames == []
    assert session.replay.last > 1_000_000
    await home.end(session)


async def test_a_node_that_hands_nothing_over_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "NEW_NODE_PATIENCE", 0.01)
    home = Home()
    session = await home.resume()
    assert session is not None
    assert not session.attach(FakeConnection(), 0)
    await home.end(session)


async def test_a_node_that_is_gone_is_fenced_and_not_waited_for() -> None:
    home = Home(ROOM, SECOND)
    home.broker.gone = {OTHER}
    async with asyncio.timeout(migration.NEW_NODE_PATIENCE):
        session = await home.resume()
    assert session is not None
    assert home.broker.fenced == [ROOM, SECOND]
    assert not session.attach(FakeConnection(), 0)
    await home.end(session)


async def test_a_room_that_was_handed_over_is_not_fenced() -> None:
    home = Home(ROOM, SECOND)
    home.broker.gone = {OTHER}
    session = await home.migrated(told(7, numbered(7)))
    assert home.broker.fenced == [SECOND]
    assert session.late is None
    assert not session.attach(FakeConnection(), 6)
    await home.end(session)


def local(number: int, room: RoomId = ROOM, sender: str = "sam") -> bytes:
    """A message of a member of the other node, as it keeps it."""
    return b'{"delivery":%d,"sender":"%b","type":"x","room":"%b","number":%d}' % (
        number, sender.encode(), room.encode(), number
    )  # fmt: skip


async def late(home: Home, received: int) -> tuple[Session, FakeConnection, dict[RoomId, Incarnation]]:
    """A session that went on without its slow node, where sam is in both rooms."""
    home.broker.gone = {OTHER}
    sam = {room: Incarnation(f"sam.{room}") for room in (ROOM, SECOND)}
    home.broker.others = {room: Member(Kind.PEER, PeerId("sam"), one, OTHER, {}) for room, one in sam.items()}
    session = await home.resume(received=received)
    assert session is not None
    connection = FakeConnection()
    assert not session.attach(connection, received)
    return session, connection, sam


def contents(connection: FakeConnection) -> list[tuple[str, int]]:
    said = [json.loads(frame) for frame in connection.frames]
    return [(one["room"], one["number"]) for one in said]


async def test_what_a_slow_node_hands_over_late_is_delivered_before_what_its_members_sent_since() -> None:
    home = Home(ROOM, SECOND)
    session, connection, sam = await late(home, received=5)
    for room in (ROOM, SECOND):
        target = home.broker.members[room].incarnation
        home.broker.tell(room, RemoteSignal(sam[room], target, local(20, room).replace(b'"delivery":20,', b""), 0))
    recovered = local(6).replace(b'"sender"', b'"at":"1-0.0@n","sender"')
    state = told(9, local(5), recovered, local(7), local(8, SECOND), numbered(9))
    for _ in range(2):
        home.broker.hand(state)
    await until(lambda: len(connection.frames) == 4, "all messages")
    assert [one for one in contents(connection) if one[0] == ROOM] == [(ROOM, 7), (ROOM, 20)]
    assert [one for one in contents(connection) if one[0] == SECOND] == [(SECOND, 8), (SECOND, 20)]
    assert [json.loads(frame)["delivery"] for frame in connection.frames] == [106, 107, 108, 109]
    await home.end(session)
    assert len(connection.frames) == 4


async def test_a_handover_that_is_still_to_come_makes_the_next_move_incomplete() -> None:
    home = Home()
    session, _, _ = await late(home, received=5)
    await home.moved(home.broker.members[ROOM], THIRD)
    await until(lambda: home.broker.handed, "the handover")
    (_, _, handed), *_ = home.broker.handed
    assert handed.session is not None
    assert handed.session.gap == handed.session.number + 1
    await until(lambda: session.ended, "the end of the session here")
    await home.rooms_ended()


async def test_a_state_that_lacks_messages_makes_a_session_incomplete() -> None:
    home = Home()
    session = await home.migrated(Handover(MemberState(), SessionState(7, [numbered(7)], gap=8)))
    assert not session.attach(FakeConnection(), 6)
    await home.end(session)


async def test_messages_that_arrive_at_a_stopped_node_are_recovered_from_the_offset_that_it_names() -> None:
    home = Home()
    home.broker.recovered = Recovered([RemoteSignal(Incarnation("b"), Incarnation("x"), FRAME, 0)], [], True, True)
    session = await home.migrated(told(7, offset="5-5.1@other"), offsets={ROOM: "1-1.0@other"})
    assert home.broker.recovered_from == ["5-5.1@other"]
    connection = FakeConnection()
    assert session.attach(connection, 7)
    assert connection.frames == [numbered(8)]
    await home.end(session)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_session_continues_from_what_a_stopped_node_persisted(whole: bool) -> None:
    home = Home(ROOM, SECOND)
    behind = [Behind(room, MemberState(), f"offset in {room}") for room in (ROOM, SECOND)]
    home.broker.left = handover.pack(LeftBehind(SessionState(7, [numbered(7)]), behind))
    home.broker.recovered = Recovered([], [], known=True, whole=whole)
    session = await home.resume()
    assert session is not None
    assert home.broker.recovered_from == [f"offset in {room}" for room in (ROOM, SECOND)]
    assert [room for room, _ in home.broker.ended] == ([] if whole else [ROOM, SECOND])
    connection = FakeConnection()
    assert session.attach(connection, 6) is whole
    assert connection.frames == [numbered(7)]
    await home.end(session)


async def test_a_session_is_incomplete_at_a_node_that_may_know_other_members_of_a_room_than_the_client() -> None:
    home = Home()
    home.broker.unsettled.add(ROOM)
    session = await home.migrated(told(7))
    assert home.broker.ended == []
    assert not session.attach(FakeConnection(), 7)
    await home.end(session)


async def test_a_session_that_lost_one_room_continues_in_the_others_and_is_not_complete() -> None:
    home = Home(ROOM, SECOND)
    home.broker.given = [ROOM]
    session = await home.migrated(told(7))
    assert list(session.rooms) == [ROOM]
    assert not session.attach(FakeConnection(), 7)
    await home.end(session)


async def test_a_client_that_moderators_removed_from_one_room_meanwhile_is_told_so_and_misses_nothing() -> None:
    home = Home(ROOM, SECOND)
    home.broker.given, home.broker.removals = [ROOM], {SECOND: Removal(LeaveReason.KICKED)}
    session = await home.migrated(told(7))
    connection = FakeConnection()
    assert session.attach(connection, 7)
    assert connection.frames == [b'{"delivery":8,"type":"kicked","payload":{"peer_id":"ana"},"room":"second"}']
    with pytest.raises(Kicked):
        session.rooms.check_return(SECOND)
    await home.end(session)


async def test_a_client_that_its_previous_node_has_told_of_its_removal_is_not_told_again() -> None:
    home = Home(ROOM, SECOND)
    home.broker.given, home.broker.removals = [ROOM], {SECOND: Removal(LeaveReason.KICKED)}
    session = await home.migrated(Handover(MemberState(), SessionState(8, [numbered(8)], removed=[SECOND])))
    connection = FakeConnection()
    assert session.attach(connection, 7)
    assert connection.frames == [numbered(8)]
    with pytest.raises(Kicked):
        session.rooms.check_return(SECOND)
    await home.end(session)


async def test_a_session_tells_its_next_node_of_which_removals_its_client_was_told() -> None:
    home = Home()
    session, _, member = await home.opened()
    session.removed(SECOND, Removal(LeaveReason.KICKED))
    await home.moved(member)
    home.sessions.hand_over(session)
    await until(lambda: home.broker.handed, "the handover")
    ((_, _, known),) = home.broker.handed
    assert known.session is not None
    assert known.session.removed == [SECOND]
    await home.rooms_ended()


async def test_a_session_that_moderators_removed_from_all_rooms_meanwhile_is_revoked() -> None:
    home = Home()
    home.broker.given, home.broker.removals = [], {ROOM: Removal(LeaveReason.KICKED)}
    for _ in range(2):
        with pytest.raises(Kicked):
            await home.resume()
    await home.rooms_ended()


async def test_a_session_that_lost_all_rooms_is_not_found() -> None:
    home = Home()
    home.broker.given = []
    assert await home.resume() is None
    assert not home.sessions.by_id
    await home.rooms_ended()


async def test_two_connections_that_resume_at_once_find_one_session() -> None:
    home = Home()
    tasks = [home.resume(), home.resume()]
    await home.claimed()
    home.broker.hand(told(7))
    first, second = await asyncio.gather(*tasks)
    assert first is not None
    assert first is second
    assert first.generations.latest == 2
    await home.end(first)


async def test_another_client_and_a_forged_token_acquire_no_session() -> None:
    home = Home()
    assert await home.sessions.resume(home.token, Kind.USER, "uma", 0, {}) is None
    assert await home.sessions.resume("forged", Kind.PEER, "", 0, {}) is None
    assert home.broker.members == {}


async def test_a_client_may_try_again_when_its_session_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_actors.sessions.registry.CLIENT_PATIENCE", 0.01)
    home = Home()
    with pytest.raises(Unavailable):
        await home.resume()
    await home.claimed()
    monkeypatch.undo()
    again = home.resume()
    home.broker.hand(told(7))
    session = await again
    assert session is not None
    await home.end(session)


async def test_a_session_that_is_lost_during_its_migration_is_not_found_and_leaves() -> None:
    home = Home(ROOM, SECOND)
    task = home.resume()
    await home.claimed((ROOM, SECOND))
    home.broker.tell(ROOM, MemberLeft(9, home.broker.members[ROOM].incarnation, LeaveReason.NODE_LOST))
    for room in (ROOM, SECOND):
        home.broker.hand(told(7), room)
    assert await task is None
    assert (home.sessions.by_id, list(home.sessions.detached)) == ({}, [])
    home.broker.tell(SECOND, MemberLeft(9, home.broker.members[SECOND].incarnation, LeaveReason.LEFT))
    await home.rooms_ended()


async def test_a_session_that_a_third_node_claims_during_its_migration_is_passed_on() -> None:
    home = Home()
    task = home.resume()
    await home.claimed()
    await home.moved(home.broker.members[ROOM], node=THIRD)
    (session,) = home.sessions.by_id.values()
    home.broker.hand(told(7, numbered(7)))
    assert await task is None
    assert not home.sessions.detached
    home.sessions.hand_over(session)
    await until(lambda: home.broker.handed, "the handover")
    ((_, node, known),) = home.broker.handed
    assert (node, known.session) == (THIRD, SessionState(7, [numbered(7)]))
    await home.rooms_ended()


async def test_a_session_that_comes_back_waits_until_it_is_handed_over_to_the_node_it_comes_back_from() -> None:
    home = Home()
    session, _, member = await home.opened()
    await home.moved(member)
    token = ResumeTokens(SECRET).seal(session.id, 3)
    home.broker.given = []
    again = home.resume(token=token)
    await asyncio.sleep(0.01)
    assert (again.done(), home.broker.handed) == (False, [])
    home.sessions.hand_over(session)
    assert await again is None  # the claim is refused
    assert len(home.broker.handed) == 1
    await home.rooms_ended()


async def test_a_node_that_stops_abandons_the_migrations_to_it() -> None:
    home = Home()
    task = home.resume()
    await home.claimed()
    (session,) = home.sessions.by_id.values()
    await home.sessions.stop()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert session.state is State.ENDED
    home.broker.tell(ROOM, MemberLeft(9, home.broker.members[ROOM].incarnation, LeaveReason.LEFT))
    await home.rooms_ended()


async def test_a_session_is_handed_over_to_the_node_that_claimed_it() -> None:
    home = Home()
    session, connection, member = await home.opened()
    await home.moved(member)
    assert connection.closes == [CloseCode.REPLACED]
    assert home.broker.disowned == [session.id]
    assert home.broker.handed == []
    home.send(FRAME)
    home.sessions.hand_over(session)
    await until(lambda: home.broker.handed, "the handover")
    ((room, node, known),) = home.broker.handed
    assert (room, node) == (ROOM, OTHER)
    assert known.session == SessionState(2, [*connection.frames, numbered(2)])
    assert (known.is_late, home.broker.released) == (True, [])
    assert home.broker.deleted == []
    await home.rooms_ended()
    assert home.broker.released == [member.incarnation]


async def test_a_handover_need_not_wait_for_nodes_that_are_gone() -> None:
    home = Home()
    session, _, member = await home.opened()
    home.broker.gone.add(OTHER)
    await home.moved(member)
    home.sessions.hand_over(session)
    await until(lambda: home.broker.handed, "the handover")
    assert not home.broker.handed[0][2].is_late
    await home.rooms_ended()


@pytest.mark.parametrize("kind", Kind)
async def test_a_user_may_have_missed_broadcasts_of_nodes_that_did_not_know_of_its_move_in_time(kind: Kind) -> None:
    home = Home()
    session = await home.migrated(structs.replace(told(7, numbered(7)), is_late=True), kind=kind)
    assert session.attach(FakeConnection(), 7) is (kind is Kind.PEER)
    await home.end(session)


async def test_a_session_is_handed_over_as_soon_as_all_its_rooms_are_complete() -> None:
    home = Home()
    session, _, member = await home.opened()
    second = home.node.membership(SECOND, Kind.PEER, PeerId("ana"), session=session.id)
    await session.join(SECOND, second, second.enter(session), Greeting())
    await home.moved(member)
    moved = structs.replace(home.broker.members[SECOND], node=OTHER, epoch=2)
    home.broker.move(SECOND, moved, old=HERE)
    await until(lambda: len(session.cutovers or ()) == 2, "that both rooms have moved")
    session.cutover_complete(ROOM)
    await asyncio.sleep(0)
    assert not session.ended
    session.cutover_complete(SECOND)
    await until(lambda: len(home.broker.handed) == 2, "the handover")
    await home.rooms_ended()


@pytest.mark.parametrize("claimed", [True, False])
async def test_the_node_that_claimed_a_session_is_told_of_further_rooms_and_has_a_moment_to_claim_them(
    claimed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home()
    session, _, member = await home.opened()
    second = home.node.membership(SECOND, Kind.PEER, PeerId("ana"), session=session.id)
    await session.join(SECOND, second, second.enter(session, presence=True), Greeting())
    await home.moved(member)
    if not claimed:
        monkeypatch.setattr(registry, "OLD_NODE_PATIENCE", 0.01)
    home.sessions.hand_over(session)
    await until(lambda: home.broker.handed, "the handover")
    place = home.broker.members[SECOND]
    ((_, _, told),) = home.broker.handed
    assert told.others == [(SECOND, "ana", place.incarnation, True)]
    if claimed:
        assert not session.ended
        session.send(MESSAGE)
        home.broker.move(SECOND, structs.replace(place, node=OTHER, epoch=2), old=HERE)
        await until(lambda: SECOND in (session.cutovers or ()), "the second move")
        session.cutover_complete(SECOND)
        await until(lambda: len(home.broker.handed) == 2, "the second handover")
        (room, _, last) = home.broker.handed[1]
        assert (room, last.others) == (SECOND, [])
        assert last.session is not None
        assert told.session is not None
        assert last.session.number == told.session.number + 1
    else:
        await until(lambda: home.broker.leaves == [place.incarnation], "that the room is left")
    await home.rooms_ended()


async def test_a_session_is_not_ended_while_no_node_can_claim_its_further_rooms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = Home()
    session, _, member = await home.opened()
    second = home.node.membership(SECOND, Kind.PEER, PeerId("ana"), session=session.id)
    await session.join(SECOND, second, second.enter(session), Greeting())
    await home.moved(member)
    asked: list[bool] = []

    def ready(_broker: object) -> bool:
        asked.append(len(asked) > 1)
        return asked[-1]

    monkeypatch.setattr(Elsewhere, "ready", property(ready))
    monkeypatch.setattr(registry, "OLD_NODE_PATIENCE", 0.01)
    monkeypatch.setattr(registry, "NEW_NODE_PATIENCE", 0.01)
    home.sessions.hand_over(session)
    await until(lambda: session.ended, "the end of the session")
    assert asked == [False, False, True]
    await home.rooms_ended()


async def test_rooms_of_which_the_other_node_tells_are_claimed_with_the_others() -> None:
    home = Home()
    task = home.resume()
    await home.claimed()
    incarnation = str(home.broker.members[ROOM].incarnation).replace(ROOM, SECOND)
    home.broker.given = [ROOM, SECOND]
    home.broker.hand(structs.replace(told(7, numbered(7)), others=[(str(SECOND), "ana", incarnation, True)]))
    await home.claimed((ROOM, SECOND))
    home.broker.hand(told(8, numbered(7), numbered(8)), SECOND)
    session = await task
    assert session is not None
    assert set(session.rooms) == {ROOM, SECOND}
    connection = FakeConnection()
    assert session.attach(connection, 6)
    assert connection.frames == [numbered(7), numbered(8)]
    await home.end(session)


async def test_a_session_is_handed_over_when_other_nodes_take_too_long() -> None:
    home = Home()
    _, _, member = await home.opened()
    await home.moved(member)
    await until(lambda: home.broker.handed, "the handover")
    await home.rooms_ended()


async def test_a_membership_that_moves_before_it_is_left_is_handed_over() -> None:
    home = Home()
    session, connection, member = await home.opened()
    home.broker.is_slow_to_leave = True
    leaving = asyncio.ensure_future(session.leave(ROOM, 7))
    await until(lambda: home.broker.leaves, "that the room is asked")
    await home.moved(member)
    await leaving
    home.sessions.hand_over(session)
    await until(lambda: home.broker.handed, "the handover")
    ((room, node, known),) = home.broker.handed
    assert (room, node) == (ROOM, OTHER)
    assert known.session == SessionState(1, connection.frames)
    await home.rooms_ended()
    assert home.broker.released == [member.incarnation]


async def test_the_record_of_a_revoked_session_is_found_by_any_of_its_tokens() -> None:
    home = Home()
    session, _, member = await home.opened()
    session.attach(FakeConnection(), 0)
    home.broker.tell(ROOM, MemberLeft(9, member.incarnation, LeaveReason.KICKED))
    await until(lambda: session.ended, "that the session is revoked")
    record = home.broker.records[-1]
    assert (record.generation, record.oldest, record.out) == (2, 0, {ROOM: Removal(LeaveReason.KICKED)})
    await home.rooms_ended()


async def test_a_session_is_recorded_before_its_client_hears_that_it_is_in_a_room() -> None:
    home = Home()
    connection = FakeConnection()
    session = home.sessions.open(Kind.PEER, "", connection)
    membership = home.node.membership(ROOM, Kind.PEER, PeerId("ana"), session=session.id)
    joining = session.join(ROOM, membership, membership.enter(session), Greeting())
    assert connection.frames == []
    assert [record.rooms for record in home.broker.records] == [[(ROOM, "ana", membership.incarnation, False)]]
    await joining
    assert len(home.broker.records) == 1
    rival = home.sessions.open(Kind.PEER, "", FakeConnection())
    membership = home.node.membership(ROOM, Kind.PEER, PeerId("ana"), session=rival.id)
    with pytest.raises(PeerIdTaken):
        await rival.join(ROOM, membership, membership.enter(rival), Greeting())
    assert home.broker.records[-1].rooms == []
    session.end(LeaveReason.LEFT)
    await home.rooms_ended()


async def test_a_node_that_stops_persists_its_detached_sessions() -> None:
    home = Home()
    session, connection, member = await home.opened()
    session.connection_lost(connection, LeaveReason.DISCONNECTED, final=False)
    await home.sessions.stop()
    record = home.broker.records[-1]
    left = handover.unpack_left(record.left)
    assert left.session == SessionState(1, connection.frames)
    assert [(one.room, one.offset) for one in left.members] == [(ROOM, f"offset in {ROOM}")]
    assert record.session == session.id
    assert (home.broker.leaves, home.broker.deleted) == ([], [])
    home.broker.tell(ROOM, MemberLeft(9, member.incarnation, LeaveReason.LEFT))
    await home.rooms_ended()


async def test_a_session_that_cannot_be_persisted_does_not_keep_the_others_from_it(
    monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.session", "session could not be left to another node")
    home = Home()
    session, connection, member = await home.opened()
    other_connection = FakeConnection()
    other = home.sessions.open(Kind.PEER, "", other_connection)
    bea = home.node.membership(SECOND, Kind.PEER, PeerId("bea"), session=other.id)
    await other.join(SECOND, bea, bea.enter(other), Greeting())
    session.connection_lost(connection, LeaveReason.DISCONNECTED, final=False)
    other.connection_lost(other_connection, LeaveReason.DISCONNECTED, final=False)
    failing = next(iter(home.sessions.detached))
    monkeypatch.setattr(failing.replay.__class__, "state", _fail_once(failing.replay.__class__.state))
    await home.sessions.stop()
    assert [one.session for one in home.broker.records if one.left] == [({session, other} - {failing}).pop().id]
    for room, incarnation in ((ROOM, member.incarnation), (SECOND, home.broker.members[SECOND].incarnation)):
        home.broker.tell(room, MemberLeft(9, incarnation, LeaveReason.LEFT))
    await home.rooms_ended()


def _fail_once(state: Callable[..., SessionState]) -> Callable[..., SessionState]:
    """A function that raises the first time."""
    calls = count()

    def fail(*arguments: Any) -> SessionState:
        if next(calls) == 0:
            raise RuntimeError("no luck")
        return state(*arguments)

    return fail


async def test_a_node_that_stops_hands_over_with_the_offset_up_to_which_it_has_received() -> None:
    home = Home()
    _, _, member = await home.opened()
    await home.moved(member)
    await home.sessions.stop()
    ((_, _, known),) = home.broker.handed
    assert known.offset == f"offset in {ROOM}"
    await home.rooms_ended()


async def test_a_node_that_stops_leaves_further_rooms_to_the_node_that_claimed_the_session() -> None:
    home = Home()
    session, _, member = await home.opened()
    second = home.node.membership(SECOND, Kind.PEER, PeerId("ana"), session=session.id)
    await session.join(SECOND, second, second.enter(session), Greeting())
    await home.moved(member)
    await home.sessions.stop()
    ((_, _, known),) = home.broker.handed
    assert known.others == [(SECOND, "ana", home.broker.members[SECOND].incarnation, False)]
    assert session.ended
    assert home.broker.leaves == []
    home.broker.tell(SECOND, MemberLeft(9, home.broker.members[SECOND].incarnation, LeaveReason.LEFT))
    await home.rooms_ended()
