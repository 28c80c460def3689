"""The memory of a session is counted, attached or not, and charged to the address of its latest connection."""

from __future__ import annotations

from mcp_actors.memory_budget import MESSAGE_OVERHEAD
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.outgoing import Relayed
from mcp_actors.sessions.kept import COUNT_EVERY
from tests.support.sessions import HEAD, FakeConnection, cut, joined, registry, send

BODY = b"x" * (COUNT_EVERY // 2)
MESSAGE = Relayed(HEAD, BODY)
SIZE = len(HEAD) + len(BODY) + MESSAGE_OVERHEAD


async def test_an_attached_session_counts_in_steps_and_exactly_when_it_is_asked() -> None:
    sessions = registry()
    session, _, _ = await joined(sessions)
    send(session)
    assert sessions.memory.size == 0
    session.kept.count()
    assert 0 < sessions.memory.size < 1000
    session.acknowledge(session.replay.last)
    assert sessions.memory.size == 0
    for _ in range(3):
        session.send(MESSAGE)
    assert 2 * SIZE <= sessions.memory.size <= 3 * SIZE
    session.acknowledge(session.replay.last)
    assert (sessions.memory.size, sessions.memory.holders) == (0, 0)


async def test_a_detached_session_counts_what_it_keeps_until_it_ends() -> None:
    sessions = registry()
    session, connection, _ = await joined(sessions)
    session.send(MESSAGE)
    cut(session, connection)
    assert sessions.memory.size_of(connection.charged_to) == session.kept.size == SIZE
    for _ in range(3):
        session.send(MESSAGE)
    assert sessions.memory.size > 2 * SIZE
    session.end(LeaveReason.TIMEOUT)
    assert (sessions.memory.size, session.kept.size) == (0, 0)


async def test_another_address_is_charged_when_the_client_comes_back_from_it() -> None:
    sessions = registry()
    session, connection, _ = await joined(sessions, FakeConnection("home"))
    session.send(MESSAGE)
    cut(session, connection)
    session.attach(FakeConnection("mobile"), 0)
    assert (sessions.memory.size_of("home"), sessions.memory.size_of("mobile")) == (0, SIZE)


async def test_a_session_that_pays_ends_and_its_connection_is_closed_as_slow() -> None:
    sessions = registry()
    (one, connection, told), (two, lost, told_two) = await joined(sessions), await joined(sessions)
    cut(two, lost)
    for session in (one, two):
        session.send(MESSAGE)
        session.kept.count()
        session.kept.pay()
        session.kept.pay()
    assert (one.ended, two.ended, connection.closes) == (True, True, [CloseCode.SLOW_PEER])
    assert told.told == [LeaveReason.DISCONNECTED]
    assert told_two.told == ["detached", LeaveReason.DISCONNECTED]
    assert sessions.memory.size == 0


async def test_receivers_of_a_broadcast_keep_one_body() -> None:
    sessions = registry()
    pairs = [(await joined(sessions))[:2] for _ in range(3)]
    for session, connection in pairs:
        cut(session, connection)
        session.send(MESSAGE)
    assert all(body is BODY for session, _ in pairs for body in session.kept.kept_bodies())
