from __future__ import annotations

import asyncio
import gc
import json
from collections import deque
from typing import TYPE_CHECKING, cast
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.codec import JSON
from mcp_actors.protocol.errors import AlreadyInRoom, CloseCode, NotInRoom, PeerIdTaken, RoomFull
from mcp_actors.protocol.events import Kind, LeaveReason, Removal
from mcp_actors.protocol.handover import SessionState
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId
from mcp_actors.protocol.messages import Ack, AckPayload, PeerLeft, PeerLeftPayload, RoomLocked, UserEntry
from mcp_actors.protocol.outgoing import Outgoing, Relayed
from mcp_actors.room.effects import Welcome
from mcp_actors.sessions import Greeting
from mcp_actors.sessions.session import ACKNOWLEDGE_EVERY
from tests.support.loop import until
from tests.support.sessions import (
    BODY,
    HEAD,
    MESSAGE,
    OTHER_ROOM,
    ROOM,
    FakeConnection,
    FakeMembership,
    FullConnection,
    cut,
    join,
    joined,
    migrating,
    number,
    opened,
    reattach,
    registry,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.node import Membership
    from mcp_actors.sessions import Session, Sessions


def test_messages_are_numbered_from_1_and_otherwise_unchanged() -> None:
    session, connection = opened()
    send(session)
    session.send(Relayed(b"", b'"type":"x"}'))
    assert connection.frames == [b'{"delivery":1,"sender":"ben","type":"x"}', b'{"delivery":2,"type":"x"}']


async def test_numbers_continue_while_the_client_is_detached() -> None:
    session, connection, _ = await joined()
    send(session)
    detached = [session.detached]
    cut(session, connection)
    detached.append(session.detached)
    send(session, 2)
    assert connection.numbers == [1]
    assert reattach(session, 1) == (True, [2, 3])
    detached.append(session.detached)
    assert detached == [False, True, False]


def test_a_client_is_told_when_it_does_not_get_all_it_missed() -> None:
    session, _ = opened(registry(max_frames=3))
    send(session, 5)
    assert reattach(session, 1) == (False, [3, 4, 5])
    assert reattach(session, 2) == (True, [3, 4, 5])


def test_a_message_larger_than_all_that_is_kept_is_written() -> None:
    session, connection = opened(registry(max_bytes=100))
    assert session.send(Relayed(b"", b'"x":"%s"}' % (b"x" * 100)))
    assert len(connection.frames) == 1
    assert reattach(session, 0) == (False, [])


def test_acknowledged_messages_are_not_kept() -> None:
    session, _ = opened()
    send(session, 5)
    session.acknowledge(3)
    assert reattach(session, 3) == (True, [4, 5])


def test_a_client_is_pinged_when_much_is_kept_and_again_when_as_much_was_added() -> None:
    session, connection = opened()
    body = b'"type":"%b"}' % (b"x" * (ACKNOWLEDGE_EVERY // 4))
    pings = []
    for _ in range(9):
        session.send(Relayed(b"", body))
        pings.append(connection.pings)
    session.acknowledge(session.replay.last)
    for _ in range(4):
        session.send(Relayed(b"", body))
        pings.append(connection.pings)
    assert pings == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3]


async def test_messages_of_other_peers_wait_for_a_client_and_none_of_them_is_lost() -> None:
    session, connection, _ = await joined(registry(max_frames=3))
    send(session, 2)
    cut(session, connection)
    fits = 0
    while session.has_room(MESSAGE):
        send(session)
        fits += 1
    session.send(Outgoing(RoomLocked(room=ROOM)))
    assert fits == 3
    assert reattach(session, 2) == (False, [3, 4, 5])
    session.acknowledge(5)
    assert reattach(session, 5) == (False, [])
    send(session)
    assert reattach(session, 6) == (True, [])


async def test_without_waiting_messages_of_other_peers_the_latest_messages_are_kept() -> None:
    session, connection, _ = await joined(registry(max_frames=2))
    cut(session, connection)
    for _ in range(3):
        session.send(Outgoing(RoomLocked(room=ROOM)))
    assert session.has_room(MESSAGE)
    send(session, 2)
    assert reattach(session, 2) == (False, [4, 5])
    assert reattach(session, 3) == (True, [4, 5])


async def test_a_replaced_connection_is_closed_and_its_end_changes_nothing() -> None:
    session, old, membership = await joined()
    new = FakeConnection()
    session.attach(new, 0)
    assert old.closes == [CloseCode.REPLACED]
    for final in (True, False):
        session.connection_lost(old, LeaveReason.DISCONNECTED, final=final)
    assert membership.told == []
    assert not session.ended
    send(session)
    assert new.numbers == [1]


async def test_all_rooms_learn_that_a_client_is_detached_and_attached_again() -> None:
    session, connection, membership = await joined()
    another = FakeMembership()
    await join(session, another, OTHER_ROOM)
    cut(session, connection)
    assert membership.told == another.told == ["detached"]
    reattach(session, 0)
    assert membership.told == another.told == ["detached", "attached"]


async def test_a_session_is_detached_again_when_its_new_connection_cannot_take_what_was_kept() -> None:
    session, connection, membership = await joined()
    send(session, 3)
    cut(session, connection)
    full = FullConnection()
    full.session = session
    session.attach(full, 0)
    assert session.detached
    assert membership.told == ["detached", "attached", "detached"]
    assert reattach(session, 0) == (True, [1, 2, 3])


async def test_a_message_that_fills_a_connection_is_kept_with_the_others() -> None:
    full = FullConnection()
    session, _, _ = await joined(connection=full)
    full.session = session
    send(session, 2)
    assert session.detached
    assert reattach(session, 0) == (True, [1, 2])


async def test_a_message_that_fills_a_connection_is_lost_if_the_session_cannot_wait() -> None:
    full = FullConnection()
    session, _, membership = await joined(registry(max_detached=0), full)
    full.session = session
    assert not session.send(MESSAGE)
    assert membership.told == [LeaveReason.DISCONNECTED]


async def test_a_session_that_has_ended_refuses_messages_and_ends_once() -> None:
    session, connection, membership = await joined()
    session.end(LeaveReason.DISCONNECTED)
    session.end(LeaveReason.TIMEOUT)
    assert not session.send(MESSAGE)
    cut(session, connection)
    assert connection.frames == []
    assert membership.told == [LeaveReason.DISCONNECTED]


@pytest.mark.parametrize("detached", [False, True])
async def test_a_session_ends_when_a_room_closes_its_connection(detached: bool) -> None:
    session, connection, membership = await joined()
    if detached:
        cut(session, connection)
    session.close(CloseCode.ROOM_LOST)
    assert connection.closes == ([] if detached else [CloseCode.ROOM_LOST])
    assert membership.told[-1] is LeaveReason.DISCONNECTED
    assert session.ended


async def test_a_session_joins_a_room_once_and_leaves_it_once() -> None:
    session, _, membership = await joined()
    assert session.rooms.membership(ROOM) is cast("Membership", membership)
    with pytest.raises(AlreadyInRoom):
        session.rooms.check_join(ROOM)
    await session.leave(ROOM, 7)
    assert membership.told == ["leave 7"]
    with pytest.raises(NotInRoom):
        await session.leave(ROOM, 8)
    session.rooms.check_join(ROOM)


async def test_a_room_that_refuses_is_not_joined() -> None:
    session, _ = opened()
    with pytest.raises(RoomFull):
        await join(session, FakeMembership(refusal=RoomFull))
    assert ROOM not in session.rooms


class SlowMembership(FakeMembership):
    """A membership whose leave takes until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.left = asyncio.Event()

    async def leave(self, request_id: object) -> None:
        await self.left.wait()
        await super().leave(request_id)


async def test_a_session_is_out_of_a_room_as_soon_as_it_asks_to_leave() -> None:
    session, _ = opened()
    slow, again = SlowMembership(), FakeMembership()
    await join(session, slow)
    leaving = asyncio.ensure_future(session.leave(ROOM, 7))
    with pytest.raises(NotInRoom):
        session.rooms.membership(ROOM)
    await join(session, again)
    slow.left.set()
    await leaving
    assert session.rooms.membership(ROOM) is cast("Membership", again)


async def test_a_session_waits_for_its_client_while_it_leaves_its_last_room() -> None:
    session, connection = opened()
    slow = SlowMembership()
    await join(session, slow)
    leaving = asyncio.ensure_future(session.leave(ROOM, 7))
    cut(session, connection)
    assert not session.ended
    slow.left.set()
    await leaving
    assert slow.told == ["leave 7"]


async def test_a_room_that_the_session_must_not_be_in_any_more_is_left_at_once() -> None:
    session, _, membership = await joined()
    assert session.confine(OTHER_ROOM.__eq__, session.replay.last) == [ROOM]
    assert membership.told == [LeaveReason.LEFT]
    assert ROOM not in session.rooms


async def test_a_room_that_had_to_be_left_tells_nothing_more_but_answers() -> None:
    session, connection, _ = await joined()
    assert session.confine(OTHER_ROOM.__eq__, session.replay.last) == [ROOM]
    before = len(connection.frames)
    assert not session.send(Relayed(HEAD, b'"type":"message","room":"%b"}' % ROOM.encode()))
    assert not session.send(Outgoing(PeerLeft(room=ROOM, payload=PeerLeftPayload(PeerId("ben"), LeaveReason.LEFT))))
    assert len(connection.frames) == before
    assert session.send(Relayed(HEAD, b'"type":"message","room":"%b"}' % OTHER_ROOM.encode()))
    assert session.send(Outgoing(Ack(room=ROOM, id=7, payload=AckPayload("delivered"))))
    assert session.send(MESSAGE)
    await join(session, FakeMembership())
    assert session.send(Relayed(HEAD, b'"type":"message","room":"%b"}' % ROOM.encode()))


async def test_a_join_that_is_done_after_the_room_had_to_be_left_is_answered_with_an_error() -> None:
    session, connection = opened()
    membership = FakeMembership()
    joining = session.join(ROOM, cast("Membership", membership), membership.enter(), Greeting(7))
    assert session.confine(OTHER_ROOM.__eq__, session.replay.last) == [ROOM]
    session.welcome(ROOM, Welcome(Incarnation("a.1"), PeerId("ana"), [], [], 1, 1, locked=False))
    assert b'"code":"forbidden"' in connection.frames[-1]
    assert b'"id":7' in connection.frames[-1]
    await joining


async def test_messages_behind_a_join_are_charged_for_the_users_that_are_in_the_room() -> None:
    session, connection = opened()
    membership = FakeMembership()
    joining = session.join(ROOM, cast("Membership", membership), membership.enter(), Greeting())
    session.rooms.joining[ROOM] += 3
    users = [UserEntry(UserId(name)) for name in ("uma", "vic")]
    session.welcome(ROOM, Welcome(Incarnation("a.1"), UserId("ana"), [], users, 1, 1, locked=False))
    assert connection.charges[-1] == (6, 0)
    await joining


async def test_a_real_room_keeps_a_detached_member_and_lets_it_leave_in_the_end() -> None:
    node = Node(NodeId("node"), MemoryBroker(), room_capacity=10, max_rooms=10, max_inbox=10, max_pending_acks=10)
    sessions = registry()
    (ana, ana_connection), (ben, ben_connection) = opened(sessions), opened(sessions)
    for session, name in ((ana, "ana"), (ben, "ben")):
        membership = node.membership(ROOM, Kind.PEER, PeerId(name), session="s")
        await session.join(ROOM, membership, membership.enter(session, presence=True), Greeting())
    cut(ben, ben_connection)
    await until(lambda: any(b"peer-away" in frame for frame in ana_connection.frames), "that ben is away")
    again = FakeConnection()
    assert ben.attach(again, 1)
    await until(lambda: any(b"peer-back" in frame for frame in ana_connection.frames), "that ben is back")
    ana.end(LeaveReason.TIMEOUT)
    await until(lambda: again.frames, "that ana has left")
    assert b'"delivery":2,' in again.frames[0]
    assert b'"timeout"' in again.frames[0]
    ben.end(LeaveReason.TIMEOUT)
    await until(lambda: not node.rooms(), "the end of the room")


async def test_each_of_two_concurrent_resumes_gets_its_own_reply() -> None:
    node = Node(NodeId("node"), MemoryBroker(), room_capacity=10, max_rooms=10, max_inbox=10, max_pending_acks=10)
    session, connection = opened()
    membership = node.membership(ROOM, Kind.PEER, PeerId("ana"), session="s")
    await session.join(ROOM, membership, membership.enter(session), Greeting("join"))
    await asyncio.gather(*(session.rejoin(ROOM, Greeting(name)) for name in ("first", "second")))
    assert [json.loads(frame)["id"] for frame in connection.frames] == ["join", "first", "second"]
    session.end(LeaveReason.TIMEOUT)
    await until(lambda: not node.rooms(), "the end of the room")


async def test_an_ended_session_leaves_nothing_to_the_garbage_collector() -> None:
    sessions = registry(max_detached=1)

    async def live(end: Callable[[Session, FakeConnection], None]) -> None:
        session, connection, _ = await joined(sessions)
        send(session, 5)
        cut(session, connection)
        connection = FakeConnection()
        session.attach(connection, 2)
        send(session)
        end(session, connection)
        refused, _ = opened(sessions)
        try:
            await join(refused, FakeMembership(refusal=PeerIdTaken))
        except PeerIdTaken:
            refused.end(LeaveReason.DISCONNECTED)

    def detach_and_end(session: Session, connection: FakeConnection) -> None:
        cut(session, connection)
        session.end(LeaveReason.TIMEOUT)

    ends: list[Callable[[Session, FakeConnection], None]] = [
        lambda session, connection: session.connection_lost(connection, LeaveReason.DISCONNECTED, final=True),
        lambda session, _: session.close(CloseCode.ROOM_LOST),
        detach_and_end,
    ]
    gc.collect()
    gc.disable()
    try:
        for end in ends:
            await live(end)
        assert not sessions.by_id
        assert gc.collect() == 0
    finally:
        gc.enable()


class Line(FakeConnection):
    """A connection with messages and pings on their way to the client, and pongs on their way to the server."""

    def __init__(self) -> None:
        super().__init__()
        self.down: deque[int | bytes] = deque()
        self.up: deque[int] = deque()
        self.broken = False

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> bool:
        if not self.closes and not self.broken:
            self.down.append(prefix + body)
        return not self.closes

    def cut(self) -> None:
        self.broken = True
        self.down.clear()
        self.up.clear()


class Story:
    """A session and its client, which reads what arrives and removes no duplicates."""

    def __init__(self, sessions: Sessions) -> None:
        self.line = Line()
        self.session = sessions.open(Kind.PEER, "", self.line)
        self.dead: list[Line] = []
        self.sent = 0
        self.got: list[int] = []
        self.missed = 0
        """The number up to which the client was told that something is missing."""

    @property
    def received(self) -> int:
        return self.got[-1] if self.got else 0

    def send(self, times: int) -> None:
        for _ in range(times):
            if not self.session.detached or self.session.has_room(MESSAGE):
                self.sent += 1
                send(self.session)

    def ping(self, _: int) -> None:
        if not self.line.broken:
            self.line.down.append(self.session.replay.last)

    def read(self, times: int) -> None:
        for _ in range(min(times, len(self.line.down))):
            came = self.line.down.popleft()
            if isinstance(came, bytes):
                self.got.append(number(came))
            else:
                self.line.up.append(came)

    def pong(self, _: int) -> None:
        if self.line.up:
            self.session.acknowledge(self.line.up.popleft())

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
        """Every number arrives once and in order, but for those that the client was told of."""
        for before, after in zip([0, *self.got], self.got, strict=False):
            assert after == before + 1 or before + 1 < after <= self.missed


STEPS = st.tuples(
    st.sampled_from([Story.send, Story.ping, Story.read, Story.pong, Story.cut, Story.notice, Story.attach]),
    st.integers(1, 5),
)


@given(steps=st.lists(STEPS, max_size=80), max_frames=st.sampled_from([2, 1000]))
def test_every_message_arrives_once_and_in_order_whatever_breaks_and_whenever(
    steps: list[tuple[Callable[[Story, int], None], int]], max_frames: int
) -> None:
    async def tell() -> None:
        sessions = registry(max_frames=max_frames)
        story = Story(sessions)
        await join(story.session, FakeMembership())
        for step, times in steps:
            step(story, times)
            story.check()
        story.attach(0)
        story.read(len(story.line.down))
        story.check()
        if max_frames > story.sent:
            assert story.got == list(range(1, story.sent + 1))
        await sessions.stop()

    asyncio.run(tell())


def activate(session: Session, state: SessionState, membership: FakeMembership | None = None, **how: bool) -> None:
    places = {ROOM: cast("Membership", membership or FakeMembership())}
    session.activate(places, state, [], lossy=how.get("lossy", False))


def kept(*numbers: int) -> list[bytes]:
    return [JSON.prefix(HEAD, number) + BODY for number in numbers]


async def test_a_session_that_another_node_has_claimed_closes_its_connection_and_keeps_what_still_arrives() -> None:
    session, connection, membership = await joined()
    send(session)
    assert session.moved(ROOM)
    assert connection.closes == [CloseCode.REPLACED]
    send(session, 2)
    assert connection.numbers == [1]
    cut(session, connection)
    assert membership.told == []
    assert session.replay.state() == SessionState(3, kept(1, 2, 3))
    session.end(LeaveReason.TIMEOUT)


async def test_a_session_that_has_ended_does_not_migrate() -> None:
    session, _, membership = await joined()
    session.end(LeaveReason.TIMEOUT)
    assert not session.moved(ROOM)
    session.cutover_complete(ROOM)
    assert membership.told == [LeaveReason.TIMEOUT]


async def test_messages_sent_during_a_migration_are_numbered_after_those_of_the_previous_node() -> None:
    session = migrating()
    send(session, 2)
    activate(session, SessionState(7, kept(6, 7)))
    assert session.replay.last == 9
    send(session)
    assert reattach(session, 6) == (True, [7, 8, 9, 10])


async def test_recovered_messages_precede_those_that_were_sent_here() -> None:
    session = migrating()
    send(session)
    session.activate(
        {ROOM: cast("Membership", FakeMembership())}, SessionState(1, []), [Relayed(b"", b'"type":"y"}')], lossy=False
    )
    connection = FakeConnection()
    session.attach(connection, 1)
    assert connection.frames == [b'{"delivery":2,"type":"y"}', *kept(3)]


async def test_a_client_is_told_when_too_much_was_sent_during_a_migration() -> None:
    session = migrating(max_frames=2)
    send(session, 3)
    activate(session, SessionState(7, []))
    assert reattach(session, 7) == (False, [8, 9])


async def test_a_client_is_told_once_that_messages_were_lost_in_a_migration() -> None:
    session = migrating()
    send(session)
    activate(session, SessionState(7, kept(6, 7)), lossy=True)
    assert reattach(session, 7) == (False, [8])
    assert reattach(session, 8) == (True, [])


async def test_the_first_connection_after_a_migration_does_not_use_up_its_token() -> None:
    session = migrating()
    activate(session, SessionState(0, []))
    session.attach(FakeConnection(), 0)
    assert session.generations.latest == 3
    session.attach(FakeConnection(), 0)
    assert session.generations.latest == 4


async def test_messages_of_the_previous_node_count_towards_the_limits() -> None:
    session = migrating(max_frames=2)
    send(session)
    activate(session, SessionState(5, kept(2, 3, 4, 5)))
    assert reattach(session, 1) == (False, [3, 4, 5, 6])


async def test_a_session_that_does_not_migrate_takes_nothing_from_another_node() -> None:
    session, connection, _ = await joined()
    session.recovered(MESSAGE)
    session.handed_over(ROOM, None)
    assert connection.frames == []


async def test_a_session_that_was_lost_during_its_migration_leaves_its_rooms() -> None:
    session = migrating()
    session.close(CloseCode.ROOM_LOST)
    membership = FakeMembership()
    activate(session, SessionState(0, []), membership=membership)
    assert membership.told == [LeaveReason.DISCONNECTED]
    assert not session.rooms


async def test_a_session_that_was_removed_from_a_room_during_its_migration_continues_in_the_others() -> None:
    session = migrating()
    session.removed(OTHER_ROOM, Removal(LeaveReason.KICKED))
    places = {room: cast("Membership", FakeMembership()) for room in (ROOM, OTHER_ROOM)}
    session.activate(places, SessionState(0, []), [], lossy=False)
    assert list(session.rooms) == [ROOM]
    assert list(session.rooms.removed) == [RoomId(OTHER_ROOM)]


@pytest.mark.parametrize("settled", [True, False])
async def test_a_session_that_moves_while_the_broker_lacks_members_is_incomplete(*, settled: bool) -> None:
    sessions = registry()
    session, _ = opened(sessions)
    with mock.patch.object(sessions, "is_settled", return_value=settled):
        session.moved(ROOM)
    number = session.replay.last
    assert session.replay.is_complete(number) is settled


async def test_a_message_waits_for_a_connected_client_as_far_as_its_connection_has_room() -> None:
    session, connection, _ = await joined()
    connection.room = len(HEAD) + len(BODY)
    assert session.has_room(MESSAGE)
    assert not session.has_room(Relayed(HEAD, BODY + b" "))
    session.charge_waiting(5)
    assert connection.waiting == [5]
    session.congested = True
    cut(session, connection)
    assert not session.congested
    assert session.has_room(Relayed(HEAD, BODY + b" "))
    session.charge_waiting(6)
    assert connection.waiting == [5]


async def test_a_client_is_charged_for_what_it_had_missed() -> None:
    session, connection, _ = await joined()
    cut(session, connection)
    send(session, 3)
    again = FakeConnection()
    session.attach(again, 1)
    assert again.charges == [(2 * len(BODY), 0)]
