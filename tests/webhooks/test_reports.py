"""Webhooks of whole servers, alone and with others on a real Redis, to a real receiver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bench.engine import AOF_ALWAYS, Engine
from mcp_actors.auth.secret import make
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import PeerId, RoomId
from mcp_actors.webhooks import reports
from tests.support.loop import until
from tests.support.receiver import Receiver
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs
    from tests.support.client import Client, Frame

    StartServer = Callable[..., Awaitable[Server]]

OPENED, CLOSED = ("room-opened", ""), ("room-closed", "")


def joined(name: str) -> tuple[str, str]:
    return "member-joined", name


def left(name: str) -> tuple[str, str]:
    return "member-left", name


@pytest.fixture
def receiver(io_loop: IOLoop) -> Iterator[Receiver]:
    async def make() -> Receiver:
        return Receiver()

    made = io_loop.run_sync(make)
    yield made
    made.hold.set()
    io_loop.run_sync(made.stop)


@pytest.fixture(autouse=True)
def _short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "STOP_SECONDS", 0.5)


@pytest.fixture
def start(receiver: Receiver, io_loop: IOLoop, tmp_path: Path) -> Iterator[StartServer]:
    """Start a server that reports to the receiver."""
    started: list[Server] = []

    async def start(**settings: Any) -> Server:
        server = Server(tmp_path, **receiver.settings | settings)
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        io_loop.run_sync(server.stop)


@pytest.fixture(params=["memory", "redis"])
def settings(request: pytest.FixtureRequest, prefix: str) -> dict[str, Any]:
    if request.param == "memory":
        return {}
    engine: Engine = request.getfixturevalue("engine")
    return {"redis_url": engine.url, "redis_prefix": prefix}


@pytest.fixture
def cluster(engine: Engine, prefix: str) -> dict[str, Any]:
    return {"redis_url": engine.url, "redis_prefix": prefix, "node_lease": 0.5, "resume_window": 0.5} | {
        "secret_key": make()
    }


async def test_joins_and_leaves_are_reported_with_what_members_say_of_themselves(
    start: StartServer, receiver: Receiver, settings: dict[str, Any]
) -> None:
    server = await start(**settings)
    a, u = await server.peer(), await server.user()
    await a.join("r", "a", metadata={"name": "Ada"})
    await u.enter("r", "u")
    await a.say("update", "r", {"metadata": {"name": "Ada L."}})
    await a.expect("updated")
    await a.say("leave", "r")
    await a.expect("left")
    await u.close()
    await receiver.has(6)
    assert receiver.of_room("r") == [OPENED, joined("a"), joined("u"), left("a"), left("u"), CLOSED]
    opened, first, second, third, last, _ = receiver.unique()
    assert opened.data == {"room": "r"}
    told = {"room": "r", "kind": "peer", "id": "a", "verified": False, "membership": first.data["membership"]}
    assert first.data == told | {"metadata": {"name": "Ada"}}
    assert third.data == told | {"metadata": {"name": "Ada L."}, "reason": "left"}
    assert (second.data["kind"], last.data["membership"]) == ("user", second.data["membership"])
    assert len(receiver.arrived) == 6


async def test_a_server_that_stops_reports_that_its_members_left(
    start: StartServer, receiver: Receiver, settings: dict[str, Any]
) -> None:
    server = await start(**settings, resume_window=0)
    await (await server.peer()).join("r", "a")
    await receiver.has(2)
    await server.stop()
    assert receiver.of_room("r") == [OPENED, joined("a"), left("a"), CLOSED]


async def test_without_redis_events_that_nobody_takes_are_lost_with_the_process_which_says_so(
    start: StartServer, receiver: Receiver, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.webhooks", "webhook events were lost, as this process stopped")
    expected_logs.allow("mcp_actors.webhooks", "webhook receiver is down")
    await receiver.stop()
    server = await start()
    await (await server.peer()).join("r", "a")
    running = server.app.reports
    assert running is not None
    await until(lambda: running.counters.failed, "a failure")
    assert running.waiting().events == 2
    assert running.waiting().oldest_seconds >= 0
    await server.stop()
    receiver.restart()


async def test_a_room_of_several_processes_is_opened_and_closed_once(
    start: StartServer, receiver: Receiver, cluster: dict[str, Any]
) -> None:
    servers = [await start(**cluster) for _ in range(3)]
    clients = []
    for number in range(6):
        client = await servers[number % 3].peer()
        await client.join("r", str(number))
        clients.append(client)
    for client in clients:
        await leave(client)
    await receiver.has(14)
    await asyncio.sleep(0.3)
    names = [str(number) for number in range(6)]
    assert receiver.of_room("r") == [OPENED, *map(joined, names), *map(left, names), CLOSED]
    assert len(receiver.arrived) == 14


async def test_members_that_operators_remove_leave(
    start: StartServer, receiver: Receiver, settings: dict[str, Any]
) -> None:
    server = await start(**settings)
    a, b = await server.peer(), await server.peer()
    await a.join("r", "a")
    await b.join("r", "b")
    administration = server.app.node.broker.administration
    await administration.kick(RoomId("r"), Kind.PEER, PeerId("b"))
    await b.expect("kicked")
    await administration.close(RoomId("r"))
    await receiver.has(6)
    assert receiver.of_room("r") == [OPENED, joined("a"), joined("b"), left("b"), left("a"), CLOSED]
    reasons = [one.data["reason"] for one in receiver.unique() if one.type == "member-left"]
    assert reasons == ["kicked", "room-closed"]


async def leave(client: Client) -> None:
    await client.say("leave", "r")
    while (await client.hear())["type"] != "left":
        pass


async def resume(server: Server, reply: Frame, received: int) -> Client:
    client = await server.peer()
    await client.say("join", "r", {"peer_id": "a", "resume": reply["resume"], "received": received})
    await client.expect("joined", resumed=True)
    return client


async def test_a_session_that_moves_to_another_process_neither_leaves_nor_joins(
    start: StartServer, receiver: Receiver, cluster: dict[str, Any]
) -> None:
    one, other = await start(**cluster | {"resume_window": 30}), await start(**cluster | {"resume_window": 30})
    client = await one.peer()
    reply = await client.join("r", "a")
    again = await resume(other, reply, client.received)
    await leave(again)
    await receiver.has(4)
    assert receiver.of_room("r") == [OPENED, joined("a"), left("a"), CLOSED]
    assert len(receiver.arrived) == 4


async def test_members_of_a_process_that_dies_leave_once(
    start: StartServer, receiver: Receiver, cluster: dict[str, Any], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "node lease expired")
    expected_logs.allow("mcp_actors.redis")
    dying, *others = [await start(**cluster) for _ in range(3)]
    await (await dying.peer()).join("r", "a")
    await (await dying.peer()).join("r", "b")
    watcher = await others[0].peer()
    await watcher.join("r", "w")
    await dying.app.node.broker.halt()  # type: ignore[attr-defined]
    await watcher.expect("peer-left")
    await watcher.expect("peer-left")
    await leave(watcher)
    await receiver.has(8)
    opened, *middle, last, closed = receiver.of_room("r")
    assert (opened, last, closed) == (OPENED, left("w"), CLOSED)
    assert sorted(middle) == sorted([joined("a"), joined("b"), joined("w"), left("a"), left("b")])
    reasons = {
        one.data["reason"] for one in receiver.unique() if one.data.get("id") in ("a", "b") and "reason" in one.data
    }
    assert reasons == {"timeout"}


async def test_events_wait_in_redis_for_the_next_process(
    start: StartServer, receiver: Receiver, cluster: dict[str, Any], expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.webhooks", "webhook receiver is down")
    await receiver.stop()
    first = await start(**cluster | {"resume_window": 0})
    client = await first.peer()
    await client.join("r", "a")
    await leave(client)
    await first.stop()
    receiver.restart()
    await start(**cluster)
    await receiver.has(4)
    assert receiver.of_room("r") == [OPENED, joined("a"), left("a"), CLOSED]


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "empty"])
async def test_redis_that_restarts_loses_no_event_unless_it_loses_its_data(
    start: StartServer, receiver: Receiver, cluster: dict[str, Any], expected_logs: ExpectedLogs, keeps: bool
) -> None:
    expected_logs.allow("mcp_actors.redis")
    receiver.hold.clear()
    with Engine(options=AOF_ALWAYS if keeps else ()) as own:
        settings = cluster | {"redis_url": own.url, "resume_window": 30, "outage_patience": 30}
        one, other = await start(**settings), await start(**settings)
        a, b = await one.peer(), await other.peer()
        await a.join("r", "a")
        await b.join("r", "b")
        await until(lambda: receiver.arrived, "the first request")
        own.kill()
        await until(lambda: not one.app.node.broker.ready, "that Redis is known to be down")
        await asyncio.to_thread(own.start)
        receiver.hold.set()
        await until(lambda: one.app.node.broker.ready and other.app.node.broker.ready, "that Redis is back")
        await leave(a)
        await leave(b)
        expected = [joined("a"), joined("b"), left("a"), left("b"), CLOSED]
        await until(lambda: {*expected} <= {*receiver.of_room("r")}, "all events")
        told = receiver.of_room("r")
        assert told[0] == OPENED
        if keeps:
            assert told == [OPENED, *expected]
        else:  # the processes announce their members again, in any order
            assert sorted(one for one in told if one != OPENED) == sorted(expected)
        for server in (one, other):
            await server.stop()
