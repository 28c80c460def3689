"""Sessions taken over from another node, which the test plays: what it hands over, leaves behind, or does not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from mcp_actors.actors.mail import Greeting
from mcp_actors.broker import Recovered, Taken
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol import handover
from mcp_actors.protocol.errors import CloseCode, Unavailable
from mcp_actors.protocol.events import (
    ClaimRefused,
    HandedOver,
    Kind,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    Signalled,
)
from mcp_actors.protocol.handover import Behind, Handover, LeftBehind, MemberState, SessionState
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from mcp_actors.sessions import Sessions, takeover
from mcp_actors.sessions.takeover import Arrival
from mcp_actors.sessions.tokens import Tokens, new_session_id
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.broker import Note
    from mcp_actors.protocol.events import Member
    from mcp_actors.sessions import Session

HERE, OTHER, THIRD = NodeId("here"), NodeId("other"), NodeId("third")
ROOM, SECOND = RoomId("room"), RoomId("second")
SECRET = b"secret"
FRAME = b'{"type":"x"}'


class Wire:
    """A connection that remembers what was written to it."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.closes: list[CloseCode] = []

    def put(self, frame: bytes) -> bool:
        self.frames.append(frame)
        return True

    def ping(self) -> None:
        """Nobody answers."""

    def close(self, code: CloseCode, leave: LeaveReason | None = None) -> None:
        del leave
        self.closes.append(code)


class Elsewhere(MemoryBroker):
    """A broker whose other node is the test, at which the one session was: in `rooms`, of which it gives `given`."""

    def __init__(self, *rooms: RoomId) -> None:
        super().__init__()
        self.rooms = rooms or (ROOM,)
        self.given = list(self.rooms)
        self.left = b""
        self.notes: list[Note] = []
        self.forgotten: list[str] = []
        self.dropped: list[str] = []
        self.handed: list[tuple[RoomId, NodeId, Handover]] = []
        self.released: list[Incarnation] = []
        self.asked_at: list[str] = []
        self.recovered = Recovered([], [], known=True, whole=True)
        self.members: dict[RoomId, Member] = {}

    @property
    def shared(self) -> bool:
        return True

    async def take(self, session: str, generation: int, whose: str, patience: float) -> Taken | None:
        del patience
        if whose != "peer:":
            return None
        places = [(str(room), "ana", f"{session}.{room}", True) for room in self.rooms]
        return Taken(generation + 1, generation, places, self.left)

    def claim(self, room: RoomId, member: Member) -> None:
        if room not in self.given:
            self._tell(room, ClaimRefused(member.incarnation))
            return
        was = structs.replace(member, node=OTHER, moves=0, order=1)
        self._tell(room, MemberJoined(1, was))
        self.move(room, member)

    def move(self, room: RoomId, member: Member, old: NodeId = OTHER) -> None:
        """Let a member be heard to have moved to the node that it names."""
        self.members[room] = member
        self._tell(room, MemberMoved(2, member.incarnation, old, member.node, member.moves, (old, member.node)))

    def hand(self, told: Handover | None, room: RoomId = ROOM) -> None:
        """Let what the other node hands over be heard; None: it is dead."""
        body = b"" if told is None else handover.pack(told)
        self._tell(room, HandedOver(self.members[room].incarnation, body))

    def switch(self, room: RoomId, move: MemberMoved) -> None:
        del room, move

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        self.handed.append((room, member.node, handover.unpack(body)))

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        del room
        self.released.append(incarnation)

    async def recover(self, room: RoomId, kind: Kind, move: MemberMoved, at: str, patience: float) -> Recovered:
        del room, kind, move, patience
        self.asked_at.append(at)
        return self.recovered

    def place(self, room: RoomId) -> str:
        return f"place in {room}"

    def note(self, note: Note) -> None:
        self.notes.append(note)

    def forget(self, session: str) -> None:
        self.forgotten.append(session)

    def drop(self, session: str) -> None:
        self.dropped.append(session)


class Home:
    """The node that takes the session over, by a token of its first generation."""

    def __init__(self, *rooms: RoomId) -> None:
        self.broker = Elsewhere(*rooms)
        self.node = Node(HERE, self.broker, room_capacity=9, max_rooms=9, max_inbox=99, max_unanswered=9)
        bounds: dict[str, Any] = {"max_frames": 100, "max_bytes": 100_000, "max_rooms": 3, "max_away": 10}
        self.sessions = Sessions(self.node, SECRET, window=30.0, **bounds)
        self.token = Tokens(SECRET).make(new_session_id(), 1)

    def taking(self, received: int = 0, at: dict[RoomId, str] | None = None) -> asyncio.Task[Session | None]:
        return asyncio.ensure_future(self.sessions.take_over(self.token, Kind.PEER, "", received, at or {}))

    async def claimed(self, rooms: Iterable[RoomId] = (ROOM,)) -> None:
        """Wait until the places are at this node."""
        await until(lambda: set(rooms) <= set(self.broker.members), "the claims")

    async def taken(self, told: Handover | None, **how: Any) -> Session:
        """The session, of which the other node hands this over."""
        task = self.taking(**how)
        await self.claimed()
        self.broker.hand(told)
        session = await task
        assert session is not None
        return session

    def say(self, frame: bytes, ticket: int = 0) -> None:
        """Let a frame of another node come for the member."""
        self.broker._tell(ROOM, Signalled(Incarnation("ben"), self.broker.members[ROOM].incarnation, frame, ticket))

    async def end(self, session: Session) -> None:
        """End it, with no room left behind."""
        for room, _ in session.rooms():
            self.broker._tell(room, MemberLeft(9, self.broker.members[room].incarnation, LeaveReason.LEFT))
        await until(lambda: not self.node.rooms, "the end of the rooms")


def told(number: int, *kept: bytes, at: str = "", state: MemberState | None = None) -> Handover:
    return Handover(state or MemberState(), SessionState(number, list(kept)), at)


def numbered(number: int) -> bytes:
    return b'{"delivery":%d,"type":"x"}' % number


async def test_a_session_goes_on_with_what_the_other_node_kept_and_then_what_came_here_meanwhile() -> None:
    home = Home()
    task = home.taking()
    await home.claimed()
    home.say(FRAME)
    home.broker.hand(told(7, numbered(6), numbered(7)))
    session = await task
    assert session is not None
    wire = Wire()
    assert session.attach(wire, 5)
    assert wire.frames == [numbered(6), numbered(7), numbered(8)]
    assert [(note.generation, note.rooms) for note in home.broker.notes][:1] == [
        (2, [(ROOM, "ana", f"{session.id}.{ROOM}", True)])
    ]
    assert home.sessions.find(home.token, Kind.PEER, "") is session
    await home.end(session)


async def test_what_a_dead_node_may_have_kept_is_missing_and_what_others_sent_it_is_recovered() -> None:
    home = Home()
    signal = Signalled(Incarnation("ben"), Incarnation("x"), FRAME, 0)
    home.broker.recovered = Recovered([signal], [], known=True, whole=True)
    session = await home.taken(None, received=4, at={ROOM: "1-1.0@other"})
    assert home.broker.asked_at == ["1-1.0@other"]
    wire = Wire()
    assert not session.attach(wire, 4)
    assert wire.frames == [numbered(session.number)]
    assert session.number > 4 + 100
    await home.end(session)


async def test_a_node_that_hands_nothing_over_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "NEW_NODE_PATIENCE", 0.01)
    home = Home()
    session = await home.taking()
    assert session is not None
    assert not session.attach(Wire(), 0)
    await home.end(session)


async def test_what_comes_to_a_node_after_it_stopped_is_looked_for_from_the_place_that_it_names() -> None:
    home = Home()
    home.broker.recovered = Recovered([Signalled(Incarnation("b"), Incarnation("x"), FRAME, 0)], [], True, True)
    session = await home.taken(told(7, at="5-5.1@other"), at={ROOM: "1-1.0@other"})
    assert home.broker.asked_at == ["5-5.1@other"]
    wire = Wire()
    assert session.attach(wire, 7)
    assert wire.frames == [numbered(8)]
    await home.end(session)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_session_goes_on_with_what_a_node_left_behind_that_has_stopped(whole: bool) -> None:
    home = Home(ROOM, SECOND)
    behind = [Behind(room, MemberState(), f"place in {room}") for room in (ROOM, SECOND)]
    home.broker.left = handover.pack(LeftBehind(SessionState(7, [numbered(7)]), behind))
    home.broker.recovered = Recovered([], [], known=True, whole=whole)
    session = await home.taking()
    assert session is not None
    assert home.broker.asked_at == [f"place in {room}" for room in (ROOM, SECOND)]
    wire = Wire()
    assert session.attach(wire, 6) is whole
    assert wire.frames == [numbered(7)]
    await home.end(session)


async def test_a_session_with_a_place_that_is_gone_goes_on_in_the_others_and_says_so() -> None:
    home = Home(ROOM, SECOND)
    home.broker.given = [ROOM]
    session = await home.taken(told(7))
    assert [room for room, _ in session.rooms()] == [ROOM]
    assert not session.attach(Wire(), 7)
    await home.end(session)


async def test_a_session_without_any_place_left_is_not_gone_on_with() -> None:
    home = Home()
    home.broker.given = []
    assert await home.taking() is None
    assert len(home.sessions) == 0
    await until(lambda: not home.node.rooms, "the end of the room")


async def test_two_connections_that_come_back_at_once_find_one_session() -> None:
    home = Home()
    tasks = [home.taking(), home.taking()]
    await home.claimed()
    home.broker.hand(told(7))
    first, second = await asyncio.gather(*tasks)
    assert first is not None
    assert first is second
    assert first.generation == 2
    await home.end(first)


async def test_nobody_else_and_nothing_forged_takes_a_session_over() -> None:
    home = Home()
    assert await home.sessions.take_over(home.token, Kind.USER, "uma", 0, {}) is None
    assert await home.sessions.take_over("forged", Kind.PEER, "", 0, {}) is None
    assert home.broker.members == {}


async def test_a_session_that_takes_too_long_to_arrive_may_be_tried_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_actors.sessions.registry.ARRIVAL_PATIENCE", 0.01)
    home = Home()
    with pytest.raises(Unavailable):
        await home.taking()
    await home.claimed()
    monkeypatch.undo()
    again = home.taking()
    home.broker.hand(told(7))
    session = await again
    assert session is not None
    await home.end(session)


async def test_a_session_that_is_lost_while_it_arrives_is_not_found_and_has_left() -> None:
    home = Home(ROOM, SECOND)
    task = home.taking()
    await home.claimed((ROOM, SECOND))
    home.broker._tell(ROOM, MemberLeft(9, home.broker.members[ROOM].incarnation, LeaveReason.NODE_LOST))
    for room in (ROOM, SECOND):
        home.broker.hand(told(7), room)
    assert await task is None
    assert (len(home.sessions), home.sessions._away) == (0, {})
    home.broker._tell(SECOND, MemberLeft(9, home.broker.members[SECOND].incarnation, LeaveReason.LEFT))
    await until(lambda: not home.node.rooms, "the end of the rooms")


async def test_a_session_that_goes_on_at_a_third_node_while_it_arrives_does_not_wait_here() -> None:
    home = Home()
    task = home.taking()
    await home.claimed()
    home.broker.move(ROOM, structs.replace(home.broker.members[ROOM], node=THIRD, moves=3), old=HERE)
    home.broker.hand(told(7))
    assert await task is None
    assert (len(home.sessions), home.sessions._away) == (0, {})
    for session in list(home.sessions._leaving):
        home.sessions.hand_over(session)
    await until(lambda: not home.node.rooms, "the end of the room")


# ------------------------------------------------------------------------------------------------------ the node before


async def _opened(home: Home) -> tuple[Session, Wire, Member]:
    """A session of this node, in one room."""
    wire = Wire()
    session = home.sessions.open(Kind.PEER, "", wire)
    await session.enter(ROOM, home.node.membership(ROOM, Kind.PEER, PeerId("ana"), session=session.id), Greeting())
    (member,) = home.broker._rooms[ROOM].members.values()
    return session, wire, member


async def test_what_is_known_of_a_session_goes_to_the_node_that_claimed_it_when_all_of_it_is_there() -> None:
    home = Home()
    session, wire, member = await _opened(home)
    home.broker.move(ROOM, structs.replace(member, node=OTHER, moves=2), old=HERE)
    await until(lambda: home.sessions._leaving, "that it is known to have gone")
    assert wire.closes == [CloseCode.REPLACED]
    assert home.broker.dropped == [session.id]
    assert home.broker.handed == []
    home.say(FRAME)
    home.sessions.hand_over(session)
    await until(lambda: home.broker.handed, "what is handed over")
    ((room, node, known),) = home.broker.handed
    assert (room, node) == (ROOM, OTHER)
    assert known.session == SessionState(2, [*wire.frames, numbered(2)])
    assert home.broker.released == [member.incarnation]
    assert home.broker.forgotten == []
    await until(lambda: not home.node.rooms, "the end of the room")


async def test_a_node_that_stops_leaves_behind_what_it_knows_of_those_who_are_away() -> None:
    home = Home()
    session, wire, member = await _opened(home)
    session.lost(wire, LeaveReason.DISCONNECTED, final=False)
    await home.sessions.stop()
    left = handover.unpack_left(home.broker.notes[-1].left)
    assert left.session == SessionState(1, wire.frames)
    assert [(one.room, one.at) for one in left.members] == [(ROOM, f"place in {ROOM}")]
    assert home.broker.notes[-1].session == session.id
    assert member.incarnation in home.broker._rooms[ROOM].members
    home.broker._tell(ROOM, MemberLeft(9, member.incarnation, LeaveReason.LEFT))
    await until(lambda: not home.node.rooms, "the end of the room")


# -------------------------------------------------------------------------------------------------------------- arrival


def test_what_waits_for_an_arrival_is_bounded_and_what_is_lost_is_known() -> None:
    arrival = Arrival(max_frames=2, max_bytes=1000)
    for frame in (b"1", b"2"):
        assert arrival.put(frame)
    assert not arrival.lossy
    arrival.put(b"3")
    assert (arrival.waiting, arrival.lossy) == ([b"2", b"3"], True)


def test_what_waits_for_an_arrival_is_bounded_in_bytes() -> None:
    arrival = Arrival(max_frames=100, max_bytes=10)
    for frame in (b"1234", b"5678", b"90"):
        arrival.put(frame)
    assert (arrival.waiting, arrival.lossy) == ([b"1234", b"5678", b"90"], False)
    arrival.put(b"x")
    assert (arrival.waiting, arrival.lossy) == ([b"5678", b"90", b"x"], True)


async def test_an_arrival_waits_for_all_rooms_that_it_is_told_of_before_or_after() -> None:
    arrival = Arrival(9, 99)
    arrival.handed_over(ROOM, told(7))
    waiting = asyncio.ensure_future(arrival.wait_for({ROOM, SECOND}, 5.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    arrival.handed_over(SECOND, None)
    await waiting
    await arrival.wait_for({ROOM, SECOND}, 0.0)


def test_what_was_handed_over_stays_though_the_node_is_said_to_be_dead() -> None:
    arrival = Arrival(9, 99)
    first = told(7)
    for one in (None, first, None, told(8)):
        arrival.handed_over(ROOM, one)
    assert arrival.told == {ROOM: first}
    assert arrival.state(0).number == 7


def test_the_state_of_a_session_comes_with_whichever_room_brings_it() -> None:
    arrival = Arrival(9, 99)
    arrival.handed_over(ROOM, Handover(MemberState()))
    arrival.handed_over(SECOND, told(7))
    assert arrival.state(0) == SessionState(7, [])
