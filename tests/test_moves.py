"""Sessions that migrate between nodes, over the wire: several nodes in the loop of the test, on a real Redis."""

from __future__ import annotations

import asyncio
import signal as signals
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.sessions import migration, repeated_comebacks
from mcp_actors.sessions.repeated_comebacks import FREE_COMEBACKS
from tests.support.client import Client
from tests.support.loop import until
from tests.support.server import Process, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from bench.engine import Engine
    from tests.conftest import ExpectedLogs
    from tests.support.client import Frame

BUSY_PATIENCE = 10.0
"""Seconds that the new node of a session waits for what is under way, so that a busy machine loses nothing."""

SETTINGS: dict[str, Any] = {
    "secret_key": "a secret that all nodes have, of some length",
    "node_lease": 3.0,
    "resume_window": 3.0,
    "ping_interval": 0,  # a pong acknowledges messages that the library has received and the test has not read
}


@pytest.fixture
def nodes(
    request: pytest.FixtureRequest,
    engine: Engine,
    io_loop: IOLoop,
    tmp_path: Path,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[Server]]:
    """Three nodes with the settings of the test's marker `settings`; they wait longer for each other than usual."""
    monkeypatch.setattr(migration, "OLD_NODE_PATIENCE", BUSY_PATIENCE)
    marker = request.node.get_closest_marker("settings")
    settings = {
        **SETTINGS,
        "redis_url": engine.url,
        "redis_prefix": prefix,
        **(marker.kwargs if marker else {}),
    }
    servers = [Server(tmp_path, **settings) for _ in range(3)]
    for server in servers:
        io_loop.run_sync(server.start)
    yield servers
    for server in servers:
        io_loop.run_sync(server.stop)


async def resume(
    server: Server, joined: Frame, received: int, room: str = "r", peer_id: str = "a", **more: Any
) -> Client:
    """Ask to resume on a new connection; the reply is still to be read."""
    client = await server.peer()
    payload = {"peer_id": peer_id, "resume": joined["resume"], "received": received, **more}
    await client.say("join", room, payload, id="back")
    return client


async def pair(first: Server, second: Server, **how: Any) -> tuple[Client, Client, Frame]:
    """Peers `a` and `b` in room `r`, with nothing left to read, and the payload of the reply to the join of `a`."""
    a, b = await first.peer(), await second.peer()
    joined = await a.join("r", "a")
    await b.join("r", "b", **how)
    await a.expect("peer-joined", peer_id="b")
    return a, b, joined


async def signal(client: Client, target: str, data: int) -> str:
    """Send a signal and return the status of its ack."""
    await client.say("signal", "r", {"target_peer_id": target, "data": data}, id=data)
    status: str = (await client.expect("ack"))["payload"]["status"]
    return status


async def lose(server: Server, client: Client) -> None:
    """Cut a connection, and wait until its session is detached."""
    client.vanish()
    await until(lambda: server.app.sessions.detached, "that the session is detached")


async def numbers(client: Client, many: int) -> list[int]:
    """Return the data of the next signals."""
    return [(await client.expect("signal"))["payload"]["data"] for _ in range(many)]


@pytest.mark.parametrize(
    "_buckets",
    [
        pytest.param(1, marks=pytest.mark.settings(redis_buckets=1)),
        pytest.param(8, marks=pytest.mark.settings(redis_buckets=8)),
    ],
)
async def test_a_client_that_has_just_joined_resumes_at_another_node(nodes: list[Server], _buckets: int) -> None:
    watcher = await nodes[2].peer()
    await watcher.join("r", "w")
    for number in range(20):
        name, a = f"a{number}", await nodes[0].peer()
        joined = await a.join("r", name)
        again = await resume(nodes[1], joined, a.received, peer_id=name)
        await again.expect("joined", resumed=True, complete=True, order=joined["order"])
        await watcher.expect("peer-joined", peer_id=name)
        await again.close()
        await watcher.expect("peer-left", peer_id=name)


@pytest.mark.parametrize("others", [0, 1, 2])
async def test_a_client_resumes_at_another_node_and_nobody_notices(nodes: list[Server], others: int) -> None:
    a, b, joined = await pair(nodes[0], nodes[others])
    await lose(nodes[0], a)
    assert [await signal(b, "a", number) for number in (1, 2)] == ["queued", "queued"]
    again = await resume(nodes[1], joined, a.received)
    assert await numbers(again, 2) == [1, 2]
    reply = await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    assert [peer["peer_id"] for peer in reply["payload"]["peers"]] == ["a", "b"]
    assert await signal(b, "a", 3) == "delivered"
    await again.expect("signal", data=3)
    assert await signal(again, "b", 4) == "delivered"
    await b.expect("signal", data=4)
    assert await b.drain("r") == []


@pytest.mark.settings(max_session_messages=3)
@pytest.mark.parametrize("others", [0, 1])
async def test_every_message_that_was_queued_arrives_after_a_move_and_the_sender_of_any_other_is_told(
    nodes: list[Server], others: int
) -> None:
    a, b, joined = await pair(nodes[0], nodes[others])
    await lose(nodes[0], a)
    for number in range(3):
        assert await signal(b, "a", number) == "queued"
    for fields in ({"id": "x"}, {}):
        await b.say("signal", "r", {"target_peer_id": "a", "data": 4}, **fields)
        error = await b.expect("error", code="unavailable", retryable=True)
        assert error.get("id") == fields.get("id")
        assert "is away" in error["payload"]["message"]
    again = await resume(nodes[2], joined, a.received)
    assert await numbers(again, 3) == [0, 1, 2]
    await again.expect("joined", resumed=True, complete=True)
    assert await signal(b, "a", 5) == "delivered"
    await again.expect("signal", data=5)


async def test_unusual_text_arrives_as_it_was_sent_at_once_and_after_a_move(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    data = rb'["hi \ud83d", "\/\u0000\ude00", 1e400, 123456789012345678901234567890, {"a": 1, "a": -0}]'
    frame = b'{"type":"signal","room":"r","payload":{"target_peer_id":"a","data":%b},"id":%b}'
    await b.send(frame % (data, b"1.0"))
    assert (await b.expect("ack", status="delivered"))["id"] == 1
    assert data.decode() in await a.hear_stamped()
    await lose(nodes[0], a)
    await b.send(frame % (data, b"2.0"))
    assert (await b.expect("ack", status="queued"))["id"] == 2
    again = await resume(nodes[1], joined, a.received)
    assert data.decode() in await again.hear_stamped()
    await again.expect("joined", resumed=True, complete=True)


async def test_unusual_metadata_is_the_same_at_every_node(nodes: list[Server]) -> None:
    metadata = rb'{"name":"hi \ud83d","big":123456789012345678901234567890,"zero":-0.0,"nul":"\u0000"}'
    a, b = await nodes[0].peer(), await nodes[1].peer()
    await b.join("r", "b")
    await a.send(b'{"type":"join","room":"r","payload":{"peer_id":"a","metadata":%b}}' % metadata)
    expected = {"name": "hi \ufffd", "big": 123456789012345678901234567890, "zero": -0.0, "nul": "\0"}
    await b.expect("peer-joined", peer_id="a", metadata=expected)
    c = await nodes[2].peer()
    assert (await c.join("r", "c"))["peers"][1]["metadata"] == expected


async def test_numbers_continue_at_another_node_and_received_messages_are_not_repeated(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    for number in range(5):
        assert await signal(b, "a", number) == "delivered"
    assert await numbers(a, 3) == [0, 1, 2]
    seen = a.received
    await lose(nodes[0], a)
    again = await resume(nodes[1], joined, seen)
    again.received = seen
    assert await numbers(again, 2) == [3, 4]
    await again.expect("joined", resumed=True, complete=True)
    assert again.received == seen + 3


async def test_a_client_resumes_elsewhere_before_its_node_notices_the_broken_connection(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True)
    await a.expect_close(4501)
    assert await signal(b, "a", 1) == "delivered"
    await again.expect("signal", data=1)
    assert await b.drain("r") == []


@pytest.mark.alone
async def test_messages_in_flight_during_a_migration_arrive_once_and_in_order(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    count_of_all = 150  # too few for a ping, whose pong would acknowledge what the test has not read

    async def talk() -> None:
        for number in range(count_of_all):
            await b.say("signal", "r", {"target_peer_id": "a", "data": number})
            await asyncio.sleep(0)

    talking = asyncio.create_task(talk())
    heard = await numbers(a, 40)
    first = await resume(nodes[1], joined, a.received)
    while (message := await first.hear())["type"] == "signal":
        heard.append(message["payload"]["data"])
    assert (message["payload"]["resumed"], message["payload"]["complete"]) == (True, True)
    heard += await numbers(first, min(40, count_of_all - len(heard)))
    second = await resume(nodes[0], message["payload"], first.received)
    while (message := await second.hear())["type"] == "signal":
        heard.append(message["payload"]["data"])
    assert (message["payload"]["resumed"], message["payload"]["complete"]) == (True, True)
    heard += await numbers(second, count_of_all - len(heard))
    await talking
    assert heard == list(range(count_of_all))


async def test_a_session_migrates_back_to_a_node_that_had_it_before(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    client = a
    for turn in range(6):
        seen = client.received
        client.vanish()
        client = await resume(nodes[(turn + 1) % 2], joined, seen)
        joined = (await client.expect("joined", resumed=True, complete=True))["payload"]
        assert await signal(b, "a", turn) == "delivered"
        await client.expect("signal", data=turn)
    assert await b.drain("r") == []


async def test_all_rooms_of_a_session_migrate_with_it(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    await a.join("other", "a2")
    c = await nodes[1].peer()
    await c.join("other", "c")
    await a.expect("peer-joined", peer_id="c")
    seen = a.received
    await lose(nodes[0], a)
    again = await resume(nodes[1], joined, seen)
    await again.expect("joined", resumed=True, complete=True)
    await again.say("join", "other", {"peer_id": "a2", "resume": joined["resume"]})
    reply = await again.expect("joined", resumed=True, complete=True)
    assert [peer["peer_id"] for peer in reply["payload"]["peers"]] == ["a2", "c"]
    await again.say("signal", "other", {"target_peer_id": "c", "data": 1}, id=1)
    await again.expect("ack")
    await c.expect("signal", data=1)
    assert await b.drain("r") == await c.drain("other") == []


async def test_the_token_of_a_migrated_session_is_used_up_at_all_nodes(nodes: list[Server]) -> None:
    a, _, joined = await pair(nodes[0], nodes[2])
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True)
    assert await again.drain("r") == []  # and the ping after the reply is answered
    await until(
        lambda: all(one.generations.oldest == one.generations.latest for one in nodes[1].app.sessions.by_id.values()),
        "that the client has acknowledged its token",
    )
    links: Any = nodes[1].app.node.broker
    await until(lambda: links.idle, "that all nodes know")
    for server in nodes:
        other = await resume(server, joined, 0)
        await other.expect_error("peer-id-taken")
    assert await again.drain("r") == []


@pytest.mark.settings(max_comeback_rate=0.001)
async def test_a_session_that_moves_to_and_fro_is_told_to_wait_where_it_goes_and_keeps_its_place(
    nodes: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_comebacks, "FORGOTTEN_AFTER", 1000.0)
    a, b = await nodes[0].peer(), await nodes[2].peer()
    joined, calm = await a.join("r", "a"), await b.join("other", "b")
    for server in (nodes[1], nodes[0]) * (FREE_COMEBACKS + 1):
        a = await resume(server, joined, a.received)
        joined = (await a.expect("joined", resumed=True))["payload"]
    refused = await resume(nodes[1], joined, a.received)
    error = await refused.expect_error("rate-limited")
    assert error["retryable"]
    assert error["details"]["retry_after_ms"] > 2000
    b = await resume(nodes[1], calm, b.received, room="other", peer_id="b")
    await b.expect("joined", resumed=True, complete=True)
    await (await nodes[2].peer()).join("r", "c")
    await a.expect("peer-joined", peer_id="c")


async def test_a_node_that_lost_the_reply_to_its_first_attempt_still_takes_the_session_over(
    nodes: list[Server],
) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    (session,) = nodes[0].app.sessions.by_id.values()
    await lose(nodes[0], a)
    assert await signal(b, "a", 1) == "queued"
    broker = nodes[1].app.node.broker
    lost = await broker.acquire_session(session.id, session.generations.latest, "peer:", 0.0)
    again = await resume(nodes[1], joined, a.received)
    assert await numbers(again, 1) == [1]
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    assert lost is not None
    assert await b.drain("r") == []


async def test_a_room_that_is_joined_in_the_last_moment_before_a_move_migrates_too(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    (session,) = nodes[0].app.sessions.by_id.values()
    c = await nodes[2].peer()
    await c.join("other", "c")
    assert await nodes[1].app.node.broker.acquire_session(session.id, session.generations.latest, "peer:", 0.0)
    reply = await a.join("other", "a2")
    await c.expect("peer-joined", peer_id="a2")
    seen = a.received
    await c.say("signal", "other", {"target_peer_id": "a2", "data": 1}, id=1)
    await c.expect("ack")
    again = await resume(nodes[1], joined, seen)
    await again.expect("signal", data=1)
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    await again.say("join", "other", {"peer_id": "a2", "resume": joined["resume"]})
    await again.expect("joined", resumed=True, complete=True, order=reply["order"])
    await c.say("signal", "other", {"target_peer_id": "a2", "data": 2}, id=2)
    await c.expect("ack", status="delivered")
    await again.expect("signal", data=2)
    assert await b.drain("r") == await c.drain("other") == []


async def test_one_of_two_clients_that_use_one_token_at_two_nodes_has_the_session(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    await lose(nodes[0], a)
    rivals = await asyncio.gather(*(resume(server, joined, a.received) for server in nodes[:2]))
    replies = [await rival.hear() for rival in rivals]
    resumed = [reply for reply in replies if reply["type"] == "joined" and reply["payload"]["resumed"]]
    assert 1 <= len(resumed) <= 2  # the second one too, if the first had not acknowledged its token
    assert await signal(b, "a", 1) in ("delivered", "queued")
    assert await b.drain("r") == []
    assert nodes[2].app.node.rooms() == ["r"]


async def test_a_user_resumes_at_another_node_with_all_its_rooms(nodes: list[Server]) -> None:
    una, vic = await nodes[0].user(), await nodes[2].user()
    await una.say("connect", None, {"user_id": "una"})
    connected = (await una.expect("connected"))["payload"]
    for room in ("r", "s"):
        await una.say("join-room", room)
        await una.expect("room-joined")
    await vic.enter("r", "vic")
    await una.expect("user-joined", user_id="vic")
    await lose(nodes[0], una)
    for number in range(3):
        await vic.say("message", "r", {"content": number}, id=number)
        await vic.expect("ack")
    again = await nodes[1].user()
    await again.say("connect", None, {"user_id": "una", "resume": connected["resume"], "received": una.received})
    assert [(await again.expect("message"))["payload"]["content"] for _ in range(3)] == [0, 1, 2]
    await again.expect("connected", resumed=True, complete=True)
    await vic.say("message", "r", {"content": 3}, id=3)
    await vic.expect("ack")
    await again.expect("message", content=3)
    await again.say("message", "r", {"content": "here"}, id="x")
    await again.expect("ack")
    await vic.expect("message", content="here")
    await again.say("leave-room", "s")
    await again.expect("room-left")


@pytest.mark.settings(address_join_rate=0.01, address_join_burst=6)
async def test_a_session_that_keeps_moving_is_charged_a_join_for_each_room_that_is_taken_over(
    nodes: list[Server],
) -> None:
    una = await nodes[0].user()
    await una.say("connect", None, {"user_id": "una"})
    token = (await una.expect("connected"))["payload"]["resume"]
    for room in "rstu":
        await una.say("join-room", room)
        await una.expect("room-joined")
    moves = 0
    for moves in range(1, 12):
        again = await nodes[moves % 2].user()
        await again.say("connect", None, {"user_id": "una", "resume": token, "received": una.received}, id=moves)
        while (reply := await again.hear()).get("id") != moves:
            pass
        if reply["type"] == "error":
            break
        una, token = again, reply["payload"]["resume"]
        assert reply["payload"]["resumed"]
    assert (reply["type"], reply["payload"]["code"]) == ("error", "rate-limited")
    assert 3 + 1 < moves <= 3 + 5  # free ones, and then one of four rooms, and another, at each of two nodes


async def test_others_learn_that_a_peer_is_back_when_it_resumes_elsewhere(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2], presence=True)
    await lose(nodes[0], a)
    await b.expect("peer-away", peer_id="a")
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True)
    await b.expect("peer-back", peer_id="a")
    await lose(nodes[1], again)
    await b.expect("peer-away", peer_id="a")
    await b.expect("peer-left", peer_id="a", reason="timeout")


async def test_a_peer_that_asked_for_presence_still_gets_it_at_another_node(nodes: list[Server]) -> None:
    a, b = await nodes[0].peer(), await nodes[2].peer()
    joined = await a.join("r", "a", presence=True)
    await b.join("r", "b")
    await a.expect("peer-joined", peer_id="b")
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True)
    b.vanish()
    await again.expect("peer-away", peer_id="b")


async def test_a_late_close_at_the_old_node_does_not_remove_the_member(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True)
    await a.socket.close(1000)
    assert await signal(b, "a", 1) == "delivered"
    await again.expect("signal")
    assert await b.drain("r") == []


async def test_offers_keep_their_negotiation_numbers_across_a_migration(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])

    async def offer(client: Client, target: str) -> int:
        payload = {"target_peer_id": target, "offer": {"type": "offer", "sdp": "v=0"}}
        await client.say("offer", "r", payload, id="o")
        number: int = (await client.expect("ack"))["payload"]["negotiation"]
        return number

    first = await offer(b, "a")
    assert (await a.expect("offer"))["negotiation"] == first
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True)
    second = await offer(b, "a")
    assert second > first
    assert (await again.expect("offer"))["negotiation"] == second
    answer = {"target_peer_id": "b", "answer": {"type": "answer", "sdp": "v=0"}}
    await again.say("answer", "r", answer, negotiation=first, id="late")
    await again.expect_error("stale-negotiation")
    await again.say("answer", "r", answer, negotiation=second, id="right")
    await again.expect("ack")
    await b.expect("answer")


async def test_messages_sent_before_a_migration_are_acknowledged_at_the_new_node(nodes: list[Server]) -> None:
    a, _, joined = await pair(nodes[0], nodes[2])
    seen = a.received
    for number in range(50):
        await a.say("signal", "r", {"target_peer_id": "b", "data": number}, id=number)
    again = await resume(nodes[1], joined, seen)
    acked = []
    while (message := await again.hear())["type"] == "ack":
        acked.append(message["id"])
    assert message["payload"]["resumed"] is True
    for number in range(50):
        if number not in acked:
            payload = {"target_peer_id": "b", "data": number}
            await again.say("signal", "r", payload, id=number, again=True)
    while len(acked) < 50:
        acked.append((await again.expect("ack"))["id"])
    assert sorted(acked) == list(range(50))


async def test_a_client_that_closes_cleanly_cannot_resume_at_any_node(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    await a.close()
    await b.expect("peer-left", peer_id="a", reason="disconnected")
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=False)
    await b.expect("peer-joined", peer_id="a")


async def kill(server: Server) -> None:
    """Stop a node without notice: it writes nothing more to Redis and reads nothing."""
    broker: Any = server.app.node.broker
    await broker.halt()


@pytest.mark.settings(node_lease=0.8)
async def test_messages_sent_to_a_killed_node_arrive_at_the_next_one(
    nodes: list[Server], expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    a, b, joined = await pair(nodes[0], nodes[2])
    await b.say("signal", "r", {"target_peer_id": "a", "data": 0})
    message = await a.expect("signal", data=0)
    seen, at = a.received, {"r": message["at"]}
    await kill(nodes[0])
    for number in (1, 2):
        await b.say("signal", "r", {"target_peer_id": "a", "data": number}, id=number)
    c = await nodes[2].peer()
    await c.join("r", "c")
    await b.expect("peer-joined", peer_id="c")
    again = await resume(nodes[1], joined, seen, at=at)
    assert await numbers(again, 2) == [1, 2]
    await again.expect("peer-joined", peer_id="c")
    reply = await again.expect("joined", resumed=True, complete=False, order=joined["order"])
    assert [peer["peer_id"] for peer in reply["payload"]["peers"]] == ["a", "b", "c"]
    assert sorted([(await b.expect("ack"))["id"] for _ in range(2)]) == [1, 2]
    assert await signal(b, "a", 3) == "delivered"
    await again.expect("signal", data=3)
    assert [news["type"] for news in await b.drain("r")] == []


@pytest.mark.settings(node_lease=0.8)
async def test_a_user_cannot_read_what_was_said_before_it_joined_by_naming_an_older_position(
    nodes: list[Server], expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    early, bob, eve = await nodes[0].user(), await nodes[2].user(), await nodes[0].user()
    await early.enter("r", "early")
    await bob.enter("r", "bob")
    older = (await early.expect("user-joined", user_id="bob"))["at"]
    await bob.say("message", "r", {"content": "before"}, id=1)
    await bob.expect("ack")
    await eve.say("connect", None, {"user_id": "eve"})
    connected = (await eve.expect("connected"))["payload"]
    await eve.say("join-room", "r")
    await eve.expect("room-joined")
    await bob.expect("user-joined", user_id="eve")
    seen = eve.received
    await kill(nodes[0])
    await bob.say("message", "r", {"content": "after"}, id=2)
    again = await nodes[1].user()
    session = {"resume": connected["resume"], "received": seen, "at": {"r": older}}
    await again.say("connect", None, {"user_id": "eve", **session})
    await again.expect("message", content="after")
    await again.expect("connected", resumed=True, complete=False)


@pytest.mark.settings(node_lease=0.8)
async def test_members_of_a_killed_node_are_away_and_leave_after_the_resume_window(
    nodes: list[Server], expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    _, b, _ = await pair(nodes[0], nodes[2], presence=True)
    await kill(nodes[0])
    await b.expect("peer-away", peer_id="a")
    await b.expect("peer-left", peer_id="a", reason="timeout")


async def test_a_client_that_was_detached_when_its_node_stopped_resumes_at_another(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    seen = a.received
    await lose(nodes[0], a)
    assert await signal(b, "a", 1) == "queued"
    await nodes[0].shut_down()
    await b.say("signal", "r", {"target_peer_id": "a", "data": 2}, id=2)
    c = await nodes[2].peer()
    await c.join("r", "c")
    await b.expect("peer-joined", peer_id="c")  # so the signal of the same node is in Redis, too
    again = await resume(nodes[1], joined, seen)
    assert await numbers(again, 2) == [1, 2]
    await again.expect("peer-joined", peer_id="c")
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    await b.expect("ack")
    assert await b.drain("r") == []


@pytest.mark.settings(drain_seconds=0.2)
async def test_a_client_that_did_not_leave_a_draining_node_in_time_resumes_at_another(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    stopping = asyncio.create_task(nodes[0].shut_down())
    message = await a.expect("reconnect")
    assert "delivery" not in message
    await a.expect_close(1012)
    await stopping
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    assert await b.drain("r") == []


@pytest.mark.settings(drain_seconds=60)
async def test_a_client_that_follows_the_reconnect_notice_resumes_at_another_node(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    stopping = asyncio.create_task(nodes[0].shut_down())
    await a.expect("reconnect")
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    await a.expect_close(4501)
    await stopping  # at once, as no client is left
    assert await b.drain("r") == []


def test_a_restart_of_the_only_process_keeps_the_sessions_in_redis(engine: Engine, tmp_path: Path, prefix: str) -> None:
    environ = {
        "REDIS_URL": engine.url,
        "MCP_ACTORS_SECRET_KEY": SETTINGS["secret_key"],
        "MCP_ACTORS_DRAIN_SECONDS": "0",
    }
    environ["MCP_ACTORS_REDIS_PREFIX"] = prefix

    async def before(port: int) -> tuple[Frame, int]:
        client = await Client.open(f"ws://localhost:{port}/ws/signaling/")
        joined = await client.join("r", "a")
        client.vanish()
        return joined, client.received

    async def after(port: int, joined: Frame, received: int) -> None:
        client = await Client.open(f"ws://localhost:{port}/ws/signaling/")
        await client.say("join", "r", {"peer_id": "a", "resume": joined["resume"], "received": received})
        await client.expect("joined", resumed=True, complete=True, order=joined["order"])
        await client.end()

    with Process(tmp_path, "serve", "--port", "0", **environ).wait_until_serving() as first:
        joined, received = asyncio.run(before(first.port))
        assert first.stop(signals.SIGTERM) == 0
    with Process(tmp_path, "serve", "--port", "0", **environ).wait_until_serving() as second:
        asyncio.run(after(second.port, joined, received))
        assert second.stop(signals.SIGTERM) == 0


@pytest.fixture
def slow(engine: Engine, tmp_path: Path, prefix: str) -> Iterator[Process]:
    """A node in a process of its own, which can be stopped and killed."""
    environ = {
        "REDIS_URL": engine.url,
        "MCP_ACTORS_SECRET_KEY": SETTINGS["secret_key"],
        "MCP_ACTORS_REDIS_PREFIX": prefix,
        "MCP_ACTORS_NODE_LEASE": "60",
        "MCP_ACTORS_PING_INTERVAL": "0",
    }
    with Process(tmp_path, "serve", "--port", "0", **environ).wait_until_serving() as process:
        yield process


async def peer_at(process: Process) -> Client:
    """A client of a node in another process."""
    return await Client.open(f"ws://127.0.0.1:{process.port}/ws/signaling/")


async def again_at(server: Server, joined: Frame, received: int) -> Client:
    """Resume as `x` while its old node stands still."""
    client = await resume(server, joined, received, peer_id="x")
    await client.expect("joined", resumed=True, complete=False)
    return client


@pytest.mark.alone
@pytest.mark.settings(node_lease=60.0, resume_window=90.0)
async def test_what_a_slow_owner_accepts_after_its_session_moved_is_delivered_in_order(
    nodes: list[Server], slow: Process
) -> None:
    x, s, b = await peer_at(slow), await peer_at(slow), await nodes[1].peer()
    joined = await x.join("r", "x")
    await s.join("r", "s")
    await b.join("r", "b")
    await x.expect("peer-joined", peer_id="s")
    for client in (x, s):
        await client.expect("peer-joined", peer_id="b")
    assert await signal(s, "x", 1) == "delivered"
    await x.expect("signal", data=1)
    slow.process.send_signal(signals.SIGSTOP)
    for number in (2, 3):
        await s.say("signal", "r", {"target_peer_id": "x", "data": number}, id=number)
    again = await again_at(nodes[0], joined, x.received)
    assert await signal(b, "x", 9) == "delivered"
    await again.expect("signal", data=9)
    for number in (4, 5):
        await s.say("signal", "r", {"target_peer_id": "x", "data": number}, id=number)
    slow.process.send_signal(signals.SIGCONT)
    assert await numbers(again, 4) == [2, 3, 4, 5]
    for number in (2, 3, 4, 5):
        assert (await s.expect("ack", status="delivered"))["id"] == number
    assert await signal(s, "x", 6) == "delivered"
    await again.expect("signal", data=6)
    assert await again.drain("r") == []


@pytest.mark.alone
@pytest.mark.settings(node_lease=60.0, resume_window=90.0)
async def test_what_a_slow_owner_relays_for_a_session_that_moved_reaches_nobody_twice(
    nodes: list[Server], slow: Process
) -> None:
    x, y, z = await peer_at(slow), await nodes[0].peer(), await nodes[1].peer()
    joined = await x.join("r", "x")
    await y.join("r", "y")
    await z.join("r", "z")
    await x.expect("peer-joined", peer_id="y")
    await x.expect("peer-joined", peer_id="z")
    await y.expect("peer-joined", peer_id="z")
    slow.process.send_signal(signals.SIGSTOP)
    for target in ("y", "z"):
        await x.say("signal", "r", {"target_peer_id": target, "data": 1}, id=f"{target}1")
    again = await again_at(nodes[0], joined, x.received)
    for target, client in (("y", y), ("z", z)):
        await again.say("signal", "r", {"target_peer_id": target, "data": 1}, id=f"{target}1", again=True)
        assert (await again.expect("ack"))["id"] == f"{target}1"
        assert (await client.expect("signal", data=1))["again"] is True
    slow.process.send_signal(signals.SIGCONT)
    await x.expect_close(4501)
    for target, client in (("y", y), ("z", z)):
        await again.say("signal", "r", {"target_peer_id": target, "data": 2}, id=f"{target}2")
        await again.expect("ack")
        await client.expect("signal", data=2)
        assert await client.drain("r") == []


@pytest.mark.settings(node_lease=60.0, resume_window=90.0)
async def test_a_session_of_a_killed_node_resumes_at_once_and_not_when_its_lease_ends(
    nodes: list[Server], slow: Process
) -> None:
    x, b = await peer_at(slow), await nodes[1].peer()
    joined = await x.join("r", "x")
    await b.join("r", "b", presence=True)
    at = {"r": (await x.expect("peer-joined", peer_id="b"))["at"]}
    slow.process.kill()
    slow.process.wait()
    await b.say("signal", "r", {"target_peer_id": "x", "data": 1}, id=1)
    async with asyncio.timeout(BUSY_PATIENCE):
        again = await resume(nodes[0], joined, x.received, peer_id="x", at=at)
        await again.expect("signal", data=1)
        await again.expect("joined", resumed=True, complete=False, order=joined["order"])
    await b.expect("ack")
    assert await b.drain("r") == []
