"""The application's own rules, over real sockets on Tornado and in uvicorn."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from mcp_actors.auth.authorization import Authorizer, Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import Grant
from mcp_actors.protocol.errors import Unavailable
from tests.support.asgi import AsgiServer, signaling_server
from tests.support.client import Closed
from tests.support.loop import until
from tests.support.mounted import InTornado

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs
    from tests.support.client import Client

ALICE = Grant("alice", ("team-*",), metadata={"name": "Alice"}, ice_servers=[{"urls": "turn:turn.example"}])
NOTHING = Handshake("peer", {}, {}, "192.0.2.1")


class Rules:
    """An application: answers handshakes and joins as a test says, and records what it was asked."""

    def __init__(self) -> None:
        self.handshake: Any = None
        """The answer to a handshake: a grant, None, or an exception."""
        self.rooms: dict[str, Any] = {}
        """The answers to joins by their rooms."""
        self.asked: list[Handshake | JoinRequest] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self, request: Handshake | JoinRequest) -> Grant | None:
        self.asked.append(request)
        await self.answers.wait()
        answer = self.handshake if isinstance(request, Handshake) else self.rooms.get(request.room, Refused("Not you."))
        if isinstance(answer, Exception):
            raise answer
        found: Grant | None = answer
        return found


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture(params=["tornado", "uvicorn"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path, rules: Rules) -> Iterator[Any]:
    """A server that asks the rules."""
    marker = request.node.get_closest_marker("settings")
    settings = marker.kwargs if marker else {}
    started: Any = (
        AsgiServer(tmp_path, rules, **settings)
        if request.param == "uvicorn"
        else InTornado(signaling_server(tmp_path, rules, **settings))
    )
    io_loop.run_sync(started.start)
    yield started
    io_loop.run_sync(started.stop)


async def refused(server: Any) -> tuple[int, str]:
    """The status and the text with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as error:
        await server.peer()
    return error.value.response.status_code, error.value.response.body.decode()


async def joined(peer: Client, room: str, **fields: Any) -> Any:
    """The reply to a join without an id."""
    await peer.say("join", room, fields)
    return (await peer.expect("joined"))["payload"]


async def test_a_handshake_is_shown_with_its_headers_cookies_query_and_address(server: Any, rules: Rules) -> None:
    rules.handshake = ALICE
    await server.client("/ws/mcp/?team=7&team=8", Cookie='session=abc; theme="dark"')
    (asked,) = rules.asked
    assert isinstance(asked, Handshake)
    assert (asked.kind, asked.address, asked.query) == ("user", "127.0.0.1", {"team": "8"})
    assert asked.cookies == {"session": "abc", "theme": "dark"}
    assert "websocket" in asked.headers["Upgrade"]


async def test_a_grant_says_who_the_client_is_where_it_may_go_and_what_others_see(server: Any, rules: Rules) -> None:
    rules.handshake = ALICE
    alice, user = await server.peer(), await server.user()
    payload = await joined(alice, "team-1", metadata={"name": "Mallory", "role": "admin"})
    assert payload["ice_servers"] == [{"urls": "turn:turn.example"}]
    (entry,) = payload["peers"]
    assert (entry["peer_id"], entry["metadata"], entry["verified"]) == ("alice", {"name": "Alice"}, True)
    await alice.say("join", "other", {"peer_id": "alice"})
    await alice.expect_error("forbidden")
    await alice.say("join", "team-2", {"peer_id": "mallory"})
    await alice.expect_error("forbidden")
    await user.say("connect", None, {})
    await user.expect("connected", user_id="alice")
    await user.say("join-room", "team-1")
    (entry,) = (await user.expect("room-joined"))["payload"]["users"]
    assert (entry["user_id"], entry["metadata"]) == ("alice", {"name": "Alice"})
    assert len(rules.asked) == 2


async def test_metadata_of_the_server_cannot_be_changed_by_the_client(server: Any, rules: Rules) -> None:
    rules.handshake = ALICE
    alice = await server.peer()
    await joined(alice, "team-1")
    await alice.say("update", "team-1", {"metadata": {"name": "Mallory"}})
    await alice.expect_error("forbidden")
    rules.handshake = Grant("bob", ("*",), metadata={"role": "guest"}, own_metadata=True)
    bob = await server.peer()
    payload = await joined(bob, "team-1", metadata={"role": "admin", "name": "Bob"})
    assert payload["peers"][1]["metadata"] == {"role": "guest", "name": "Bob"}
    await alice.expect("peer-joined", metadata={"role": "guest", "name": "Bob"})
    await bob.say("update", "team-1", {"metadata": {"role": "admin", "mood": "sly"}})
    await bob.expect("updated", metadata={"role": "guest", "mood": "sly"})
    await alice.expect("peer-updated", metadata={"role": "guest", "mood": "sly"})


async def test_permissions_are_those_of_the_grant(server: Any, rules: Rules) -> None:
    rules.handshake = Grant("listener", ("*",), {"moderate"})
    listener = await server.peer()
    await joined(listener, "r")
    await listener.say("signal", "r", {"target_peer_id": "a", "data": 1})
    await listener.expect_error("forbidden")
    await listener.say("lock", "r")
    await listener.expect("room-locked")
    await listener.say("authenticate", None, {"token": "x"})
    await listener.expect_error("bad-message")


async def test_a_refusal_is_told_with_its_reason(server: Any, rules: Rules) -> None:
    rules.handshake = Refused("Log in first.")
    assert await refused(server) == (403, "Log in first.\n")
    rules.handshake = ALICE
    await joined(await server.peer(), "team-1")


@pytest.mark.settings(refuse_with_close=True)
async def test_a_refusal_can_be_told_in_a_close_frame(server: Any, rules: Rules, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.auth", "authorize failed")
    for answer, told in ((Refused("No."), (4506, "forbidden: No.")), (OSError(), (1013, "try-again-later: unav"))):
        rules.handshake = answer
        peer = await server.peer()
        with pytest.raises(Closed) as closed:
            await peer.hear()
        assert (closed.value.code, str(closed.value.reason)[: len(told[1])]) == told


@pytest.fixture
def _failure_is_logged(expected_logs: ExpectedLogs) -> Iterator[None]:
    expected_logs("mcp_actors.auth", "authorize failed")
    yield
    assert len([one for one in expected_logs.records if one.name == "mcp_actors.auth"]) == 1


@pytest.mark.usefixtures("_failure_is_logged")
@pytest.mark.parametrize(
    "answer",
    [OSError("no database"), "alice", Grant(""), Grant("a", can={"fly"}), Grant("a", metadata={"x": object()})],
)
async def test_an_application_that_fails_lets_nobody_in_and_is_logged_once(
    server: Any, rules: Rules, answer: Any
) -> None:
    rules.handshake = ALICE
    a = await server.peer()
    await joined(a, "team-1")
    rules.handshake = answer
    for _ in range(3):
        status, text = await refused(server)
        assert (status, text.startswith("unavailable: ")) == (503, True)
    assert len(await a.drain("team-1")) == 0


@pytest.mark.usefixtures("_failure_is_logged")
@pytest.mark.settings(authorize_timeout=0.05)
async def test_an_application_that_is_slow_lets_nobody_in(server: Any, rules: Rules) -> None:
    rules.handshake = ALICE
    rules.answers.clear()
    assert (await refused(server))[0] == 503
    rules.answers.set()
    await joined(await server.peer(), "team-1")


@pytest.mark.settings(max_authorizations=1)
async def test_questions_are_bounded(server: Any, rules: Rules) -> None:
    rules.handshake = ALICE
    rules.answers.clear()
    waiting = asyncio.ensure_future(server.peer())
    await until(lambda: rules.asked, "the first question")
    status, text = await refused(server)
    assert (status, "asked too often" in text) == (503, True)
    rules.answers.set()
    await joined(await waiting, "team-1")


async def test_a_client_that_goes_while_the_application_decides_leaves_nothing(server: Any, rules: Rules) -> None:
    rules.handshake = ALICE
    rules.answers.clear()
    going = asyncio.ensure_future(server.peer())
    await until(lambda: rules.asked, "the question")
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    rules.answers.set()
    await joined(await server.peer(), "team-1")
    await until(lambda: len(server.signaling.app.connections) == 1, "one connection is left")


async def test_a_join_is_decided_where_the_handshake_was_not(server: Any, rules: Rules) -> None:
    rules.rooms = {"r": Grant("alice", metadata={"name": "Alice"}), "failing": None}
    peer = await server.peer(Cookie="session=abc")
    await peer.say("join", "r", {"metadata": {"x": 1}}, id=1)
    (entry,) = (await peer.expect("joined", peer_id="alice"))["payload"]["peers"]
    assert entry["metadata"] == {"name": "Alice"}
    asked = rules.asked[-1]
    assert isinstance(asked, JoinRequest)
    assert (asked.room, asked.id, asked.metadata, asked.grant) == ("r", None, {"x": 1}, None)
    assert asked.handshake.cookies == {"session": "abc"}
    await peer.say("join", "t", {"peer_id": "mallory"})
    await peer.expect_error("forbidden")
    assert rules.asked[-1].id == "mallory"  # type: ignore[union-attr]
    await peer.say("join", "s", {}, id=2)
    error = await peer.expect("error", code="forbidden", message="Not you.")
    assert (error["id"], error["room"]) == (2, "s")


async def test_a_join_that_the_application_cannot_decide_is_answered_with_unavailable(
    server: Any, rules: Rules, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.auth", "authorize failed")
    rules.rooms = {"r": None, "s": OSError(), "t": Grant("alice"), "u": Grant("bob")}
    peer = await server.peer()
    for room in ("r", "s"):
        await peer.say("join", room, {"peer_id": "alice"})
        assert (await peer.expect_error("unavailable"))["retryable"]
    await peer.join("t", "alice")
    await peer.say("join", "u", {"peer_id": "alice"})
    await peer.expect_error("unavailable")


async def test_nothing_of_the_client_is_read_while_the_application_decides(server: Any, rules: Rules) -> None:
    rules.rooms = {"r": Grant("a")}
    peer = await server.peer()
    rules.answers.clear()
    await peer.say("join", "r", {"peer_id": "a"})
    await peer.say("ping", None, id=1)
    await until(lambda: len(rules.asked) == 2, "the question")
    rules.answers.set()
    await peer.expect("joined")
    assert (await peer.hear())["type"] == "pong"


async def test_a_grant_for_a_room_counts_in_that_room_alone(server: Any, rules: Rules) -> None:
    rules.rooms = {"own": Grant("alice", can={"moderate"}), "other": Grant("alice", can={"signal"})}
    peer = await server.peer()
    for room in ("own", "other"):
        await peer.join(room, "alice")
    for room, kind in (("own", "room-locked"), ("other", "error")):
        await peer.say("lock", room)
        assert (await peer.hear())["type"] == kind
    for room, code in (("own", "forbidden"), ("other", "peer-not-found")):
        await peer.say("signal", room, {"target_peer_id": "b", "data": 1})
        await peer.expect_error(code)


async def test_a_session_is_resumed_only_into_rooms_that_the_application_still_allows(
    server: Any, rules: Rules
) -> None:
    rules.rooms = {room: Grant("alice") for room in ("r", "s")}
    peer = await server.peer()
    first = await peer.join("r", "alice")
    second = await peer.join("s", "alice")
    assert first["resume"]
    peer.vanish()
    del rules.rooms["s"]
    again = await server.peer()
    await again.say("join", "r", {"peer_id": "alice", "resume": second["resume"], "received": peer.received})
    told = [await again.hear(), await again.hear()]
    assert {(one["type"], one["room"]) for one in told} == {("error", "s"), ("joined", "r")}
    await again.say("signal", "s", {"target_peer_id": "alice", "data": 1})
    await again.expect_error("not-in-room")


async def test_a_user_is_granted_at_its_handshake(server: Any, rules: Rules) -> None:
    user = await server.user()
    await user.say("connect", None, {"user_id": "alice"})
    await user.expect_error("unauthorized")
    rules.handshake, rules.rooms = Grant("alice"), {"r": Grant("alice", metadata={"name": "Alice"})}
    user = await server.user()
    assert (await user.enter("r", "alice"))["users"] == [
        {"user_id": "alice", "metadata": {"name": "Alice"}, "verified": True}
    ]
    await user.say("join-room", "s")
    await user.expect_error("forbidden")


async def test_a_grant_that_ends_closes_the_connection(server: Any, rules: Rules) -> None:
    rules.handshake = Grant("alice", ("*",), expires=time.time() + 0.2)
    peer = await server.peer()
    await peer.join("r", "alice")
    await peer.expect("token-expiring")
    await peer.expect_close(4503)


@pytest.mark.settings(connection_join_rate=0.01, connection_join_burst=2)
async def test_joins_that_the_application_refuses_count_as_joins(server: Any, rules: Rules) -> None:
    peer = await server.peer()
    for _ in range(2):
        await peer.say("join", "r", {"peer_id": "a"})
        await peer.expect_error("forbidden")
    await peer.say("join", "r", {"peer_id": "a"})
    await peer.expect_error("rate-limited")
    assert len(rules.asked) <= 4


async def test_a_failing_application_is_logged_again_after_it_has_answered(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.auth", "authorize failed")
    rules = Rules()
    authorizer = Authorizer(rules, timeout=1, max_pending=1, id_length=10)
    for answer in (OSError(), OSError(), None, OSError()):
        rules.handshake = answer
        try:
            await authorizer.admit(NOTHING)
        except Unavailable:
            continue
    assert len(expected_logs.records) == 2
