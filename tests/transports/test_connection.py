"""One connection and its session: which ends are for good, and after which the session waits; on both frame loops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from tornado.websocket import WebSocketClosedError

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import NodeId, RoomId
from mcp_actors.sessions import Session, Sessions
from mcp_actors.transports.connection import Connection
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.socket import JOIN, Socket
from tests.transports.test_frames import CLOSING, Raw, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.client import Client
    from tests.support.server import Server

FINAL = {
    CloseCode.GOING_AWAY,
    CloseCode.ROOM_LOST,
    CloseCode.BAD_MESSAGE,
    CloseCode.REPLACED,
    CloseCode.UNAUTHORIZED,
    CloseCode.KICKED,
    CloseCode.ROOM_CLOSED,
    CloseCode.IDLE,
}
"""Close codes of the server after which there is nothing to come back to."""


async def watched(server: Server) -> tuple[Client, Client]:
    """A peer `a`, and one in its room that is told of those who are away."""
    watcher, a = await server.peer(), await server.peer()
    await watcher.join("r", "watcher", presence=True)
    await a.join("r", "a")
    await watcher.expect("peer-joined", peer_id="a")
    return a, watcher


async def watched_socket(server: Server) -> tuple[Socket, Client]:
    """The same, with an `a` that speaks byte for byte."""
    watcher = await server.peer()
    await watcher.join("r", "watcher", presence=True)
    socket = await Socket.open(server, text(JOIN % b"a"))
    await socket.frame()
    await watcher.expect("peer-joined", peer_id="a")
    return socket, watcher


# ------------------------------------------------------------------------------------------------------ on real sockets


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_client_that_says_good_bye_leaves_at_once(server: Server, code: int) -> None:
    a, watcher = await watched(server)
    await a.socket.close(code)
    await watcher.expect("peer-left", peer_id="a", reason="disconnected")


async def test_a_close_frame_without_a_code_is_a_good_bye_that_tornados_loop_cannot_tell(server: Server) -> None:
    socket, watcher = await watched_socket(server)
    socket.writer.write(Raw(0x88, b"").encode())
    if server.app._settings.frame_loop == "fast":
        await watcher.expect("peer-left", peer_id="a", reason="disconnected")
    else:
        await watcher.expect("peer-away", peer_id="a")
    await socket.close()


@pytest.mark.parametrize("code", [1002, 1003, 1008, 1011, 1012, 3000, 4000, 4500, 4999])
async def test_a_client_that_closes_with_another_code_may_come_back(server: Server, code: int) -> None:
    a, watcher = await watched(server)
    await a.socket.close(code)
    await watcher.expect("peer-away", peer_id="a")
    assert await watcher.drain("r") == []


async def test_a_client_whose_connection_is_cut_may_come_back(server: Server) -> None:
    a, watcher = await watched(server)
    a.vanish()
    await watcher.expect("peer-away", peer_id="a")


async def test_a_client_that_hangs_up_without_a_close_frame_may_come_back(server: Server) -> None:
    socket, watcher = await watched_socket(server)
    await socket.close()
    await watcher.expect("peer-away", peer_id="a")


async def test_a_client_that_breaks_the_rules_may_come_back(server: Server) -> None:
    socket, watcher = await watched_socket(server)
    socket.writer.write(CLOSING["reserved bit 1"][0])
    await watcher.expect("peer-away", peer_id="a")
    await socket.close()


@pytest.mark.settings(ping_interval=0.1)
async def test_a_client_that_answers_no_ping_may_come_back(server: Server) -> None:
    a, watcher = await watched(server)
    a.stop_reading()
    await watcher.expect("peer-away", peer_id="a")
    assert await watcher.drain("r") == []


@pytest.mark.settings(max_outbox_bytes=200_000, max_outbox_messages=50)
async def test_a_client_that_does_not_read_may_come_back_and_what_it_did_not_read_waits(server: Server) -> None:
    a, watcher = await watched(server)
    a.stop_reading()
    away = asyncio.ensure_future(watcher.expect("peer-away", peer_id="a"))
    async with asyncio.timeout(DEADLINE * 4):
        while not away.done():
            await watcher.say("signal", "r", {"target_peer_id": "a", "data": "x" * 60_000})
            await asyncio.sleep(0)
    await away
    await watcher.say("signal", "r", {"target_peer_id": "a", "data": 1}, id=1)
    await watcher.expect("ack", status="queued")


@pytest.mark.settings(max_bad_messages=1)
async def test_a_client_that_sends_nonsense_is_not_waited_for(server: Server) -> None:
    a, watcher = await watched(server)
    await a.send("nonsense")
    await a.expect_error("bad-message")
    await a.expect_close(4500)
    await watcher.expect("peer-left", peer_id="a", reason="disconnected")


async def test_a_pong_brings_back_which_frames_were_written_before_its_ping(server: Server) -> None:
    socket, watcher = await watched_socket(server)
    connection: Any
    (connection,) = (one for one in server.app.connections._open if _is_in(one, "a"))
    session: Session = connection.session
    connection.ping()
    assert await socket.frame() == (0x89, b"1")
    await watcher.say("signal", "r", {"target_peer_id": "a", "data": 1})
    await socket.frame()
    connection.ping()
    assert await socket.frame() == (0x89, b"2")
    for pong, kept in ((b"", 2), (b"x", 2), (b"-1", 2), (b"\xc2\xb2", 2), (b"1", 1), (b"0", 1), (b"2", 0)):
        socket.writer.write(Raw(0x8A, pong).encode())
        await watcher.drain("r")
        await until(lambda kept=kept: len(session._kept or ()) == kept, f"{kept} frames after {pong!r}")  # type: ignore[misc]
    await socket.close()


def _is_in(connection: Any, peer_id: str) -> bool:
    session = connection.session
    return session is not None and session.is_in("r") and session.may_be("r", peer_id)


# ----------------------------------------------------------------------------------------------------- without sockets


class FakeSocket:
    """What a connection needs of a Tornado handler and of its protocol."""

    def __init__(self) -> None:
        self.request = type("Request", (), {"remote_ip": "192.0.2.1"})
        self.written: list[bytes] = []
        self.pings: list[bytes] = []
        self.closes: list[tuple[int, str]] = []
        self.gone = False
        self.aborts = 0

    def write_message(self, frame: bytes) -> asyncio.Future[None]:
        if self.gone:
            raise WebSocketClosedError
        self.written.append(frame)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def ping(self, data: bytes) -> None:
        if self.gone:
            raise WebSocketClosedError
        self.pings.append(data)

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))

    def on_connection_close(self) -> None:
        self.aborts += 1


class LostSession:
    """A session that remembers how its connection was lost."""

    def __init__(self) -> None:
        self.number = 0
        self.losses: list[tuple[Connection, LeaveReason, bool]] = []

    def lost(self, wire: Connection, reason: LeaveReason, *, final: bool) -> None:
        self.losses.append((wire, reason, final))


def connect(max_frames: int = 100) -> tuple[Connection, FakeSocket]:
    socket = FakeSocket()
    fake = cast("Any", socket)
    return Connection(fake, fake, max_frames=max_frames, max_bytes=1000), socket


def connect_with_session(max_frames: int = 100) -> tuple[Connection, FakeSocket, LostSession]:
    connection, socket = connect(max_frames)
    session = LostSession()
    connection.session = cast("Session", session)
    return connection, socket, session


def a_session(connection: Connection) -> Session:
    node = Node(NodeId("n"), MemoryBroker(), room_capacity=9, max_rooms=9, max_inbox=9, max_unanswered=9)
    sessions = Sessions(node, b"secret", window=30, max_frames=10, max_bytes=1000, max_rooms=1, max_away=1)
    connection.session = sessions.open(Kind.PEER, "", connection)
    return connection.session


@pytest.mark.parametrize("code", CloseCode)
def test_the_server_waits_for_those_it_closes_but_where_there_is_nothing_to_come_back_to(code: CloseCode) -> None:
    connection, socket, session = connect_with_session()
    connection.close(code, LeaveReason.TIMEOUT)
    assert socket.closes == [(code, code.reason)]
    assert session.losses == [(connection, LeaveReason.TIMEOUT, code in FINAL)]
    assert connection.session is None
    connection.close(CloseCode.INTERNAL)
    connection.end(LeaveReason.DISCONNECTED, final=True)
    assert len(socket.closes) == len(session.losses) == 1


@pytest.mark.parametrize(
    ("ended", "final"),
    [
        *((lambda one, code=code: one.said_close(code), True) for code in (None, 1000, 1001)),
        *((lambda one, code=code: one.said_close(code), False) for code in (1002, 1005, 1006, 3000, 4999)),
        *((lambda one, code=code: one.gone(code), True) for code in (1000, 1001)),
        *((lambda one, code=code: one.gone(code), False) for code in (None, 1002, 1006, 3000, 4999)),
    ],
)
def test_a_client_means_to_go_if_it_says_so(ended: Callable[[Connection], None], final: bool) -> None:
    connection, _, session = connect_with_session()
    ended(connection)
    assert session.losses == [(connection, LeaveReason.DISCONNECTED, final)]
    assert connection.closed
    assert not connection.put(b"x")


async def test_a_pause_lasts_as_long_as_it_should_and_ends_with_its_connection() -> None:
    connection, _ = connect()
    async with asyncio.timeout(DEADLINE):
        await connection.pause(0.01)
        pause = asyncio.ensure_future(connection.pause(3600))
        await until(lambda: connection._pause is not None, "the pause has begun")
        assert not pause.done()
        connection.close(CloseCode.GOING_AWAY)
        await pause
        await connection.pause(3600)


async def test_it_is_in_no_room_from_when_it_was_first_found_so_until_it_joins() -> None:
    connection, _ = connect()
    assert [connection.roomless(now) for now in (10.0, 25.0)] == [0.0, 15.0]
    connection.joins()
    assert [connection.roomless(now) for now in (30.0, 40.0)] == [0.0, 10.0]
    session = a_session(connection)
    session._memberships[RoomId("r")] = cast("Any", None)
    assert [connection.roomless(now) for now in (50.0, 60.0)] == [0.0, 0.0]
    session._memberships.clear()
    assert [connection.roomless(now) for now in (70.0, 75.0)] == [0.0, 5.0]


async def test_a_ping_carries_the_number_of_the_last_frame_that_is_written() -> None:
    connection, socket = connect()
    connection.ping()
    connection.put(b'{"type":"error"}')
    session = a_session(connection)
    session.put(b'{"type":"x"}')
    connection.ping()
    connection.on_writable(False)
    connection.put(b'{"type":"no frame of the session"}')
    session.put(b'{"type":"x"}')
    connection.ping()
    connection.on_writable(True)
    connection.ping()
    assert socket.pings == [b"0", b"1", b"0", b"2"]
    assert len(session._kept or ()) == 2
    connection.ponged(b"1")
    assert len(session._kept or ()) == 1


async def test_a_ping_on_a_socket_that_is_gone_is_no_good_bye() -> None:
    connection, socket, session = connect_with_session()
    socket.gone = True
    connection.ping()
    assert session.losses == [(connection, LeaveReason.DISCONNECTED, False)]


async def test_what_is_said_is_part_of_the_session_if_there_is_one() -> None:
    connection, socket = connect()
    connection.say(b'{"type":"error"}')
    a_session(connection)
    connection.say(b'{"type":"error"}')
    assert socket.written == [b'{"type":"error"}', b'{"delivery":1,"type":"error"}']


async def test_a_client_that_does_not_keep_up_is_closed_and_waited_for() -> None:
    connection, socket, session = connect_with_session(max_frames=1)
    connection.on_writable(False)
    assert connection.put(b"x")
    assert not connection.put(b"x")
    assert socket.closes == [(CloseCode.SLOW_PEER, "slow-peer")]
    assert session.losses == [(connection, LeaveReason.DISCONNECTED, False)]


def test_what_is_heard_is_noted_until_it_is_forgotten() -> None:
    connection, socket = connect()
    heard = [connection.heard]
    connection.heard = False
    heard.append(connection.heard)
    connection.ponged(b"")
    heard.append(connection.heard)
    assert heard == [True, False, True]
    connection.abort()
    assert socket.aborts == 1
    connection.forget()
    assert not hasattr(connection, "_socket")
