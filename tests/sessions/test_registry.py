from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import NodeId, PeerId
from mcp_actors.sessions import Greeting, SessionLimits, Sessions
from tests.support.loop import until
from tests.support.sessions import (
    BODY,
    CLOCK,
    HEAD,
    LIMITS,
    MESSAGE,
    OTHER_ROOM,
    ROOM,
    FakeConnection,
    cut,
    joined,
    opened,
    reattach,
    registry,
    send,
)

if TYPE_CHECKING:
    from mcp_actors.broker import SessionRecord
    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.sessions import Session


class Recorder(MemoryBroker):
    """A broker that records what it is asked for, in order; other nodes could take sessions over."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, list[str]]] = []

    def save_session(self, note: SessionRecord) -> None:
        self.asked.append(("save", [room for room, *_ in note.rooms]))

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        self.asked.append(("join", [room]))
        super().join(room, member, capacity, moderator=moderator)


async def test_a_session_is_recorded_with_a_room_before_the_room_is_joined() -> None:
    broker = Recorder()
    node = Node(NodeId("n"), broker, room_capacity=9, max_rooms=9, max_inbox=9, max_pending_acks=9)
    session, connection = opened(Sessions(node, b"secret", SessionLimits(**LIMITS)))
    for room in (ROOM, OTHER_ROOM):
        membership = node.membership(room, Kind.PEER, PeerId("ana"), session=session.id)
        await session.join(room, membership, membership.enter(session), Greeting())
    assert broker.asked[:2] == [("save", [ROOM]), ("join", [ROOM])]
    assert broker.asked.index(("save", [ROOM, OTHER_ROOM])) < broker.asked.index(("join", [OTHER_ROOM]))
    assert sum(b'"type":"joined"' in frame for frame in connection.frames) == 2


def test_a_token_finds_its_session_and_no_other() -> None:
    sessions = registry()
    one, other = opened(sessions)[0], opened(sessions)[0]
    assert sessions.find(sessions.token(one), Kind.PEER, "") is one
    assert sessions.find(sessions.token(other), Kind.PEER, "") is other
    assert sessions.token(one) != sessions.token(other)
    assert list(sessions.by_id.values()) == [one, other]


def test_a_token_sealed_with_another_secret_finds_nothing() -> None:
    sessions, other = registry(b"secret"), registry(b"another")
    session, _ = opened(sessions)
    assert sessions.find(other.token(session), Kind.PEER, "") is None


async def test_a_token_of_another_process_finds_nothing_where_sessions_are_not_shared() -> None:
    sessions, other = registry(), registry()
    assert await other.resume(sessions.token(opened(sessions)[0]), Kind.PEER, "", 0, {}) is None


def test_a_token_is_of_no_use_to_another_kind_or_identity() -> None:
    sessions = registry()
    session = sessions.open(Kind.USER, "uma", FakeConnection())
    token = sessions.token(session)
    assert sessions.find(token, Kind.USER, "uma") is session
    for kind, identity in ((Kind.USER, "eve"), (Kind.USER, ""), (Kind.PEER, "uma"), (Kind.PEER, "")):
        assert sessions.find(token, kind, identity) is None


def test_earlier_tokens_are_accepted_until_the_client_acknowledges_the_latest() -> None:
    sessions = registry()
    session, _ = opened(sessions)
    tokens = [sessions.token(session)]
    for _ in range(2):  # the client may have lost the replies with the later tokens
        session.attach(FakeConnection(), 0)
        tokens.append(sessions.token(session))
    assert len(set(tokens)) == 3
    for token in tokens:
        assert sessions.find(token, Kind.PEER, "") is session
    send(session)  # the reply with the token
    session.token_sent()
    session.acknowledge(0)
    assert sessions.find(tokens[0], Kind.PEER, "") is session
    session.acknowledge(1)
    assert [sessions.find(token, Kind.PEER, "") for token in tokens] == [None, None, session]


def test_the_token_of_a_session_that_has_ended_finds_nothing() -> None:
    sessions = registry()
    session, _ = opened(sessions)
    token = sessions.token(session)
    session.end(LeaveReason.DISCONNECTED)
    assert sessions.find(token, Kind.PEER, "") is None
    assert not sessions.by_id


async def test_a_session_that_another_node_has_claimed_is_not_found() -> None:
    sessions = registry()
    session, _, _ = await joined(sessions)
    token = sessions.token(session)
    session.moved(ROOM)
    assert sessions.find(token, Kind.PEER, "") is None
    session.cutover_complete(ROOM)
    await until(lambda: not sessions.by_id, "that the session is handed over")


async def test_a_session_ends_when_its_client_means_to_leave() -> None:
    sessions = registry()
    session, connection, membership = await joined(sessions)
    session.connection_lost(connection, LeaveReason.DISCONNECTED, final=True)
    assert membership.told == [LeaveReason.DISCONNECTED]
    assert session.ended
    assert not sessions.by_id


async def test_a_session_in_no_room_ends_with_its_connection() -> None:
    session, connection = opened()
    cut(session, connection)
    assert session.ended


async def detach(sessions: Sessions, *addresses: str) -> list[Session]:
    """Detach a session of each address, in this order."""
    found = []
    for address in addresses:
        session, connection, _ = await joined(sessions, FakeConnection(address))
        cut(session, connection)
        found.append(session)
    return found


async def test_when_too_many_sessions_wait_the_address_with_most_of_them_pays_and_no_other() -> None:
    sessions = registry(max_detached=4)
    one, *strangers = await detach(sessions, "ana's", "mallory's", "mallory's", "mallory's")
    two, three = await detach(sessions, "ben's", "cleo's")
    assert [session.ended for session in strangers] == [True, True, False]
    assert not any(session.ended for session in (one, two, three))
    reattach(two, 0)
    [four] = await detach(sessions, "ben's")
    assert (four.ended, len(sessions.detached)) == (False, 4)


async def test_the_oldest_detached_session_of_an_address_ends_when_more_than_its_share_wait() -> None:
    sessions = registry(max_detached=9, max_address_detached=2)
    first, other, second, third = await detach(sessions, "ana's", "ben's", "ana's", "ana's")
    assert [session.ended for session in (first, other, second, third)] == [True, False, False, False]
    assert set(sessions.detached) == {other, second, third}


async def test_a_session_that_comes_back_from_another_address_is_charged_to_that() -> None:
    sessions = registry(max_address_detached=1)
    [session] = await detach(sessions, "home")
    session.attach(connection := FakeConnection("mobile"), 0)
    cut(session, connection)
    await detach(sessions, "home")
    assert not session.ended
    await detach(sessions, "mobile")
    assert session.ended


async def test_detached_sessions_end_after_the_resume_window_and_no_others() -> None:
    window = 0.05
    sessions = registry(window=window)
    late, late_connection, late_told = await joined(sessions)
    back, back_connection, back_told = await joined(sessions)
    again, again_connection, again_told = await joined(sessions)
    here, _, here_told = await joined(sessions)
    loop = asyncio.get_running_loop()
    since = loop.time()
    for session, connection in ((late, late_connection), (back, back_connection), (again, again_connection)):
        cut(session, connection)
    back.attach(FakeConnection(), 0)
    await asyncio.sleep(0.02)
    again_connection = FakeConnection()
    again.attach(again_connection, 0)
    detached_again = loop.time()
    cut(again, again_connection)
    await ended(late)
    assert loop.time() - since >= window - CLOCK
    await ended(again)
    assert loop.time() - detached_again >= window - CLOCK
    assert late_told.told == ["detached", LeaveReason.TIMEOUT]
    assert again_told.told == ["detached", "attached", "detached", LeaveReason.TIMEOUT]
    assert (back_told.told, here_told.told) == (["detached", "attached"], [])
    assert not back.ended
    assert not here.ended


async def ended(session: Session) -> None:
    await until(lambda: session.ended, "that the session ends")


async def test_a_node_that_stops_ends_the_detached_sessions() -> None:
    sessions = registry()
    session, connection, membership = await joined(sessions)
    cut(session, connection)
    await sessions.stop()
    assert session.ended
    assert membership.told == ["detached", LeaveReason.DISCONNECTED]


async def test_without_a_resume_window_there_are_no_numbers_and_no_tokens() -> None:
    sessions = registry(window=0)
    session, connection, membership = await joined(sessions)
    assert sessions.token(session) == ""
    assert sessions.find(registry().token(session), Kind.PEER, "") is None
    assert not sessions.by_id
    send(session)
    assert connection.frames == [b"{" + HEAD + BODY]
    connection.close(CloseCode.GOING_AWAY)
    cut(session, connection)
    assert membership.told == [LeaveReason.DISCONNECTED]
    assert not session.send(MESSAGE)
