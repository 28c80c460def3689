"""One connection: which ends are final, and what its pings say. The contract has what every adapter must do."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from mcp_actors.auth.grants import Permission
from mcp_actors.compiled import is_compiled
from mcp_actors.connection.connection import MAX_RUNNING_REQUESTS, Connection
from mcp_actors.connection.environment import Environment
from mcp_actors.environment import load
from mcp_actors.limits import connection_bounds, ip_limits
from mcp_actors.protocol.codec import JSON
from mcp_actors.protocol.errors import BadMessage, CloseCode, NotInRoom
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.protocol.messages import Join, JoinPayload, Reconnect, ReconnectPayload
from tests.connection.test_connections import watched
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.sessions import FakeMembership, join, registry
from tests.support.socket import JOIN, Socket
from tests.support.transport import FakeLoop, FakeTransport
from tests.ws.test_frames import CLOSING, Raw, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mcp_actors.connection.connection import Handler
    from mcp_actors.protocol.messages import Request
    from mcp_actors.protocol.outgoing import Dialect
    from mcp_actors.sessions import Session
    from tests.conftest import ExpectedLogs
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
    CloseCode.FORBIDDEN,
    CloseCode.TOKEN_REVOKED,
    CloseCode.IDLE,
}
"""Close codes of the server that end the session."""

REQUEST = Join(room=RoomId("r"), payload=JoinPayload(), id="j")
RECONNECT = Reconnect(payload=ReconnectPayload(5))


class FakeEndpoint:
    """An endpoint whose every request is a join, handled by the test."""

    permission = Permission.SIGNAL
    dialect: Dialect = JSON

    def __init__(self) -> None:
        self.name = "test"
        self.handled: list[bytes] = []
        self.error: Exception | None = None
        self.handlers: Mapping[type[Request], Handler] = {Join: self._handle}
        self.decode: Callable[[bytes], Request] = lambda _frame: REQUEST

    def opened(self, connection: Connection, token: str | None, admission: object = None) -> None:
        """Ask for nothing."""

    def _handle(self, _connection: Connection, _request: Join, frame: bytes) -> None:
        self.handled.append(frame)
        if self.error is not None:
            raise self.error


class EndedSession:
    """A session that records how its connection was lost."""

    def __init__(self) -> None:
        self.losses: list[tuple[LeaveReason, bool]] = []

    def connection_lost(self, _connection: Connection, reason: LeaveReason, *, final: bool) -> None:
        self.losses.append((reason, final))


class Fixture:
    """A connection with everything around it."""

    def __init__(self, directory: Path, **changed: Any) -> None:
        settings = load(overrides=changed, environ={}, directory=directory)
        self.loop, self.transport, self.endpoint = FakeLoop(), FakeTransport(), FakeEndpoint()
        self.connections = watched(0)
        each = settings.connections
        bounds = connection_bounds(each)
        environment = Environment(self.connections, ip_limits(each, settings.addresses), bounds)
        self.connection = Connection(environment, self.endpoint, self.transport, "192.0.2.1", self.loop.loop)
        self.transport.connection = self.connection
        self.session = EndedSession()

    def with_session(self) -> Connection:
        """Give the connection a session that records its end."""
        if is_compiled():
            pytest.skip("a compiled connection takes no double of a session")
        self.connection.session = cast("Session", self.session)
        return self.connection


@pytest.fixture
def fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Fixture:
    """A connection on a transport double."""
    marker = request.node.get_closest_marker("settings")
    return Fixture(tmp_path, **(marker.kwargs if marker else {}))


@pytest.mark.parametrize("code", CloseCode)
async def test_a_close_by_the_server_is_final_for_some_codes(fixture: Fixture, code: CloseCode) -> None:
    connection = fixture.with_session()
    connection.close(code, LeaveReason.TIMEOUT)
    connection.close(CloseCode.INTERNAL)
    connection.closing(1000)
    assert fixture.transport.closed == (code, code.reason)
    assert fixture.session.losses == [(LeaveReason.TIMEOUT, code in FINAL)]
    assert connection.closed
    assert not connection.send(b"", b"x")


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1005, 1006, 3000, 4999])
async def test_a_close_by_the_client_is_final_if_it_is_deliberate(fixture: Fixture, code: int | None) -> None:
    connection = fixture.with_session()
    connection.closing(code)
    connection.lost(code)
    assert fixture.session.losses == [(LeaveReason.DISCONNECTED, code in (None, 1000, 1001))]
    assert len(fixture.connections) == 0


async def test_a_lost_connection_is_never_final(fixture: Fixture) -> None:
    fixture.with_session().lost(None)
    assert fixture.session.losses == [(LeaveReason.DISCONNECTED, False)]


@pytest.mark.settings(max_outbox_messages=1)
async def test_a_client_that_does_not_keep_up_is_closed_and_its_session_waits(fixture: Fixture) -> None:
    connection = fixture.with_session()
    connection.writable(False)
    assert connection.send(b"", b"x")
    assert not connection.send(b"", b"x")
    assert fixture.transport.closed == (CloseCode.SLOW_PEER, "slow-peer")
    assert fixture.session.losses == [(LeaveReason.DISCONNECTED, False)]


async def test_a_message_is_part_of_the_session_if_there_is_one(fixture: Fixture) -> None:
    connection = fixture.connection
    connection.say(RECONNECT)
    connection.session = registry().open(Kind.PEER, "", connection)
    connection.say(RECONNECT)
    assert [b'"delivery":1,' in frame for frame in fixture.transport.sent] == [False, True]


async def test_a_ping_carries_the_number_of_the_last_message_that_was_sent(fixture: Fixture) -> None:
    connection, transport = fixture.connection, fixture.transport
    transport.answers_pings = False
    connection.ping()
    connection.session = registry().open(Kind.PEER, "", connection)
    connection.say(RECONNECT)
    connection.ping()
    connection.writable(False)
    connection.say(RECONNECT)
    connection.ping()
    connection.writable(True)
    connection.ping()
    assert [data.partition(b".")[0] for data in transport.pings] == [b"0", b"1", b"1", b"2"]
    assert len(set(transport.pings)) == 4


async def test_the_idle_check_sees_whether_the_client_is_in_a_room(fixture: Fixture) -> None:
    connection = fixture.connection
    assert not connection.in_room
    connection.session = registry().open(Kind.PEER, "", connection)
    assert not connection.in_room
    await join(connection.session, FakeMembership())
    assert connection.in_room


async def test_the_heartbeat_hears_once_of_what_arrived(fixture: Fixture) -> None:
    assert [fixture.connection.take_heard() for _ in range(2)] == [True, False]
    fixture.transport.receive(b"{}")
    assert fixture.connection.take_heard()


@pytest.mark.settings(connection_message_rate=10, connection_message_burst=1, max_slowed_seconds=0)
async def test_a_client_that_is_not_read_from_counts_as_heard(fixture: Fixture) -> None:
    fixture.transport.receive(b"1")
    fixture.transport.receive(b"2")
    assert fixture.transport.paused
    assert [fixture.connection.take_heard() for _ in range(3)] == [True, True, True]


async def test_a_bug_is_logged_answered_and_closes(fixture: Fixture, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "request failed")
    fixture.endpoint.error = ValueError("a bug")
    fixture.transport.receive(b"{}")
    [message] = [json.loads(frame) for frame in fixture.transport.sent]
    assert (message["payload"]["code"], message["id"], message["room"]) == ("internal", "j", "r")
    assert "a bug" not in str(message)
    assert fixture.transport.closed == (CloseCode.INTERNAL, "internal")


@pytest.mark.settings(max_bad_messages=4)
async def test_bad_messages_close_if_they_come_fast_and_never_if_they_come_slowly(fixture: Fixture) -> None:
    fixture.endpoint.error = BadMessage("no")
    for _ in range(100):
        fixture.loop.advance(2.6)
        fixture.transport.receive(b"{}")
    assert fixture.transport.closed is None
    for _ in range(3):
        assert fixture.transport.closed is None
        fixture.transport.receive(b"{}")
    assert fixture.transport.closed == (CloseCode.BAD_MESSAGE, "bad-message")


@pytest.mark.settings(max_bad_messages=2)
async def test_a_valid_message_starts_the_count_of_bad_messages_anew(fixture: Fixture) -> None:
    for _ in range(10):
        fixture.endpoint.error = BadMessage("no")
        fixture.transport.receive(b"{}")
        fixture.endpoint.error = None
        fixture.transport.receive(b"{}")
    assert fixture.transport.closed is None


async def test_a_client_with_a_request_in_the_background_is_read_from_in_its_next_turn(fixture: Fixture) -> None:
    done = asyncio.get_running_loop().create_future()
    fixture.connection.run(done, REQUEST)
    fixture.transport.receive(b"{}")
    assert fixture.endpoint.handled == []
    fixture.loop.advance(0.25)
    assert fixture.endpoint.handled == [b"{}"]
    done.set_exception(NotInRoom("no"))
    await until(lambda: fixture.transport.sent, "its error is answered")
    error = json.loads(fixture.transport.sent[0])
    assert (error["id"], error["room"], error["payload"]["code"]) == ("j", "r", "not-in-room")


async def test_a_request_that_pauses_reading_is_done_before_the_next_is_read(fixture: Fixture) -> None:
    done = asyncio.get_running_loop().create_future()
    fixture.connection.run(done, REQUEST, pause=True)
    fixture.transport.receive(b"{}")
    assert fixture.endpoint.handled == []
    done.set_result(None)
    await until(lambda: fixture.endpoint.handled, "the next is read")


async def test_a_client_with_many_requests_in_the_background_is_not_read_from_until_one_is_done(
    fixture: Fixture,
) -> None:
    loop = asyncio.get_running_loop()
    running = [loop.create_future() for _ in range(MAX_RUNNING_REQUESTS + 1)]
    for future in running:
        fixture.connection.run(future, REQUEST)
    fixture.loop.advance(0.25)
    assert fixture.transport.paused
    for future in running:
        future.set_result(None)
    await until(lambda: not fixture.transport.paused, "it is read again")


@pytest.mark.settings(connection_message_rate=10, connection_message_burst=1, max_slowed_seconds=0)
async def test_a_slowed_client_is_read_again_when_its_buckets_allow_it(fixture: Fixture) -> None:
    for number in range(4):
        fixture.transport.receive(b"%d" % number)
    seen = []
    for _ in range(8):
        seen.append(len(fixture.endpoint.handled))
        fixture.loop.advance(0.05)
    assert seen == sorted(seen)
    assert (seen[0], len(fixture.endpoint.handled)) == (2, 4)


@pytest.mark.settings(connection_message_rate=10, connection_message_burst=1, max_slowed_seconds=0)
async def test_a_pause_ends_with_its_connection(fixture: Fixture) -> None:
    fixture.transport.receive(b"1")
    fixture.transport.receive(b"2")
    assert fixture.transport.paused
    fixture.connection.close(CloseCode.GOING_AWAY)
    fixture.transport.receive(b"late")
    assert [fixture.transport.paused] == [False]
    assert fixture.endpoint.handled == [b"1", b"2"]


async def test_a_connection_that_is_closed_for_a_flood_stays_paused(fixture: Fixture) -> None:
    fixture.connection.close(CloseCode.RATE_LIMITED)
    assert fixture.transport.paused


async def watched_peer(server: Server) -> tuple[Client, Client]:
    """A peer `a`, and one in its room that is told who is away."""
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


async def test_a_close_frame_without_a_code_is_deliberate(server: Server) -> None:
    socket, watcher = await watched_socket(server)
    socket.writer.write(Raw(0x88, b"").encode())
    await watcher.expect("peer-left", peer_id="a", reason="disconnected")
    await socket.close()


@pytest.mark.parametrize("code", [1002, 1003, 1008, 1011, 1012, 3000, 4000, 4500, 4999])
async def test_the_session_of_a_client_that_closes_with_another_code_waits(server: Server, code: int) -> None:
    a, watcher = await watched_peer(server)
    await a.close(code)
    await watcher.expect("peer-away", peer_id="a")
    assert await watcher.drain("r") == []


async def test_the_session_of_a_client_that_ends_its_stream_waits(server: Server) -> None:
    socket, watcher = await watched_socket(server)
    await socket.close()
    await watcher.expect("peer-away", peer_id="a")


async def test_the_session_of_a_client_that_breaks_the_protocol_waits(server: Server) -> None:
    socket, watcher = await watched_socket(server)
    socket.writer.write(CLOSING["reserved bit 1"][0])
    await watcher.expect("peer-away", peer_id="a")
    await socket.close()


@pytest.mark.settings(ping_interval=0.1, max_session_messages=5)
async def test_a_pong_says_which_messages_arrived(server: Server) -> None:
    socket, watcher = await watched_socket(server)
    for number in range(20):
        await watcher.say("signal", "r", {"target_peer_id": "a", "data": number})
    last = b""
    async with asyncio.timeout(DEADLINE):
        while not last.startswith(b"21."):  # its ping comes behind the answer to the join and the signals
            first, payload = await socket.frame()
            if first == 0x89:
                last = payload
                socket.writer.write(Raw(0x8A, payload).encode())
    await socket.close()


@pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/mcp/"])
async def test_messages_that_wait_for_a_join_are_counted_until_it_is_done(server: Server, path: str) -> None:
    client = await server.client(path)
    if path == "/ws/mcp/":
        await client.say("connect", None, {"user_id": "u"})
        await client.expect("connected")
        join, message = {"type": "join-room", "payload": {}}, {"type": "message", "payload": {"content": "x" * 50_000}}
    else:
        join = {"type": "join", "payload": {"peer_id": "a"}}
        message = {"type": "signal", "payload": {"target_peer_id": "b", "data": "x" * 50_000}}
    [connection] = cast("list[Connection]", list(server.app.connections))
    for frame in (join, message, message):
        connection.frame_received(json.dumps({"room": "r", **frame}).encode())
    assert server.app.memory.size > 100_000
    await until(lambda: server.app.memory.size < 10_000, "the join is done")


@pytest.mark.settings(ping_interval=20)
async def test_an_incomplete_message_is_counted_before_the_next_ping(server: Server) -> None:
    socket = await Socket.open(server)
    socket.writer.write(Raw(0x81, b"x" * 250_000).encode()[:-1])
    await until(lambda: server.app.memory.size_of("127.0.0.1") > 130_000, "it is counted")
    await socket.close()
    await until(lambda: server.app.memory.size == 0, "it is forgotten")
