"""Who connections are: tokens over real sockets, in each way they may come, until they end."""

from __future__ import annotations

import asyncio
import json
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

from mcp_actors.protocol.errors import CloseCode, Unauthorized
from mcp_actors.protocol.grants import Grant
from mcp_actors.transports.admission import LONGEST, TICK, Admission
from tests.support.client import Client
from tests.support.loop import until
from tests.support.server import Server
from tests.support.tokens import OPTIONAL, REQUIRED, bearer, token
from tests.test_tokens import PRIVATE, jwk, rewrite, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ExpectedLogs

required = pytest.mark.settings(**REQUIRED)
optional = pytest.mark.settings(**OPTIONAL)
both_endpoints = pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/mcp/"])


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


# ----------------------------------------------------------------------------------------------------- ways to bring it


@required
@every_way
@both_endpoints
async def test_a_token_comes_in_four_ways_and_says_who_it_is(server: Server, way: Any, path: str) -> None:
    client = await way(server, path, token("alice", rooms=["team-*"], can=["signal"]))
    payload = (await client.expect("authenticated", sub="alice", rooms=["team-*"], can=["signal"]))["payload"]
    assert 55 <= payload["expires_in"] <= 60
    if path == "/ws/mcp/":
        await client.say("connect", None, {})
        await client.expect("connected", user_id="alice")
        await client.say("join-room", "team-a")
        await client.expect("room-joined")
    else:
        await client.say("join", "team-a", {})
        await client.expect("joined", peer_id="alice")


@pytest.mark.parametrize("mode", [pytest.param("required", marks=required), pytest.param("optional", marks=optional)])
@every_way
@both_endpoints
async def test_a_token_that_cannot_be_used_is_refused_with_why_then_closed_for_good(
    server: Server, way: Any, path: str, mode: str
) -> None:
    assert server.app._settings.auth == mode
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
async def test_a_broken_token_never_makes_somebody_unknown(server: Server, query: str, headers: dict[str, str]) -> None:
    client = await server.client(f"/ws/signaling/{query}", **headers)
    await client.expect_error("unauthorized")
    await client.expect_close(4502)


@optional
async def test_what_is_no_token_is_let_be(server: Server) -> None:
    client = await server.peer(Authorization="Basic YTpi")
    await client.join("r", "a")


@required
async def test_a_request_may_come_right_behind_the_token(server: Server) -> None:
    client = await server.peer()
    await client.say("authenticate", None, {"token": token("alice")}, id=1)
    await client.say("join", "r", {}, id=2)
    assert (await client.expect("authenticated"))["id"] == 1
    assert (await client.expect("joined", peer_id="alice"))["id"] == 2


@required
async def test_without_a_token_nothing_can_be_done_where_it_is_required(server: Server) -> None:
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
async def test_who_brings_no_token_in_time_is_closed(server: Server) -> None:
    late, known = await server.peer(), await authenticated(server, "alice")
    await late.expect_close(4502)
    await known.join("r", "alice")


@optional
async def test_where_tokens_are_optional_ids_without_one_are_claims_as_ever(server: Server) -> None:
    peer, user = await server.peer(), await server.user()
    await peer.join("r", "a")
    await user.enter("r", "u")
    await user.say("authenticate", None, {"token": token("u")})
    await user.expect_error("bad-message")
    await peer.say("join", "s", {})
    assert (await peer.expect_error("bad-message"))["details"] == {"field": "payload.peer_id"}


async def test_where_there_are_no_tokens_one_in_a_handshake_is_let_be_and_a_message_refused(server: Server) -> None:
    peer = await server.client("/ws/signaling/?token=x", Authorization="Bearer y")
    await peer.join("r", "a")
    await peer.say("authenticate", None, {"token": token("a")})
    assert (await peer.expect_error("bad-message"))["details"] == {"field": "type"}


# ------------------------------------------------------------------------------------------------------- what it allows


@required
async def test_nobody_takes_another_id_than_that_of_the_token(server: Server) -> None:
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
async def test_nobody_gets_into_a_room_that_the_token_does_not_name(server: Server) -> None:
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
async def test_who_may_not_send_may_be_there_and_listen(server: Server) -> None:
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


# --------------------------------------------------------------------------------------------------------------- expiry


@pytest.mark.settings(**REQUIRED, auth_leeway=0)
@both_endpoints
async def test_a_token_that_ends_is_announced_and_then_the_connection_closed(server: Server, path: str) -> None:
    client = await authenticated(server, "alice", path, ttl=1.5)
    notice = await client.expect("token-expiring")
    assert notice["payload"]["expires_in"] <= 1
    await client.expect_close(4503)


@pytest.mark.settings(**REQUIRED, auth_leeway=0)
async def test_a_new_token_goes_on_without_a_new_connection(server: Server) -> None:
    a, b = await authenticated(server, "a", ttl=1.5), await authenticated(server, "b")
    await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined")
    await a.expect("token-expiring")
    await a.say("authenticate", None, {"token": token("a", ttl=60)}, id="new")
    reply = await a.expect("authenticated", sub="a")
    assert reply["id"] == "new"
    assert reply["payload"]["expires_in"] > 50
    admission = server.app._admission
    assert admission is not None
    looks = admission._look + 2 / TICK
    await until(lambda: admission._look > looks, "that the old token would have ended")
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
async def test_a_new_token_that_cannot_be_used_leaves_the_old_one(server: Server) -> None:
    peer = await authenticated(server, "alice")
    await peer.say("authenticate", None, {"token": token("alice", ttl=-60)}, id=1)
    await peer.expect_error("unauthorized")
    await peer.say("authenticate", None, {"token": token("mallory")}, id=2)
    await peer.expect_error("forbidden")
    await peer.join("r", "alice")


@required
async def test_bad_tokens_in_a_row_are_bad_messages(server: Server) -> None:
    peer = await authenticated(server, "alice")
    for _ in range(16):
        await peer.say("authenticate", None, {"token": "nonsense"})
    await peer.expect_close(4500)


@required
async def test_a_narrower_token_takes_the_client_out_of_the_rooms_it_does_not_name(server: Server) -> None:
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
async def test_who_was_closed_with_its_token_comes_back_with_a_new_one(server: Server) -> None:
    a, b = await authenticated(server, "a", ttl=1), await authenticated(server, "b")
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


@pytest.mark.parametrize("mode", [pytest.param(0, marks=required), pytest.param(1, marks=optional)])
async def test_nobody_goes_on_with_the_session_of_another_whatever_its_token(server: Server, mode: int) -> None:
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


# ---------------------------------------------------------------------------------------------------- one's own peer id


@required
async def test_an_authenticated_peer_takes_over_its_own_id_at_once(server: Server) -> None:
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
async def test_a_claimed_id_goes_to_its_owner_and_none_is_taken_from_one(server: Server) -> None:
    claimer = await server.peer()
    await claimer.join("r", "a")
    owner = await authenticated(server, "a")
    await owner.join("r", "a")
    await claimer.expect_close(4501)
    claimer = await server.peer()
    await claimer.say("join", "r", {"peer_id": "a"})
    await claimer.expect_error("peer-id-taken")
    owner.vanish()
    await until(lambda: server.app.sessions._away, "that the owner is away")
    await claimer.say("join", "r", {"peer_id": "a"})
    await claimer.expect_error("peer-id-taken")


# --------------------------------------------------------------------------------------------------------- never logged


class Everything(logging.Handler):
    """All that is logged, at every level, as text."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, with whatever hangs on it, but for those of the tests' own client."""
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
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@required
@every_way
@pytest.mark.parametrize("ttl", [60, -60], ids=["good", "ended"])
async def test_no_level_logs_a_token(server: Server, way: Any, ttl: float, everything: Everything) -> None:
    text = token("alice", ttl)
    for path in ("/ws/signaling/", "/ws/mcp/"):
        client = await way(server, path, text)
        await client.hear()
        with suppress(ConnectionClosed):  # the server closes one with a token that has ended
            await client.say("authenticate", None, {"token": text})
            await client.say("authenticate", None, {"token": text, "more": 1}, nonsense=1)
        await client.end()
    await until(lambda: len(server.app.connections) == 0, "that all are closed")
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

    admission = server.app._admission
    assert admission is not None
    expected_logs("mcp_actors.connection", "handler failed")
    text = token("alice")
    client = await server.peer()
    await until(lambda: len(admission) == 1, "that the connection is known")
    monkeypatch.setattr(admission, "_schedule", fail)
    await client.say("authenticate", None, {"token": text})
    await client.expect_close(1011)
    assert text.split(".")[2] not in "\n".join(everything.lines)


# ---------------------------------------------------------------------------------------------------- one look for all


class Guest:
    """A connection that remembers what it was told."""

    def __init__(self) -> None:
        self.closed = False
        self.grant: Grant | None = None
        self.said: list[dict[str, Any]] = []
        self.codes: list[CloseCode] = []

    def say(self, frame: bytes) -> None:
        self.said.append(json.loads(frame))

    def close(self, code: CloseCode) -> None:
        self.codes.append(code)
        self.closed = True


class Desk:
    """An admission whose clock a test turns; a token is the number of seconds it is good for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.admission = Admission(
            self._verify, required=True, patience=10, notice=60, leeway=5, clock=lambda: self.now
        )

    def _verify(self, text: str) -> Grant:
        if not text.isdigit():
            raise Unauthorized("no")
        return Grant("alice", None, frozenset(), self.now + int(text) + 5)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / TICK)):
            self.now += TICK
            self.admission.look()

    def open(self, text: str | None) -> Guest:
        guest = Guest()
        self.admission.opened(guest, text)
        return guest


def test_a_client_is_told_once_a_minute_before_the_end_and_closed_after_the_leeway() -> None:
    desk = Desk()
    guest = desk.open("3600")
    desk.wait(3539)
    assert guest.said == []
    desk.wait(2)
    assert [message["type"] for message in guest.said] == ["token-expiring"]
    desk.wait(63)
    assert (guest.codes, len(guest.said)) == ([], 1)
    desk.wait(2)
    assert guest.codes == [CloseCode.TOKEN_EXPIRED]
    assert len(desk.admission) == 0


def test_a_short_token_is_announced_when_half_of_its_time_is_left() -> None:
    desk = Desk()
    guest = desk.open("20")
    desk.wait(9)
    assert guest.said == []
    desk.wait(2)
    assert guest.said[0]["payload"]["expires_in"] in (9, 10)


def test_a_renewal_is_announced_anew_and_keeps_one_place() -> None:
    desk = Desk()
    guest = desk.open("100")
    for _ in range(100):
        desk.admission.authenticate(guest, "200")
    assert len(desk.admission) == sum(len(look) for look in desk.admission._looks.values()) == 1
    desk.wait(130)
    assert guest.said == []
    desk.wait(15)
    assert len(guest.said) == 1


def test_a_clock_that_is_set_back_or_forward_ends_tokens_by_the_new_time() -> None:
    desk = Desk()
    early, late = desk.open("300"), desk.open("30000")
    desk.now += 1000
    desk.wait(LONGEST + 1)
    assert (early.codes, late.codes) == ([CloseCode.TOKEN_EXPIRED], [])
    desk.now -= 10_000
    desk.wait(LONGEST + 1)
    assert late.codes == []


def test_who_is_gone_or_closed_is_forgotten() -> None:
    desk = Desk()
    gone, closed, silent = desk.open("100"), desk.open("100"), desk.open(None)
    desk.admission.forget(gone)
    closed.closed = True
    desk.wait(200)
    assert (gone.codes, closed.codes, silent.codes) == ([], [], [CloseCode.UNAUTHORIZED])
    assert (len(desk.admission), desk.admission._looks) == (0, {})


def test_a_token_that_never_ends_takes_no_more_looks_than_others() -> None:
    desk = Desk()
    guests = [desk.open("9" * 12) for _ in range(3)]
    desk.wait(3 * LONGEST)
    assert [guest.codes for guest in guests] == [[], [], []]
    assert len(desk.admission) == 3
