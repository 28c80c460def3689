"""Connections that are lost, silent, moved or replaced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.client.behaviours.driver import Refused
from tests.support.server import Server
from tests.support.tokens import SECRET
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from bench.engine import Engine
    from tests.client.behaviours.conftest import Connects


async def test_a_lost_connection_loses_nothing_and_nobody_else_notices(
    server: Server, path: NetworkPath, connect: Connects
) -> None:
    a = await (await connect.peer(server)).join("r", "a", presence=True)
    other = await connect.peer(path)
    b = await other.join("r", "b")
    order = (await b.view())["order"]
    path.cut()
    await other.until("reconnecting")
    await a.hear("peer-joined", "peer-away")
    assert (await a.view())["away"] == ["b"]
    requests = [asyncio.create_task(b.send("signal", "a", number)) for number in range(3)]
    statuses = [await a.send("signal", "b", number) for number in range(3)]
    assert statuses == ["queued"] * 3
    path.mend()
    await other.reconnect()
    assert await b.data(3) == [0, 1, 2]
    assert await asyncio.gather(*requests) == ["delivered"] * 3
    await a.hear("peer-back")
    assert await a.data(3) == [0, 1, 2]
    assert (await b.view())["order"] == order
    assert (await a.view())["away"] == []


async def test_a_request_whose_reply_is_lost_is_answered_and_carried_out_once(
    server: Server, path: NetworkPath, connect: Connects
) -> None:
    a = await (await connect.peer(server)).join("r", "a")
    b = await (await connect.peer(path)).join("r", "b")
    await a.hear("peer-joined")
    path.freeze_answers()
    request = asyncio.create_task(b.send("signal", "a", 1))
    assert await a.data(1) == [1]
    path.cut()
    path.mend()
    assert await request == "delivered"
    await b.send("signal", "a", 2)
    assert await a.data(1) == [2]


@pytest.mark.settings(ping_interval=0.3)
async def test_a_silent_connection_is_found_by_the_heartbeat(
    server: Server, path: NetworkPath, connect: Connects
) -> None:
    a = await (await connect.peer(server)).join("r", "a")
    other = await connect.peer(path)
    b = await other.join("r", "b")
    await a.hear("peer-joined")
    path.freeze()
    await other.until("reconnecting")
    await other.until("open")
    assert await b.send("signal", "a", 1) == "delivered"
    assert await a.data(1) == [1]


@pytest.mark.settings(resume_window=0)
async def test_a_client_whose_session_is_over_joins_again_and_says_so(
    server: Server, path: NetworkPath, connect: Connects
) -> None:
    a = await (await connect.peer(server)).join("r", "a")
    other = await connect.peer(path)
    b = await other.join("r", "b", metadata={"name": "B"})
    order = (await b.view())["order"]
    path.cut()
    await other.until("reconnecting")
    with pytest.raises(Refused) as lost:
        await b.send("signal", "a", 1)
    assert lost.value.code == "connection-lost"
    path.mend()
    await other.reconnect()
    assert [rejoined["resumed"] for rejoined in await b.hear("rejoined")] == [False]
    assert (await b.view())["order"] > order
    *_, again = await a.hear("peer-joined", "peer-left", "peer-joined")
    assert again["metadata"] == {"name": "B"}
    assert await b.send("signal", "a", 2) == "delivered"


async def test_all_rooms_of_a_connection_go_on(server: Server, path: NetworkPath, connect: Connects) -> None:
    names = [f"room {number}" for number in range(8)]
    one, other = await connect.peer(server), await connect.peer(path)
    theirs = [await one.join(name, "a") for name in names]
    ours = [await other.join(name, "b") for name in names]
    for room in theirs:
        await room.hear("peer-joined")
    path.cut()
    await other.until("reconnecting")
    await ours[0].call("leave")
    for room in theirs[1:]:
        await room.send("signal", "b", room.name)
    path.mend()
    await other.reconnect()
    assert [await room.data(1) for room in ours[1:]] == [[name] for name in names[1:]]
    assert [left["reason"] for left in await theirs[0].hear("peer-left")] == ["left"]
    assert [await room.send("signal", "a", 1) for room in ours[1:]] == ["delivered"] * 7


async def test_a_join_waits_for_a_connection_and_ends_when_the_client_is_closed(
    path: NetworkPath, connect: Connects
) -> None:
    client = await connect.peer(path)
    await client.join("r", "a")
    path.cut()
    await client.until("reconnecting")
    joining = asyncio.create_task(client.join("s", "a"))
    path.mend()
    await client.reconnect()
    assert (await (await joining).view())["peers"] == {}

    path.freeze_answers()
    pending = asyncio.create_task(client.join("t", "a"))
    await asyncio.sleep(0.05)
    await client.close()
    with pytest.raises(Refused) as closed:
        await pending
    assert closed.value.code == "closed"
    await client.until("close")


@pytest.fixture
def nodes(io_loop: IOLoop, tmp_path: Path, engine: Engine, prefix: str) -> Iterator[list[Server]]:
    """Two processes of one cluster."""
    nodes = [Server(tmp_path, secret_key=SECRET, redis_url=engine.url, redis_prefix=prefix) for _ in range(2)]
    for node in nodes:
        io_loop.run_sync(node.start)
    yield nodes
    for node in nodes:
        io_loop.run_sync(node.stop)


async def test_a_client_moves_when_its_process_is_told_to_stop(nodes: list[Server], connect: Connects) -> None:
    path = NetworkPath(nodes[0].port)
    a = await (await connect.peer(path)).join("r", "a")
    u = await (await connect.user(path, userId="u")).join("r")
    b = await (await connect.peer(nodes[1])).join("r", "b")
    order = (await a.view())["order"]
    path.lead_to(nodes[1].port)
    stopping = asyncio.create_task(nodes[0].shut_down())
    for number in range(20):
        assert await b.send("signal", "a", number) in {"delivered", "queued"}
        await u.call("send", value=number)
    await stopping
    assert await a.data(20, passing=["peer-joined"]) == list(range(20))
    assert (await a.view())["order"] == order
    assert await a.send("signal", "b", "still here") == "delivered"
    path.cut()
