"""Sessions: numbers, what is kept and for how long, who may come back, and that nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.actors.mail import Greeting
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.errors import (
    AlreadyInRoom,
    CloseCode,
    NotInRoom,
    PeerIdTaken,
    RoomFull,
    TooManyRooms,
)
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.handover import SessionState
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId
from mcp_actors.sessions import Session, Sessions
from mcp_actors.sessions.session import ASK_AFTER
from mcp_actors.sessions.takeover import Arrival
from mcp_actors.sessions.tokens import new_session_id
from tests.support.loop import until
from tests.support.sessions import (
    FRAME,
    OTHER_ROOM,
    ROOM,
    FakeMembership,
    FakeWire,
    FullWire,
    come_back,
    cut,
    enter,
    joined,
    number,
    opened,
    put,
    registry,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.node import Membership

# ------------------------------------------------------------------------------------------------- numbers and bounds


def test_frames_are_numbered_from_1_and_else_written_as_they_are() -> None:
    session, wire = opened()
    put(session, 2)
    assert wire.frames == [b'{"delivery":1,"type":"x"}', b'{"delivery":2,"type":"x"}']


async def test_numbers_go_on_while_the_client_is_away() -> None:
    session, wire, _ = await joined()
    put(session)
    away = [session.away]
    cut(session, wire)
    away.append(session.away)
    put(session, 2)
    assert wire.numbers == [1]
    assert come_back(session, 1) == (True, [2, 3])
    away.append(session.away)
    assert away == [False, True, False]


def test_the_oldest_goes_when_there_are_too_many_frames() -> None:
    session, _ = opened(registry(max_frames=3))
    put(session, 5)
    assert come_back(session, 0) == (False, [3, 4, 5])
    assert come_back(session, 1) == (False, [3, 4, 5])
    assert come_back(session, 2) == (True, [3, 4, 5])


def test_the_oldest_go_when_there_are_too_many_bytes() -> None:
    session, _ = opened(registry(max_bytes=3 * len(b'{"delivery":1,"type":"x"}')))
    put(session, 5)
    assert come_back(session, 2) == (True, [3, 4, 5])


def test_what_one_large_frame_needs_is_taken_from_however_many_before_it() -> None:
    wire = FakeWire()
    session = registry(max_frames=10_000, max_bytes=100_000).open(Kind.PEER, "", wire)
    put(session, 3000)
    large = b'{"x":"%s"}' % (b"x" * 99_970)
    assert session.put(large)
    again = FakeWire()
    assert session.attach(again, 2999) is False
    assert again.frames == wire.frames[-1:]
    assert session.attach(FakeWire(), 3000) is True


def test_a_frame_larger_than_all_that_is_kept_is_written_and_not_kept() -> None:
    session, wire = opened(registry(max_bytes=100))
    put(session)
    assert session.put(b'{"x":"%s"}' % (b"x" * 100))
    assert len(wire.frames) == 2
    assert come_back(session, 1) == (False, [])
    assert come_back(session, 2) == (True, [])
    put(session)
    assert come_back(session, 2) == (True, [3])


def test_what_a_client_has_is_kept_no_longer_and_the_rest_is() -> None:
    session, _ = opened()
    put(session, 5)
    session.ponged(3)
    assert come_back(session, 0) == (False, [4, 5])
    session.ponged(2)  # late
    assert come_back(session, 3) == (True, [4, 5])
    session.ponged(5)
    assert come_back(session, 5) == (True, [])
    put(session)
    assert come_back(session, 5) == (True, [6])
    session.ponged(10**30)  # a lie hurts nobody else
    assert come_back(session, 6) == (True, [])


def test_bytes_that_a_client_has_make_room_for_others() -> None:
    session, _ = opened(registry(max_bytes=3 * len(b'{"delivery":1,"type":"x"}')))
    put(session, 3)
    session.ponged(2)
    put(session, 2)
    assert come_back(session, 2) == (True, [3, 4, 5])


def test_the_client_is_asked_what_it_has_when_much_is_kept_and_again_when_as_much_came_since() -> None:
    session, wire = opened()
    frame = b'{"type":"%b"}' % (b"x" * (ASK_AFTER // 4))
    asked = []
    for _ in range(9):
        session.put(frame)
        asked.append(wire.pings)
    session.ponged(session.number)
    for _ in range(4):
        session.put(frame)
        asked.append(wire.pings)
    assert asked == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3]


# -------------------------------------------------------------------------------------------------------- coming back


@pytest.mark.parametrize(
    ("received", "complete", "again"),
    [(0, True, [1, 2, 3]), (1, True, [2, 3]), (3, True, []), (4, False, []), (2**53, False, [])],
)
def test_a_client_gets_what_it_did_not_receive_and_is_told_whether_that_is_all(
    received: int, complete: bool, again: list[int]
) -> None:
    session, _ = opened()
    put(session, 3)
    assert come_back(session, received) == (complete, again)


async def test_an_old_connection_is_closed_for_good_and_its_end_changes_nothing() -> None:
    session, old, membership = await joined()
    new = FakeWire()
    session.attach(new, 0)
    assert old.closes == [CloseCode.REPLACED]
    for final in (True, False):
        session.lost(old, LeaveReason.DISCONNECTED, final=final)
    assert membership.told == []
    assert not session.ended
    put(session)
    assert new.numbers == [1]


async def test_rooms_hear_that_a_client_is_away_and_back() -> None:
    session, wire, membership = await joined()
    another = FakeMembership()
    await enter(session, another, OTHER_ROOM)
    cut(session, wire)
    assert membership.told == another.told == ["away"]
    come_back(session, 0)
    assert membership.told == another.told == ["away", "back"]


async def test_a_connection_that_cannot_take_what_waited_leaves_the_client_away() -> None:
    session, wire, membership = await joined()
    put(session, 3)
    cut(session, wire)
    full = FullWire()
    full.session = session
    session.attach(full, 0)
    assert session.away
    assert membership.told == ["away", "back", "away"]
    assert come_back(session, 0) == (True, [1, 2, 3])


async def test_a_frame_that_fills_a_connection_waits_with_the_others() -> None:
    full = FullWire()
    session, _, _ = await joined(wire=full)
    full.session = session
    put(session, 2)
    assert session.away
    assert come_back(session, 0) == (True, [1, 2])


async def test_a_frame_that_fills_a_connection_is_lost_where_nobody_may_wait() -> None:
    full = FullWire()
    session, _, membership = await joined(registry(max_away=0), full)
    full.session = session
    assert not session.put(FRAME)
    assert membership.told == [LeaveReason.DISCONNECTED]


# ---------------------------------------------------------------------------------------------------------------- rooms


async def test_a_session_knows_its_rooms() -> None:
    session, _, membership = await joined()
    assert session.membership(ROOM) is cast("Membership", membership)
    assert session.is_in(ROOM)
    assert not session.is_in(OTHER_ROOM)
    assert session.may_be(ROOM, "ana")
    assert not session.may_be(ROOM, "ben")
    assert session.may_be(OTHER_ROOM, "ben")
    with pytest.raises(AlreadyInRoom):
        session.may_enter(ROOM)
    with pytest.raises(NotInRoom):
        session.membership(OTHER_ROOM)
    await session.leave(ROOM, 7)
    assert membership.told == ["leave 7"]
    assert not session.is_in(ROOM)
    with pytest.raises(NotInRoom):
        await session.leave(ROOM, 8)
    session.may_enter(ROOM)


async def test_a_session_is_in_as_many_rooms_as_it_may() -> None:
    session, _, _ = await joined(registry(max_rooms=2))
    await enter(session, FakeMembership(), OTHER_ROOM)
    with pytest.raises(TooManyRooms) as refused:
        session.may_enter(RoomId("third"))
    assert refused.value.details == {"limit": 2}


async def test_a_room_that_refuses_is_not_entered() -> None:
    session, _ = opened()
    with pytest.raises(RoomFull):
        await enter(session, FakeMembership(refusal=RoomFull))
    assert not session.is_in(ROOM)


async def test_a_room_of_our_own_waits_for_its_member_and_lets_it_go_in_the_end() -> None:
    node = Node(NodeId("node"), MemoryBroker(), room_capacity=10, max_rooms=10, max_inbox=10, max_unanswered=10)
    of = registry()
    (ana, ana_wire), (ben, ben_wire) = opened(of), opened(of)
    for session, name in ((ana, "ana"), (ben, "ben")):
        await session.enter(
            ROOM, node.membership(ROOM, Kind.PEER, PeerId(name), session="s"), Greeting(), presence=True
        )
    cut(ben, ben_wire)
    await until(lambda: any(b"peer-away" in frame for frame in ana_wire.frames), "that ben is away")
    again = FakeWire()
    assert ben.attach(again, 1)
    await until(lambda: any(b"peer-back" in frame for frame in ana_wire.frames), "that ben is back")
    ana.end(LeaveReason.TIMEOUT)
    await until(lambda: again.frames, "that ana has left")
    assert b'"delivery":2,' in again.frames[0]
    assert b'"timeout"' in again.frames[0]
    ben.end(LeaveReason.TIMEOUT)
    await until(lambda: not node.rooms, "the end of the room")


async def test_an_ended_session_keeps_nothing_for_the_garbage_collector() -> None:
    of = registry(max_away=1)

    async def live(end: Callable[[Session, FakeWire], None]) -> None:
        session, wire, _ = await joined(of)
        put(session, 5)
        cut(session, wire)
        wire = FakeWire()
        session.attach(wire, 2)
        put(session)
        end(session, wire)
        refused, _ = opened(of)
        try:
            await enter(refused, FakeMembership(refusal=PeerIdTaken))
        except PeerIdTaken:
            refused.end(LeaveReason.DISCONNECTED)

    def wait_and_end(session: Session, wire: FakeWire) -> None:
        cut(session, wire)
        session.end(LeaveReason.TIMEOUT)

    ends: list[Callable[[Session, FakeWire], None]] = [
        lambda session, wire: session.lost(wire, LeaveReason.DISCONNECTED, final=True),
        lambda session, _: session.close(CloseCode.ROOM_LOST),
        wait_and_end,
    ]
    gc.collect()
    gc.disable()
    try:
        for end in ends:
            await live(end)
        assert len(of) == 0
        assert gc.collect() == 0
    finally:
        gc.enable()


# ------------------------------------------------------------------------------------------------- nothing is lost


class Line(FakeWire):
    """A connection with frames and pings under way to the client, and pongs to the server."""

    def __init__(self) -> None:
        super().__init__()
        self.down: deque[int | bytes] = deque()
        self.up: deque[int] = deque()
        self.broken = False

    def put(self, frame: bytes) -> bool:
        if not self.closes and not self.broken:
            self.down.append(frame)
        return not self.closes

    def cut(self) -> None:
        self.broken = True
        self.down.clear()
        self.up.clear()


class Story:
    """One session and its client, who reads what comes and dedupes nothing."""

    def __init__(self, of: Sessions) -> None:
        self.line = Line()
        self.session = of.open(Kind.PEER, "", self.line)
        self.dead: list[Line] = []
        self.sent = 0
        self.got: list[int] = []
        self.missed = 0
        """The numbers up to which the client was told that something is missing."""

    @property
    def received(self) -> int:
        return self.got[-1] if self.got else 0

    def put(self, times: int) -> None:
        for _ in range(times):
            self.sent += 1
            assert self.session.put(FRAME)

    def ping(self, _: int) -> None:
        if not self.line.broken:
            self.line.down.append(self.session.number)

    def read(self, times: int) -> None:
        for _ in range(min(times, len(self.line.down))):
            came = self.line.down.popleft()
            if isinstance(came, bytes):
                self.got.append(number(came))
            else:
                self.line.up.append(came)

    def pong(self, _: int) -> None:
        if self.line.up:
            self.session.ponged(self.line.up.popleft())

    def cut(self, _: int) -> None:
        if not self.line.broken:
            self.line.cut()
            self.dead.append(self.line)

    def notice(self, _: int) -> None:
        if self.dead:
            cut(self.session, self.dead.pop(0))

    def attach(self, _: int) -> None:
        self.cut(0)
        self.line = Line()
        received = self.received
        complete = self.session.attach(self.line, received)
        again = [number(frame) for frame in self.line.down if isinstance(frame, bytes)]
        assert complete == (again == list(range(received + 1, self.sent + 1)))
        if not complete:
            self.missed = again[0] if again else self.sent + 1

    def check(self) -> None:
        """Every number once and in order, but for those that the client was told of."""
        for before, after in zip([0, *self.got], self.got, strict=False):
            assert after == before + 1 or before + 1 < after <= self.missed


STEPS = st.tuples(
    st.sampled_from([Story.put, Story.ping, Story.read, Story.pong, Story.cut, Story.notice, Story.attach]),
    st.integers(1, 5),
)


@given(steps=st.lists(STEPS, max_size=80), max_frames=st.sampled_from([2, 1000]))
def test_every_frame_arrives_once_and_in_order_whatever_breaks_and_whenever(
    steps: list[tuple[Callable[[Story, int], None], int]], max_frames: int
) -> None:
    async def tell() -> None:
        story = Story(registry(max_frames=max_frames))
        await enter(story.session, FakeMembership())
        for step, times in steps:
            step(story, times)
            story.check()
        story.attach(0)
        story.read(len(story.line.down))
        story.check()
        if max_frames > story.sent:
            assert story.got == list(range(1, story.sent + 1))

    asyncio.run(tell())


# ---------------------------------------------------------------------------------------------- going on at other nodes


def arriving(of: Sessions | None = None) -> tuple[Session, Arrival]:
    """A session that comes from another node, with a token of its third generation."""
    session = Session(registry() if of is None else of, Kind.PEER, "", None, new_session_id(), 3)
    session.arrival = arrival = Arrival(1000, 1_000_000)
    return session, arrival


def go_on(
    session: Session, state: SessionState, waiting: int = 0, membership: FakeMembership | None = None, **how: bool
) -> None:
    places = {ROOM: cast("Membership", membership or FakeMembership())}
    session.go_on(places, state, [FRAME] * waiting, lossy=how.get("lossy", False))


def kept(*numbers: int) -> list[bytes]:
    return [b'{"delivery":%d,"type":"x"}' % one for one in numbers]


async def test_a_session_whose_client_is_at_another_node_closes_its_connection_and_keeps_what_still_comes() -> None:
    of = registry()
    session, wire, membership = await joined(of)
    put(session)
    session.moved(ROOM)
    assert wire.closes == [CloseCode.REPLACED]
    put(session, 2)
    assert (wire.numbers, len(of)) == ([1], 0)
    cut(session, wire)
    assert membership.told == []
    state = session.depart()
    assert state == SessionState(3, kept(1, 2, 3))
    assert not session.put(FRAME)


async def test_a_session_is_handed_over_when_nothing_more_comes_in_any_of_its_rooms() -> None:
    of = registry()
    session, _, _ = await joined(of)
    await enter(session, FakeMembership(), OTHER_ROOM)
    for room in (ROOM, OTHER_ROOM):
        session.moved(room)
    session.complete(ROOM)
    assert session in of._leaving
    session.complete(OTHER_ROOM)
    assert session not in of._leaving
    await asyncio.gather(*of._handing_over.values(), return_exceptions=True)


async def test_what_a_session_left_behind_at_a_node_is_not_found_nor_noted_there() -> None:
    of = registry()
    session, _, _ = await joined(of)
    token = of.token(session)
    session.moved(ROOM)
    assert of.find(token, Kind.PEER, "") is None


async def test_a_session_that_has_ended_is_not_handed_over() -> None:
    of = registry()
    session, _, _ = await joined(of)
    session.end(LeaveReason.TIMEOUT)
    session.moved(ROOM)
    session.complete(ROOM)
    assert not of._leaving
    assert not of._handing_over


async def test_what_comes_while_a_session_arrives_waits_and_is_numbered_after_what_came_before() -> None:
    session, arrival = arriving()
    put(session, 2)
    assert arrival.waiting == [FRAME, FRAME]
    go_on(session, SessionState(7, kept(6, 7)), waiting=2)
    assert session.number == 9
    put(session)
    assert come_back(session, 6) == (True, [7, 8, 9, 10])


async def test_a_client_whose_session_went_on_with_gaps_is_told_so_once() -> None:
    session, _ = arriving()
    go_on(session, SessionState(7, kept(6, 7)), waiting=1, lossy=True)
    assert come_back(session, 7) == (False, [8])
    assert come_back(session, 8) == (True, [])


async def test_the_first_connection_at_a_new_node_does_not_use_up_its_token() -> None:
    session, _ = arriving()
    go_on(session, SessionState(0, []))
    session.attach(FakeWire(), 0)
    assert session.generation == 3
    session.attach(FakeWire(), 0)
    assert session.generation == 4


async def test_what_another_node_kept_counts_for_what_may_be_kept() -> None:
    session, _ = arriving(registry(max_frames=3))
    go_on(session, SessionState(5, kept(3, 4, 5)), waiting=1)
    assert come_back(session, 2) == (False, [4, 5, 6])


async def test_a_session_that_is_not_arriving_takes_nothing_from_another_node() -> None:
    session, wire, _ = await joined()
    session.recovered(FRAME)
    session.handed_over(ROOM, None)
    assert wire.frames == []


async def test_a_session_that_was_lost_while_it_arrived_leaves_its_rooms() -> None:
    session, _ = arriving()
    session.close(CloseCode.ROOM_LOST)
    membership = FakeMembership()
    go_on(session, SessionState(0, []), membership=membership)
    assert membership.told == [LeaveReason.DISCONNECTED]
    assert session.rooms() == []
