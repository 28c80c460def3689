"""Sessions that go on at another node, over the wire: several nodes in the test's own loop, on a real Redis."""

from __future__ import annotations

import asyncio
import signal as signals
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from bench.engine import Engine
from tests.support.client import Client
from tests.support.loop import until
from tests.support.server import Process, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs
    from tests.support.client import Frame

PREFIXES = count()
"""Of the keys of each test in the engine that they share."""

SETTINGS: dict[str, Any] = {
    "secret_key": "a secret that all nodes have, of some length",
    "node_lease": 3.0,
    "resume_window": 3.0,
    "ping_interval": 0,  # a pong says that the client has what the test has not read yet, as its library does
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as started:
        yield started


@pytest.fixture
def nodes(request: pytest.FixtureRequest, engine: Engine, io_loop: IOLoop, tmp_path: Path) -> Iterator[list[Server]]:
    """Three nodes; settings as by the test's marker `settings`."""
    marker = request.node.get_closest_marker("settings")
    settings = {
        **SETTINGS,
        "redis_url": engine.url,
        "redis_prefix": f"t{next(PREFIXES)}",
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
    """Come back on a new connection; what is told is still to be heard."""
    client = await server.peer()
    payload = {"peer_id": peer_id, "resume": joined["resume"], "received": received, **more}
    await client.say("join", room, payload, id="back")
    return client


async def pair(first: Server, second: Server, **how: Any) -> tuple[Client, Client, Frame]:
    """Peers `a` and `b` in room `r`, with nothing left to hear, and what `a` was told when it joined."""
    a, b = await first.peer(), await second.peer()
    joined = await a.join("r", "a")
    await b.join("r", "b", **how)
    await a.expect("peer-joined", peer_id="b")
    return a, b, joined


async def signal(client: Client, target: str, data: int) -> str:
    """Send a signal; the status of its ack is returned."""
    await client.say("signal", "r", {"target_peer_id": target, "data": data}, id=data)
    status: str = (await client.expect("ack"))["payload"]["status"]
    return status


async def lose(server: Server, client: Client) -> None:
    """Cut a connection, and wait until the server knows."""
    client.vanish()
    await until(lambda: server.app.sessions._away, "that the session waits")


async def numbers(client: Client, many: int) -> list[int]:
    """What the next so many signals say."""
    return [(await client.expect("signal"))["payload"]["data"] for _ in range(many)]


@pytest.mark.parametrize("others", [0, 1, 2])
async def test_a_client_goes_on_at_another_node_and_nobody_saw_it_go(nodes: list[Server], others: int) -> None:
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


async def test_numbers_go_on_where_the_other_node_ended_and_what_was_read_comes_no_more(nodes: list[Server]) -> None:
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


async def test_a_client_may_come_back_elsewhere_before_its_node_noticed(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True)
    await a.expect_close(4501)
    assert await signal(b, "a", 1) == "delivered"
    await again.expect("signal", data=1)
    assert await b.drain("r") == []


@pytest.mark.alone
async def test_what_is_under_way_at_the_moment_of_the_move_arrives_once_and_in_order(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    count_of_all = 150  # so few that the client is not asked what it has, as its library would answer for this test

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


async def test_a_session_comes_back_to_a_node_that_it_left(nodes: list[Server]) -> None:
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


async def test_all_rooms_of_a_session_move_with_it(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    await a.join("other", "a2")
    c = await nodes[1].peer()
    await c.join("other", "c")
    await a.expect("peer-joined", peer_id="c")
    seen = a.received
    await lose(nodes[0], a)
    again = await resume(nodes[1], joined, seen)
    await again.expect("joined", resumed=True, complete=True)
    await again.say("join", "other", {"peer_id": "a2", "resume": "any"})
    reply = await again.expect("joined", resumed=True, complete=True)
    assert [peer["peer_id"] for peer in reply["payload"]["peers"]] == ["a2", "c"]
    await again.say("signal", "other", {"target_peer_id": "c", "data": 1}, id=1)
    await again.expect("ack")
    await c.expect("signal", data=1)
    assert await b.drain("r") == await c.drain("other") == []


async def test_the_token_of_a_session_that_moved_is_used_up_everywhere(nodes: list[Server]) -> None:
    a, _, joined = await pair(nodes[0], nodes[2])
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True)
    assert await again.drain("r") == []  # and the ping behind the reply is answered
    await until(
        lambda: all(one.oldest == one.generation for one in nodes[1].app.sessions._sessions.values()),
        "that it has its token",
    )
    links: Any = nodes[1].app.node.broker
    await until(lambda: links._links[0].bucket.notes.all_written, "that all nodes know")
    for server in nodes:
        other = await resume(server, joined, 0)
        await other.expect_error("peer-id-taken")
    assert await again.drain("r") == []


async def test_of_two_who_come_back_with_one_token_at_two_nodes_one_has_the_session(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    await lose(nodes[0], a)
    rivals = await asyncio.gather(*(resume(server, joined, a.received) for server in nodes[:2]))
    replies = [await rival.hear() for rival in rivals]
    resumed = [reply for reply in replies if reply["type"] == "joined" and reply["payload"]["resumed"]]
    assert 1 <= len(resumed) <= 2  # the second too, if the first had not told that it has its token
    assert await signal(b, "a", 1) in ("delivered", "queued")
    assert await b.drain("r") == []
    members = nodes[2].app.node.rooms._rooms
    assert len(members) == 1


async def test_a_user_goes_on_at_another_node_with_all_its_rooms(nodes: list[Server]) -> None:
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


async def test_the_others_see_that_a_peer_is_back_when_it_goes_on_elsewhere(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2], presence=True)
    await lose(nodes[0], a)
    await b.expect("peer-away", peer_id="a")
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True)
    await b.expect("peer-back", peer_id="a")
    await lose(nodes[1], again)
    await b.expect("peer-away", peer_id="a")
    await b.expect("peer-left", peer_id="a", reason="timeout")


async def test_who_wanted_to_know_who_is_away_still_does_at_another_node(nodes: list[Server]) -> None:
    a, b = await nodes[0].peer(), await nodes[2].peer()
    joined = await a.join("r", "a", presence=True)
    await b.join("r", "b")
    await a.expect("peer-joined", peer_id="b")
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True)
    b.vanish()
    await again.expect("peer-away", peer_id="b")


async def test_a_late_close_at_the_old_node_removes_nobody(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True)
    await a.socket.close(1000)
    assert await signal(b, "a", 1) == "delivered"
    await again.expect("signal")
    assert await b.drain("r") == []


async def test_offers_keep_their_numbers_across_a_move(nodes: list[Server]) -> None:
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


async def test_a_message_that_waits_for_its_receipt_is_answered_at_the_new_node(nodes: list[Server]) -> None:
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


async def test_a_clean_leave_is_final_at_every_node(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    await a.close()
    await b.expect("peer-left", peer_id="a", reason="disconnected")
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=False)
    await b.expect("peer-joined", peer_id="a")


# ------------------------------------------------------------------------------------------------------- nodes that go


async def kill(server: Server) -> None:
    """Let a node be gone without a word: it says nothing more to Redis and reads nothing."""
    broker: Any = server.app.node.broker
    for task in broker._tasks:
        task.cancel()
    await asyncio.gather(*broker._tasks, return_exceptions=True)
    for link in broker._links:
        link.hang_up()


@pytest.mark.settings(node_lease=0.8)
async def test_what_others_sent_to_a_node_that_was_killed_arrives_at_the_next_one(
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
async def test_the_members_of_a_node_that_was_killed_are_away_and_leave_when_their_time_is_over(
    nodes: list[Server], expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    _, b, _ = await pair(nodes[0], nodes[2], presence=True)
    await kill(nodes[0])
    await b.expect("peer-away", peer_id="a")
    await b.expect("peer-left", peer_id="a", reason="timeout")


async def test_who_was_away_when_its_node_stopped_goes_on_at_another(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    seen = a.received
    await lose(nodes[0], a)
    assert await signal(b, "a", 1) == "queued"
    await nodes[0].app.stop()
    await b.say("signal", "r", {"target_peer_id": "a", "data": 2}, id=2)
    again = await resume(nodes[1], joined, seen)
    assert await numbers(again, 2) == [1, 2]
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    await b.expect("ack")
    assert await b.drain("r") == []


@pytest.mark.settings(drain_seconds=0.2)
async def test_who_has_not_gone_in_time_comes_back_at_another_node(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    stopping = asyncio.create_task(nodes[0].app.stop())
    message = await a.expect("reconnect")
    assert "delivery" not in message
    await a.expect_close(1012)
    await stopping
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    assert await b.drain("r") == []


@pytest.mark.settings(drain_seconds=20)
async def test_a_client_that_follows_the_notice_goes_on_at_another_node(nodes: list[Server]) -> None:
    a, b, joined = await pair(nodes[0], nodes[2])
    stopping = asyncio.create_task(nodes[0].app.stop())
    await a.expect("reconnect")
    again = await resume(nodes[1], joined, a.received)
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    await a.expect_close(4501)
    await stopping  # at once: nobody is left
    assert await b.drain("r") == []


def test_a_restart_with_one_process_keeps_the_sessions_that_redis_knows(engine: Engine, tmp_path: Path) -> None:
    environ = {
        "REDIS_URL": engine.url,
        "MCP_ACTORS_SECRET_KEY": SETTINGS["secret_key"],
        "MCP_ACTORS_DRAIN_SECONDS": "0",
    }
    environ["MCP_ACTORS_REDIS_PREFIX"] = f"t{next(PREFIXES)}"

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
