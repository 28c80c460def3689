"""Access tokens over real sockets, from the handshake to their end; and deadlines by themselves."""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from mcp_actors.auth.authentication import Authentication
from mcp_actors.auth.grants import Grant
from mcp_actors.protocol.errors import CloseCode, Forbidden, Unauthorized
from tests.auth.test_tokens import PRIVATE, jwk, rewrite, write
from tests.support.client import Client
from tests.support.loop import until
from tests.support.server import END_DEADLINE, Server
from tests.support.tokens import OPTIONAL, REQUIRED, bearer, token
from tests.support.transport import FakeLoop

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_actors.protocol.messages import TokenExpiring
    from tests.conftest import ExpectedLogs

required = pytest.mark.settings(**REQUIRED)
optional = pytest.mark.settings(**OPTIONAL)
both_endpoints = pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/mcp/"])

LIFETIME = 3.0
"""Seconds until a token expires, where a test waits for that: enough to connect and join before."""


async def by_header(server: Server, path: str, text: str) -> Client:
    return await server.client(path, Authorization=f"Bearer {text}")


async def by_query(server: Server, path: str, text: str) -> Client:
    return await server.client(f"{path}?token={text}")


async def by_subprotocol(server: Server, path: str, text: str) -> Client:
    names: Any = ["mcp-actors", f"mcp-actors.token.{text}"]
    socket = await connect(server.url(path), subprotocols=names, ping_interval=None, proxy=None)
    assert socket.subprotocol == "mcp-actors"
    client = Client(socket)
    server._clients.append(client)
    return client


async def by_message(server: Server, path: str, text: str) -> Client:
    client = await server.client(path)
    await client.say("authenticate", None, {"token": text})
    return client


WAYS = [by_header, by_query, by_subprotocol, by_message]
every_way = pytest.mark.parametrize("way", WAYS)


async def authenticated(server: Server, sub: str, path: str = "/ws/signaling/", **claims: Any) -> Client:
    client = await server.client(path, **bearer(sub, **claims))
    await client.expect("authenticated", sub=sub)
    return client


@required
@every_way
@both_endpoints
async def test_a_token_may_be_brought_in_four_ways(server: Server, way: Any, path: str) -> None:
    client = await way(server, path, token("alice", rooms=["team-*"], can=["signal"]))
    payload = (await client.expect("authenticated", sub="alice", rooms=["team-*"], can=["signal"]))["payload"]
    assert 3000 < payload["expires_in"] <= 3600
    if path == "/ws/mcp/":
        await client.say("connect", None, {})
        await client.expect("connected", user_id="alice")
        await client.say("join-room", "team-a")
        await client.expect("room-joined")
    else:
        await client.say("join", "team-a", {})
        await client.expect("joined", peer_id="alice")


@pytest.mark.parametrize("_mode", [pytest.param("required", marks=required), pytest.param("optional", marks=optional)])
@every_way
@both_endpoints
async def test_an_unusable_token_is_refused_with_a_reason_and_closes_for_good(
    server: Server, way: Any, path: str, _mode: str
) -> None:
    client = await way(server, path, token("alice", ttl=-60))
    assert "expired" in (await client.expect_error("unauthorized"))["message"]
    await client.expect_close(4502)


@optional
@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?token=", {}),
        ("", {"Authorization": "Bearer"}),
        ("", {"Authorization": "bearer  x"}),
        (f"?token={token('a')}", {"Authorization": "Bearer x"}),
        (f"?token={token('a')}&token=x", {}),
    ],
)
async def test_a_broken_token_is_never_taken_for_none(server: Server, query: str, headers: dict[str, str]) -> None:
    client = await server.client(f"/ws/signaling/{query}", **headers)
    await client.expect_error("unauthorized")
    await client.expect_close(4502)


@optional
async def test_other_authorization_headers_are_ignored(server: Server) -> None:
    client = await server.peer(Authorization="Basic YTpi")
    await client.join("r", "a")


@required
async def test_a_request_may_be_sent_right_behind_the_token(server: Server) -> None:
    client = await server.peer()
    await client.say("authenticate", None, {"token": token("alice")}, id=1)
    await client.say("join", "r", {}, id=2)
    assert (await client.expect("authenticated"))["id"] == 1
    assert (await client.expect("joined", peer_id="alice"))["id"] == 2


@required
async def test_nothing_can_be_done_without_a_required_token(server: Server) -> None:
    peer, user = await server.peer(), await server.user()
    await peer.say("join", "r", {"peer_id": "a"}, id=1)
    assert "authenticate" in (await peer.expect_error("unauthorized"))["message"]
    await peer.say("signal", "r", {"target_peer_id": "b", "data": 1})
    await peer.expect_error("unauthorized")
    await user.say("connect", None, {"user_id": "a"})
    await user.expect_error("unauthorized")
    await user.say("join-room", "r")
    await user.expect_error("not-connected")
    await peer.say("authenticate", None, {"token": token("a")})
    await peer.expect("authenticated")
    await peer.say("join", "r", {})
    await peer.expect("joined")


@pytest.mark.settings(**REQUIRED, auth_timeout=0.2)
async def test_a_client_without_a_token_is_closed_in_time(server: Server) -> None:
    late, known = await server.peer(), await authenticated(server, "alice")
    await late.expect_close(4502)
    await known.join("r", "alice")


@optional
async def test_ids_are_claims_without_an_optional_token(server: Server) -> None:
    peer, user = await server.peer(), await server.user()
    await peer.join("r", "a")
    await user.enter("r", "u")
    await user.say("authenticate", None, {"token": token("u")})
    await user.expect_error("bad-message")
    await peer.say("join", "s", {})
    assert (await peer.expect_error("bad-message"))["details"] == {"field": "payload.peer_id"}


async def test_without_authentication_a_token_in_the_handshake_is_ignored_and_authenticate_refused(
    server: Server,
) -> None:
    peer = await server.client("/ws/signaling/?token=x", Authorization="Bearer y")
    await peer.join("r", "a")
    await peer.say("authenticate", None, {"token": token("a")})
    assert (await peer.expect_error("bad-message"))["details"] == {"field": "type"}


@required
async def test_no_client_can_take_another_id_than_that_of_its_token(server: Server) -> None:
    peer, user = await authenticated(server, "mallory"), await authenticated(server, "mallory", "/ws/mcp/")
    await peer.say("join", "r", {"peer_id": "alice"})
    await peer.expect_error("forbidden")
    await peer.say("join", "r", {"peer_id": "mallory"})
    await peer.expect("joined", peer_id="mallory")
    await user.say("connect", None, {"user_id": "alice"})
    await user.expect_error("forbidden")
    await user.say("connect", None, {"user_id": "mallory"})
    await user.expect("connected", user_id="mallory")


@required
async def test_no_client_can_join_a_room_that_its_token_does_not_allow(server: Server) -> None:
    peer = await authenticated(server, "alice", rooms=["team-*", "lobby"])
    user = await authenticated(server, "alice", "/ws/mcp/", rooms=["team-*", "lobby"])
    await user.say("connect", None, {})
    await user.expect("connected")
    for room in ("other", "my-team-1", "lobby2", "team"):
        await peer.say("join", room, {}, id=room)
        assert (await peer.expect_error("forbidden"))["retryable"] is False
        await user.say("join-room", room)
        await user.expect_error("forbidden")
    for room in ("team-1", "lobby"):
        await peer.say("join", room, {})
        await peer.expect("joined")
        await user.say("join-room", room)
        await user.expect("room-joined")


@required
async def test_a_client_that_may_not_send_may_join_and_listen(server: Server) -> None:
    watcher, peer = await authenticated(server, "w", can=["message"]), await authenticated(server, "p")
    await watcher.join("r", "w")
    await peer.join("r", "p")
    await watcher.expect("peer-joined")
    await watcher.say("signal", "r", {"target_peer_id": "p", "data": 1}, id="s")
    assert "signal" in (await watcher.expect_error("forbidden"))["message"]
    await peer.say("signal", "r", {"target_peer_id": "w", "data": 2})
    await watcher.expect("signal", data=2)
    reader = await authenticated(server, "u", "/ws/mcp/", can=["signal", "moderate"])
    await reader.enter("s", "u")
    await reader.say("message", "s", {"content": "hello"})
    assert "message" in (await reader.expect_error("forbidden"))["message"]


@pytest.mark.settings(**REQUIRED, auth_audience="calls", auth_issuer="us")
async def test_a_token_for_another_audience_or_of_another_issuer_is_refused(server: Server) -> None:
    others: list[dict[str, Any]] = [{"aud": "chat", "iss": "us"}, {"aud": "calls", "iss": "them"}, {}]
    for claims in others:
        client = await server.peer(**bearer("alice", **claims))
        await client.expect_error("unauthorized")
        await client.expect_close(4502)
    await authenticated(server, "alice", aud=["calls"], iss="us")


@pytest.mark.settings(**REQUIRED, auth_leeway=0)
@both_endpoints
async def test_the_end_of_a_token_is_announced_and_then_the_connection_closed(server: Server, path: str) -> None:
    client = await authenticated(server, "alice", path, ttl=LIFETIME)
    notice = await client.expect("token-expiring")
    assert notice["payload"]["expires_in"] < LIFETIME
    await client.expect_close(4503)


@pytest.mark.settings(**REQUIRED, auth_leeway=0)
async def test_a_new_token_needs_no_new_connection(server: Server) -> None:
    a, b = await authenticated(server, "a", ttl=LIFETIME), await authenticated(server, "b")
    expired = time.time() + LIFETIME
    await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined")
    await a.expect("token-expiring")
    await a.say("authenticate", None, {"token": token("a")}, id="new")
    reply = await a.expect("authenticated", sub="a")
    assert reply["id"] == "new"
    assert reply["payload"]["expires_in"] > LIFETIME
    await until(lambda: time.time() > expired, "the end of the old token")
    assert [message["type"] for message in await a.drain("r")] == []


async def test_keys_are_replaced_while_the_server_runs(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", {"keys": [jwk("RS256", kid="old")]})
    server = Server(tmp_path, auth="required", auth_key_file=str(file))
    await server.start()
    claims = {"sub": "alice", "exp": time.time() + 60}
    old, new = [
        {"Authorization": f"Bearer {jwt.encode(claims, PRIVATE[kind], algorithm=kind, headers={'kid': kid})}"}
        for kind, kid in (("RS256", "old"), ("ES256", "new"))
    ]
    peer = await server.peer(**old)
    await peer.expect("authenticated", sub="alice")
    refused = await server.peer(**new)
    await refused.expect_close(4502)
    rewrite(file, {"keys": [jwk("ES256", kid="new")]})
    accepted = await server.peer(**new)
    await accepted.expect("authenticated", sub="alice")
    refused = await server.peer(**old)
    await refused.expect_close(4502)
    await peer.join("r", "alice")
    await server.stop()


@required
async def test_an_unusable_new_token_leaves_the_old_one_in_place(server: Server) -> None:
    peer = await authenticated(server, "alice")
    await peer.say("authenticate", None, {"token": token("alice", ttl=-60)}, id=1)
    await peer.expect_error("unauthorized")
    await peer.say("authenticate", None, {"token": token("mallory")}, id=2)
    await peer.expect_error("forbidden")
    await peer.join("r", "alice")


@required
async def test_bad_tokens_count_as_bad_messages(server: Server) -> None:
    peer = await authenticated(server, "alice")
    for _ in range(16):
        await peer.say("authenticate", None, {"token": "nonsense"})
    await peer.expect_close(4500)


@required
async def test_a_client_leaves_the_rooms_that_its_new_token_does_not_allow(server: Server) -> None:
    a, b = await authenticated(server, "a"), await authenticated(server, "b")
    for room in ("one", "two"):
        await b.join(room, "b")
        await a.join(room, "a")
        await b.expect("peer-joined")
    await a.say("authenticate", None, {"token": token("a", rooms=["two"], can=[])})
    await a.expect("authenticated")
    error = await a.expect("error", code="forbidden")
    assert error["room"] == "one"
    assert (await b.expect("peer-left", peer_id="a", reason="left"))["room"] == "one"
    await a.say("signal", "two", {"target_peer_id": "b", "data": 1})
    await a.expect_error("forbidden")
    await b.say("signal", "two", {"target_peer_id": "a", "data": 2})
    await a.expect("signal", data=2)


@pytest.mark.settings(**REQUIRED, auth_leeway=0)
async def test_a_client_whose_token_expired_can_resume_its_session_with_a_new_one(server: Server) -> None:
    a, b = await authenticated(server, "a", ttl=LIFETIME), await authenticated(server, "b")
    joined = await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined")
    await a.expect_close(4503)
    await b.say("signal", "r", {"target_peer_id": "a", "data": 1}, id=1)
    await b.expect("ack", status="queued")
    again = await authenticated(server, "a")
    await again.say("join", "r", {"resume": joined["resume"], "received": a.received})
    await again.expect("signal", data=1)
    await again.expect("joined", resumed=True, complete=True)
    assert await b.drain("r") == []


@pytest.mark.settings(**REQUIRED, auth_leeway=0)
async def test_nothing_is_replayed_from_a_room_that_the_new_token_does_not_allow(server: Server) -> None:
    a, b = await authenticated(server, "a", ttl=LIFETIME), await authenticated(server, "b")
    for room in ("x", "y"):
        joined = await a.join(room, "a")
        await b.join(room, "b")
        await a.expect("peer-joined")
    await a.expect_close(4503)
    for room, data in (("x", "secret"), ("y", 1), ("x", "secret"), ("y", 2)):
        await b.say("signal", room, {"target_peer_id": "a", "data": data}, id=room)
        await b.expect("ack", status="queued")
    again = await authenticated(server, "a", rooms=["y"])
    again.received = a.received  # so that it checks that no number is missing
    await again.say("join", "y", {"resume": joined["resume"], "received": a.received})
    await again.expect("signal", data=1)
    await again.expect("signal", data=2)
    assert (await again.expect("error", code="forbidden"))["room"] == "x"
    await again.expect("joined", resumed=True, complete=True)
    assert (await b.expect("peer-left", peer_id="a", reason="left"))["room"] == "x"


@pytest.mark.settings(**REQUIRED, auth_leeway=0)
async def test_a_user_gets_no_message_of_a_room_that_its_new_token_does_not_allow(server: Server) -> None:
    a, b = [await authenticated(server, name, "/ws/mcp/", ttl=ttl) for name, ttl in (("a", LIFETIME), ("b", 3600))]
    await a.say("connect", None, {})
    resume = (await a.expect("connected"))["payload"]["resume"]
    await a.say("join-room", "x")
    await a.expect("room-joined")
    await b.enter("x", "b")
    await a.expect("user-joined")
    await a.expect_close(4503)
    await b.say("message", "x", {"content": "secret"}, id=1)
    await b.expect("ack")
    again = await authenticated(server, "a", "/ws/mcp/", rooms=[])
    await again.say("connect", None, {"resume": resume, "received": a.received})
    assert (await again.expect("error", code="forbidden"))["room"] == "x"
    await again.expect("connected", resumed=True, complete=True)
    await b.expect("user-left", user_id="a", reason="left")


@pytest.mark.parametrize("mode", [pytest.param(0, marks=required), pytest.param(1, marks=optional)])
async def test_no_client_can_resume_the_session_of_another(server: Server, mode: int) -> None:
    a = await authenticated(server, "a")
    stolen = (await a.join("r", "a"))["resume"]
    user = await authenticated(server, "a", "/ws/mcp/")
    await user.say("connect", None, {})
    stolen_too = (await user.expect("connected"))["payload"]["resume"]
    thief = await authenticated(server, "mallory")
    await thief.say("join", "s", {"resume": stolen, "received": 0})
    await thief.expect("joined", peer_id="mallory", resumed=False)
    if mode:
        thief = await server.peer()
        await thief.say("join", "r", {"peer_id": "a", "resume": stolen, "received": 0})
        await thief.expect_error("peer-id-taken")
        thief = await server.user()
        await thief.say("connect", None, {"user_id": "a", "resume": stolen_too, "received": 0})
        await thief.expect("connected", resumed=False)
    assert await a.drain("r") == []


@required
async def test_an_authenticated_peer_replaces_its_own_connection(server: Server) -> None:
    other, old = await authenticated(server, "b"), await authenticated(server, "a")
    await other.join("r", "b")
    await old.join("r", "a")
    await other.expect("peer-joined")
    new = await authenticated(server, "a")
    joined = await new.join("r", "a")
    assert [peer["peer_id"] for peer in joined["peers"]] == ["b", "a"]
    await old.expect_close(4501)
    await other.expect("peer-left", peer_id="a", reason="replaced")
    await other.expect("peer-joined", peer_id="a", order=joined["order"])
    await other.say("signal", "r", {"target_peer_id": "a", "data": 1}, id=1)
    await new.expect("signal")
    await other.expect("ack", status="delivered")


@optional
async def test_an_authenticated_peer_takes_its_id_from_a_claimer_and_never_the_other_way(server: Server) -> None:
    claimer = await server.peer()
    await claimer.join("r", "a")
    owner = await authenticated(server, "a")
    await owner.join("r", "a")
    await claimer.expect_close(4501)
    claimer = await server.peer()
    await claimer.say("join", "r", {"peer_id": "a"})
    await claimer.expect_error("peer-id-taken")
    owner.vanish()
    await until(lambda: server.app.sessions.detached, "that the owner is away")
    await claimer.say("join", "r", {"peer_id": "a"})
    await claimer.expect_error("peer-id-taken")


class Everything(logging.Handler):
    """Keeps everything that is logged, at every level, as text."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with its attributes, except those of the test client."""
        if not record.name.startswith("websockets"):
            self.lines.append(f"{self.format(record)} {record.__dict__!r}")


@pytest.fixture
def everything() -> Any:
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


def ask(url: str, method: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=END_DEADLINE) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@required
@every_way
@pytest.mark.parametrize("ttl", [3600, -60], ids=["good", "ended"])
async def test_no_level_logs_a_token(server: Server, way: Any, ttl: float, everything: Everything) -> None:
    text = token("alice", ttl)
    for path in ("/ws/signaling/", "/ws/mcp/"):
        client = await way(server, path, text)
        await client.hear()
        with suppress(ConnectionClosed):  # the server closes one with a token that has ended
            await client.say("authenticate", None, {"token": text})
            await client.say("authenticate", None, {"token": text, "more": 1}, nonsense=1)
        await client.end()
    await until(lambda: len(server.app.connections) == 0, "all connections are closed")
    assert any("opened" in line for line in everything.lines)
    logged = "\n".join(everything.lines)
    for piece in text.split("."):
        assert piece not in logged


@required
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE", "WRONG"])
async def test_no_refused_request_logs_a_token(
    server: Server, method: str, everything: Everything, expected_logs: ExpectedLogs
) -> None:
    text = token("alice")
    expected_logs.allow("tornado.general")
    for path in ("/ws/signaling/", "/ws/mcp", "/nowhere", "/"):
        await asyncio.to_thread(ask, server.url(f"{path}?token={text}", "http"), method)
    assert everything.lines
    assert text.split(".")[2] not in "\n".join(everything.lines)


@required
async def test_a_bug_logs_no_token(
    server: Server, everything: Everything, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    expected_logs("mcp_actors.connection", "request failed")
    text = token("alice")
    client = await server.peer()
    await until(lambda: len(server.app.connections) == 1, "the connection is open")
    monkeypatch.setattr(Authentication, "watch", fail)
    await client.say("authenticate", None, {"token": text})
    await client.expect_close(1011)
    assert text.split(".")[2] not in "\n".join(everything.lines)


class FakeClient:
    """A connection that records what it is told."""

    def __init__(self) -> None:
        self.closed = False
        self.said: list[TokenExpiring] = []
        self.codes: list[CloseCode] = []

    def say(self, message: TokenExpiring) -> None:
        self.said.append(message)

    def close(self, code: CloseCode) -> None:
        self.codes.append(code)
        self.closed = True


class Fixture:
    """An authentication whose clock a test turns; a token is the number of seconds for which it is valid."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.set_forward = 0.0
        self.authentication = Authentication(
            self._verify, required=True, timeout=10, notice=60, leeway=5, clock=self._now, loop=self.loop.loop
        )

    def _now(self) -> float:
        return self.loop.now + self.set_forward

    def _verify(self, text: str) -> Grant:
        sub, _, seconds = text.rpartition(":")
        if not seconds.isdigit():
            raise Unauthorized("no")
        return Grant(sub or "alice", None, frozenset(), self._now() + int(seconds) + 5)

    def wait(self, seconds: float) -> None:
        self.loop.advance(seconds)

    def open(self, token: str | None) -> FakeClient:
        client = FakeClient()
        grant = None if token is None else self.authentication.check(token, None)
        self.authentication.watch(client, grant)
        return client


def test_a_first_token_that_is_invalid_closes_the_connection_and_a_later_one_does_not() -> None:
    check = Fixture().authentication.check
    grant = check("100", None)
    with pytest.raises(Unauthorized) as first:
        check("nonsense", None)
    with pytest.raises(Unauthorized) as later:
        check("nonsense", grant)
    assert (first.value.close_code, later.value.close_code) == (CloseCode.UNAUTHORIZED, None)


def test_a_token_of_another_sub_is_refused() -> None:
    check = Fixture().authentication.check
    grant = check("100", None)
    assert check("200", grant).sub == "alice"
    with pytest.raises(Forbidden):
        check("mallory:200", grant)
