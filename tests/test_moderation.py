"""Moderation over the wire, within one process and between two."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bench.engine import Engine
from mcp_actors.protocol.identifiers import RoomId
from tests.support.loop import scheduler, until
from tests.support.server import Server
from tests.support.tokens import OPTIONAL, bearer
from tests.test_moves import kill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs
    from tests.support.client import Client, Frame

CAN = ["signal", "message", "moderate"]
SHARED: dict[str, Any] = {**OPTIONAL, "node_lease": 3.0, "resume_window": 3.0, "ping_interval": 0}
"""No pings: a pong acknowledges messages that the test has not read."""

pytestmark = pytest.mark.settings(**SHARED)


async def moderator(server: Server, *rooms: str, sub: str = "mo") -> Client:
    """A peer that may moderate, joined to these rooms."""
    client = await server.peer(**bearer(sub, can=CAN))
    await client.expect("authenticated")
    for room in rooms:
        await client.join(room, sub)
    return client


async def guest(server: Server, watcher: Client, name: str, room: str = "r") -> tuple[Client, Frame]:
    """A peer without an access token, whose join the watcher has seen."""
    client = await server.peer()
    joined = await client.join(room, name)
    await watcher.expect("peer-joined", peer_id=name)
    return client, joined


async def come_back(server: Server, joined: Frame, received: int, name: str, room: str = "r", **token: str) -> Client:
    client = await server.peer(**token)
    payload = {"peer_id": name, "resume": joined["resume"], "received": received}
    await client.say("join", room, payload, id="back")
    return client


async def be_told(server: Server, joined: Frame, received: int, name: str) -> tuple[Client, str]:
    """Come back until a process no longer says that another one was asked just before; and the code of its error."""
    while True:
        client = await come_back(server, joined, received, name)
        answer = await client.expect("error")
        if answer["payload"]["code"] != "unavailable":
            return client, answer["payload"]["code"]
        await client.close()


async def hear(client: Client) -> Frame:
    """The next message, without the offset that it has between processes."""
    message = await client.hear()
    message.pop("at", None)
    return message


async def test_a_kicked_client_is_notified_and_closed_and_the_others_are_told(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    bob, _ = await guest(servers[1], mo, "bob")
    eve, _ = await guest(servers[1], mo, "eve")
    await bob.expect("peer-joined", peer_id="eve")
    await mo.say("kick", "r", {"peer_id": "bob"}, id=1)
    assert await hear(bob) == {"type": "kicked", "room": "r", "payload": {"peer_id": "bob"}}
    await bob.expect_close(4504)
    await eve.expect("peer-left", peer_id="bob", reason="kicked")
    await mo.expect("peer-left", peer_id="bob", reason="kicked")
    assert await hear(mo) == {"type": "kicked", "room": "r", "id": 1, "payload": {"peer_id": "bob"}}


async def test_messages_sent_before_a_kick_arrive_before_it(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    bob, _ = await guest(servers[1], mo, "bob")
    for number in range(20):
        await mo.say("signal", "r", {"target_peer_id": "bob", "data": number})
    await mo.say("kick", "r", {"peer_id": "bob"})
    for number in range(20):
        await bob.expect("signal", data=number)
    await bob.expect("kicked", peer_id="bob")
    await bob.expect_close(4504)


async def test_all_connections_of_a_user_are_kicked_and_others_see_it_leave_once(servers: list[Server]) -> None:
    watcher = await servers[1].user()
    await watcher.enter("r", "watcher")
    mo = await servers[0].user(**bearer("mo", can=CAN))
    await mo.expect("authenticated")
    await mo.enter("r", "mo")
    await watcher.expect("user-joined", user_id="mo")
    tabs = [await servers[number].user() for number in (0, 1, 1)]
    for tab in tabs:
        await tab.enter("r", 'uma "the\\first"')
    await watcher.expect("user-joined", user_id='uma "the\\first"')
    await mo.expect("user-joined")
    await mo.say("kick", "r", {"user_id": 'uma "the\\first"'}, id="k")
    for tab in tabs:
        await tab.expect("kicked", user_id='uma "the\\first"')
        await tab.expect_close(4504)
    for other in (watcher, mo):
        await other.expect("user-left", user_id='uma "the\\first"', reason="kicked")
    assert (await mo.expect("kicked"))["id"] == "k"
    await watcher.say("message", "r", {"content": 1}, id=1)
    await watcher.expect("ack")


async def test_a_kicked_client_stays_in_its_other_rooms(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r", "s")
    bob, joined = await guest(servers[1], mo, "bob")
    await bob.join("s", "bob")
    await mo.expect("peer-joined", peer_id="bob")
    await mo.say("kick", "r", {"peer_id": "bob"})
    await bob.expect("kicked", peer_id="bob")
    await bob.say("signal", "r", {"target_peer_id": "mo", "data": 0})
    await bob.expect_error("not-in-room")
    await bob.say("signal", "s", {"target_peer_id": "mo", "data": 1}, id=1)
    await bob.expect("ack", status="delivered")
    await bob.say("join", "r", {"peer_id": "bob", "resume": joined["resume"]})
    await bob.expect_error("kicked")
    assert not (await bob.join("r", "bob"))["resumed"]


async def test_a_moderator_may_kick_itself(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    eve, _ = await guest(servers[1], mo, "eve")
    await mo.say("kick", "r", {"peer_id": "mo"}, id=9)
    assert (await mo.expect("kicked", peer_id="mo"))["id"] == 9
    await mo.expect_close(4504)
    await eve.expect("peer-left", peer_id="mo", reason="kicked")


async def test_a_kick_of_an_unknown_id_is_answered_with_peer_not_found(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    await guest(servers[1], mo, "bob")
    for whom in ({"peer_id": "eve"}, {"user_id": "bob"}):
        await mo.say("kick", "r", whom, id=1)
        await mo.expect_error("peer-not-found")


@pytest.mark.parametrize("at", [0, 1], ids=["here", "there"])
async def test_a_client_that_was_detached_when_it_was_kicked_cannot_resume(servers: list[Server], at: int) -> None:
    mo = await moderator(servers[0], "r")
    bob, joined = await guest(servers[1], mo, "bob")
    eve, _ = await guest(servers[1], mo, "eve")
    bob.vanish()
    await until(lambda: servers[1].app.sessions.detached, "that the session is detached")
    await mo.say("kick", "r", {"peer_id": "bob"}, id=1)
    for witness in (mo, eve):  # both processes know
        await witness.expect("peer-left", peer_id="bob", reason="kicked")
    await mo.expect("kicked", peer_id="bob")
    for server in (servers[at], servers[1 - at], servers[at]):
        again = await come_back(server, joined, bob.received, "bob")
        await again.expect_error("kicked")
        await again.expect_close(4504)
    newcomer = await servers[at].peer()
    assert (await newcomer.join("r", "bob"))["order"] == 4


async def test_a_resume_token_from_before_the_kick_is_refused_at_another_process(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    bob, joined = await guest(servers[0], mo, "bob")
    await mo.say("kick", "r", {"peer_id": "bob"})
    await bob.expect("kicked")
    await bob.expect_close(4504)
    again = await come_back(servers[1], joined, bob.received, "bob")
    await again.expect_error("kicked")
    await again.expect_close(4504)


async def test_a_user_that_was_detached_when_its_room_closed_is_told_when_it_connects(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    uma = await servers[1].user()
    await uma.say("connect", None, {"user_id": "uma"})
    token = (await uma.expect("connected"))["payload"]["resume"]
    await uma.say("join-room", "r")
    await uma.expect("room-joined")
    uma.vanish()
    await until(lambda: servers[1].app.sessions.detached, "that the session is detached")
    await mo.say("close-room", "r", id=1)
    await mo.expect("room-closed")
    again = await servers[0].user()
    await again.say("connect", None, {"user_id": "uma", "resume": token, "received": 0}, id=1)
    await again.expect_error("room-closed")
    await again.expect_close(4505)


async def test_a_client_that_resumes_for_another_room_is_told_of_the_kick(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r", "s")
    bob, joined = await guest(servers[1], mo, "bob")
    await bob.join("s", "bob")
    await mo.expect("peer-joined", peer_id="bob")
    bob.vanish()
    await until(lambda: servers[1].app.sessions.detached, "that the session is detached")
    await mo.say("kick", "r", {"peer_id": "bob"}, id=1)
    await mo.expect("peer-left", reason="kicked")
    again = await come_back(servers[0], joined, bob.received, "bob", room="s")
    await again.expect("kicked", peer_id="bob")
    await again.expect("joined", resumed=True, complete=True)
    await again.say("join", "r", {"peer_id": "bob", "resume": joined["resume"]})
    await again.expect_error("kicked")
    assert [peer["peer_id"] for peer in (await again.join("r", "bob"))["peers"]] == ["mo", "bob"]


async def test_a_locked_room_admits_only_moderators_and_resumed_sessions(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    bob, joined = await guest(servers[1], mo, "bob")
    assert "locked" not in joined
    await mo.say("lock", "r", id=1)
    assert await hear(mo) == {"type": "room-locked", "room": "r", "id": 1}
    assert await hear(bob) == {"type": "room-locked", "room": "r"}
    for server in servers:
        eve = await server.peer()
        await eve.say("join", "r", {"peer_id": "eve"}, id=5)
        assert not (await eve.expect_error("room-locked"))["retryable"]
        una = await server.user()
        await una.say("connect", None, {"user_id": "una"})
        await una.expect("connected")
        await una.say("join-room", "r", id=5)
        await una.expect_error("room-locked")
    bob.vanish()
    again = await come_back(servers[0], joined, bob.received, "bob")
    await again.expect("joined", resumed=True, locked=True)
    other = await moderator(servers[1], sub="max")
    assert (await other.join("r", "max"))["locked"] is True
    await mo.expect("peer-joined", peer_id="max")
    await mo.say("lock", "r", id=2)
    assert await hear(mo) == {"type": "room-locked", "room": "r", "id": 2}
    await other.say("unlock", "r", id=3)
    assert await hear(other) == {"type": "room-unlocked", "room": "r", "id": 3}
    assert await hear(mo) == {"type": "room-unlocked", "room": "r"}
    await guest(servers[1], mo, "eve")


async def test_a_lock_ends_when_its_room_is_empty(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r")
    await mo.say("lock", "r", id=1)
    await mo.expect("room-locked")
    await mo.say("leave", "r", id=2)
    await mo.expect("left")
    bob = await servers[1].peer()
    assert "locked" not in await bob.join("r", "bob")


async def test_a_closed_room_is_empty_and_starts_anew(servers: list[Server]) -> None:
    mo = await moderator(servers[0], "r", "s")
    bob, joined = await guest(servers[1], mo, "bob")
    uma = await servers[1].user()
    await uma.enter("r", "uma")
    await mo.say("lock", "r", id=1)
    for client in (mo, bob, uma):
        await client.expect("room-locked")
    await mo.say("close-room", "r", id=2)
    assert await hear(mo) == {"type": "room-closed", "room": "r", "id": 2}
    for client in (bob, uma):
        assert await hear(client) == {"type": "room-closed", "room": "r"}
        await client.expect_close(4505)
    again = await come_back(servers[0], joined, bob.received, "bob")
    await again.expect_error("room-closed")
    await again.expect_close(4505)
    eve = await servers[1].peer()
    assert await eve.join("r", "eve") | {"resume": ""} == {
        "peer_id": "eve", "order": 1, "peers": [{"peer_id": "eve", "metadata": {}, "order": 1}],
        "ice_servers": [], "resume": "", "resumed": False, "max_message_bytes": 65_536,
    }  # fmt: skip
    assert (await mo.join("r", "mo"))["order"] == 2


async def lone_moderator(server: Server) -> tuple[Client, Frame]:
    client = await server.peer(**bearer("mo", can=CAN))
    await client.expect("authenticated")
    return client, await client.join("r", "mo")


@pytest.mark.parametrize("at", [0, 1], ids=["here", "there"])
async def test_a_request_that_was_done_is_answered_when_it_is_sent_again(servers: list[Server], at: int) -> None:
    mo, joined = await lone_moderator(servers[0])
    await guest(servers[1], mo, "bob")
    eve, _ = await guest(servers[1], mo, "eve")
    received = mo.received
    await mo.say("kick", "r", {"peer_id": "bob"}, id=1)
    await mo.say("lock", "r", id=2)
    for heard in ("peer-left", "kicked", "room-locked"):
        await mo.expect(heard)
    mo.vanish()
    again = await come_back(servers[at], joined, received, "mo", **bearer("mo", can=CAN))
    await again.expect("authenticated")
    for heard in ("peer-left", "kicked", "room-locked"):
        await again.expect(heard)
    await again.expect("joined", resumed=True, complete=True, locked=True)
    await again.say("kick", "r", {"peer_id": "bob"}, id=1, again=True)
    await again.expect_error("peer-not-found")
    await again.say("lock", "r", id=2, again=True)
    assert (await again.expect("room-locked"))["id"] == 2
    for heard in ("peer-left", "room-locked"):
        await eve.expect(heard)
    assert await eve.drain("r") == []


@pytest.mark.parametrize("at", [0, 1], ids=["here", "there"])
async def test_a_moderator_that_closed_a_room_is_told_so_when_it_resumes(servers: list[Server], at: int) -> None:
    mo, joined = await lone_moderator(servers[0])
    bob, _ = await guest(servers[1], mo, "bob")
    received = mo.received
    await mo.say("close-room", "r", id=1)
    mo.stop_reading()
    await bob.expect("room-closed")
    mo.vanish()
    again = await come_back(servers[at], joined, received, "mo", **bearer("mo", can=CAN))
    await again.expect("authenticated")
    await again.expect_error("room-closed")
    await again.expect_close(4505)


@pytest.mark.parametrize("kind", ["kick", "lock", "unlock", "close-room"])
async def test_only_members_whose_token_allows_it_moderate(servers: list[Server], kind: str) -> None:
    mo = await moderator(servers[0])
    payload = {"peer_id": "bob"} if kind == "kick" else {}
    await mo.say(kind, "r", payload)
    await mo.expect_error("not-in-room")
    await mo.join("r", "mo")
    bob, _ = await guest(servers[1], mo, "bob")
    await bob.say(kind, "r", payload, id=1)
    assert "moderate" in (await bob.expect_error("forbidden"))["message"]
    plain = await servers[1].user(**bearer("una"))
    await plain.expect("authenticated")
    await plain.enter("r", "una")
    await plain.say(kind, "r", payload, id=1)
    assert "moderate" in (await plain.expect_error("forbidden"))["message"]
    confined = await servers[1].peer(**bearer("cleo", can=CAN, rooms=["s"]))
    await confined.expect("authenticated")
    await confined.say(kind, "r", payload, id=1)
    await confined.expect_error("forbidden")


async def test_moderation_is_forbidden_where_access_tokens_are_off(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.start()
    a, _ = await server.pair()
    await a.say("kick", "r", {"peer_id": "b"}, id=1)
    assert "MCP_ACTORS_AUTH" in (await a.expect_error("forbidden"))["message"]
    await server.stop()


@pytest.fixture(params=[{"node_lease": 0.8}])
def three(
    request: pytest.FixtureRequest, engine: Engine, io_loop: IOLoop, tmp_path: Path, prefix: str
) -> Iterator[list[Server]]:
    """Three processes, with short leases unless the test asks for other settings."""
    settings = {**SHARED, **request.param, "redis_url": engine.url, "redis_prefix": prefix}
    started = [Server(tmp_path, **settings) for _ in range(3)]
    for server in started:
        io_loop.run_sync(server.start)
    yield started
    for server in started:
        io_loop.run_sync(server.stop)


@pytest.mark.parametrize("request_", ["kick", "close-room"])
async def test_a_client_of_a_killed_process_is_told_of_its_removal_at_any_other(
    three: list[Server], request_: str, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    mo = await moderator(three[0], "r", "s")
    bob, joined = await guest(three[1], mo, "bob")
    broker: Any = three[1].app.node.broker
    await until(lambda: broker.idle, "that its session is noted")
    await kill(three[1])
    code, final = ("kicked", 4504) if request_ == "kick" else ("room-closed", 4505)
    await mo.say(request_, "r", {"peer_id": "bob"} if request_ == "kick" else {}, id=1)
    while (await mo.hear())["type"] != code:
        pass
    for server in (three[2], three[0], three[2]):
        again, told = await be_told(server, joined, bob.received, "bob")
        assert told == code
        await again.expect_close(final)


@pytest.mark.parametrize("three", [{"node_lease": 30.0, "resume_window": 30.0}], indirect=True, ids=["alive"])
async def test_a_kick_while_its_client_resumes_at_another_process_removes_it(three: list[Server]) -> None:
    mo = await moderator(three[0], "r")
    for number in range(12):
        name = f"bob{number}"
        bob, joined = await guest(three[1], mo, name)
        bob.vanish()
        again = await three[2].peer()
        back = {"peer_id": name, "resume": joined["resume"], "received": bob.received}
        if number % 2:
            await again.say("join", "r", back)
            await scheduler(2 * number)
        await mo.say("kick", "r", {"peer_id": name}, id=1)
        if not number % 2:
            await scheduler(2 * number)
            await again.say("join", "r", back)
        await mo.expect("peer-left", peer_id=name, reason="kicked")
        await mo.expect("kicked", peer_id=name)
        await again.expect_close(4504)
        _, told = await be_told(three[1], joined, bob.received, name)
        assert told == "kicked"
    other = await three[2].peer()
    assert [peer["peer_id"] for peer in (await other.join("r", "other"))["peers"]] == ["mo", "other"]


async def test_a_kick_requested_while_redis_is_down_is_done_afterwards(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    with Engine() as engine:
        servers = [Server(tmp_path, **SHARED, redis_url=engine.url, outage_patience=60) for _ in range(2)]
        for server in servers:
            await server.start()
        mo = await moderator(servers[0], "r")
        bob, joined = await guest(servers[1], mo, "bob")
        engine.kill()
        await until(
            lambda: not any(server.app.node.broker.ready for server in servers), "that Redis is known to be down"
        )
        await mo.say("kick", "r", {"peer_id": "bob"}, id=1)
        await asyncio.to_thread(engine.start)
        await bob.expect("kicked")
        await bob.expect_close(4504)
        await mo.expect("peer-left", reason="kicked")
        await mo.expect("kicked")
        again = await come_back(servers[0], joined, bob.received, "bob")
        await again.expect_error("kicked")
        for server in servers:
            await server.stop()


async def test_a_request_sent_again_while_redis_is_down_is_done_once(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    with Engine() as engine:
        server = Server(tmp_path, **SHARED, redis_url=engine.url, outage_patience=60)
        await server.start()
        mo, joined = await lone_moderator(server)
        await guest(server, mo, "bob")
        eve, _ = await guest(server, mo, "eve")
        engine.kill()
        await until(lambda: not server.app.node.broker.ready, "that Redis is known to be down")
        await mo.say("kick", "r", {"peer_id": "bob"}, id=1)
        room = server.app.node._directory._rooms[RoomId("r")].room
        await until(lambda: room.pending, "the request")
        mo.vanish()
        again = await come_back(server, joined, mo.received, "mo", **bearer("mo", can=CAN))
        await again.expect("authenticated")
        await again.expect("joined", resumed=True)
        await again.say("kick", "r", {"peer_id": "bob"}, id=1, again=True)
        await again.say("lock", "r", id=2)
        await asyncio.to_thread(engine.start)
        await again.expect("peer-left", peer_id="bob", reason="kicked")
        assert (await again.expect("kicked"))["id"] == 1
        assert (await again.expect("room-locked"))["id"] == 2
        await eve.expect("peer-left", peer_id="bob", reason="kicked")
        await eve.expect("room-locked")
        await server.stop()
