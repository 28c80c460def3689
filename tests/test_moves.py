"""Sessions that go on at another node, over the wire: several nodes in the test's own loop, on a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.engine import Engine
from tests.support.loop import until
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.support.client import Client, Frame

SETTINGS = {"secret_key": "a secret that all nodes have, of some length", "node_lease": 1.0, "resume_window": 3.0}


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
        "redis_prefix": f"t{id(request.node):x}",
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


@pytest.mark.parametrize("others", [0, 1, 2])
async def test_a_client_goes_on_at_another_node_and_nobody_saw_it_go(nodes: list[Server], others: int) -> None:
    a, b, joined = await pair(nodes[0], nodes[others])
    a.vanish()
    await until(lambda: nodes[0].app.sessions._away, "that the session waits")
    assert [await signal(b, "a", number) for number in (1, 2)] == ["queued", "queued"]
    again = await resume(nodes[1], joined, a.received)
    assert [(await again.expect("signal"))["payload"]["data"] for _ in range(2)] == [1, 2]
    reply = await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    assert [peer["peer_id"] for peer in reply["payload"]["peers"]] == ["a", "b"]
    assert await signal(b, "a", 3) == "delivered"
    await again.expect("signal", data=3)
    assert await signal(again, "b", 4) == "delivered"
    await b.expect("signal", data=4)
    assert await b.drain("r") == []
