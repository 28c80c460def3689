"""Whose a peer id is, within one process and between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.engine import Engine
from tests.support.loop import until
from tests.support.server import Server
from tests.support.tokens import OPTIONAL, bearer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.support.client import Client


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A Redis of these tests' own."""
    with Engine() as engine:
        yield engine.url


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def servers(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[list[Server]]:
    """The servers of two peers, which may be the same."""
    settings = {"redis_url": request.getfixturevalue("redis_url")} if request.param == 2 else {}
    servers = [Server(tmp_path, **OPTIONAL, **settings) for _ in range(request.param)]
    for server in servers:
        io_loop.run_sync(server.start)
    yield [servers[0], servers[-1]]
    for server in servers:
        io_loop.run_sync(server.stop)


async def owner(server: Server) -> Client:
    client = await server.peer(**bearer("a"))
    await client.expect("authenticated")
    return client


async def test_the_owner_of_an_id_takes_it_over_at_once_and_what_is_sent_reaches_it(servers: list[Server]) -> None:
    watcher = await servers[0].peer()
    await watcher.join("r", "w")
    olds = [await servers[0].peer(), await owner(servers[1]), await owner(servers[0])]
    await olds[0].join("r", "a")
    await watcher.expect("peer-joined", peer_id="a")
    for old, new in zip(olds, [*olds[1:], await owner(servers[1])], strict=True):
        joined = await new.join("r", "a")
        assert [peer["peer_id"] for peer in joined["peers"]] == ["w", "a"]
        await watcher.expect("peer-left", peer_id="a", reason="replaced")
        await watcher.expect("peer-joined", peer_id="a", order=joined["order"])
        await old.expect_close(4501)
    await watcher.say("signal", "r", {"target_peer_id": "a", "data": 1}, id=1)
    await new.expect("signal", data=1)
    await watcher.expect("ack", status="delivered")


async def test_who_only_claims_an_id_does_not_get_it_from_its_owner(servers: list[Server]) -> None:
    a, claimer = await owner(servers[0]), await servers[1].peer()
    watcher = await servers[1].peer()
    await watcher.join("s", "w", presence=True)
    await a.join("s", "a")
    await watcher.expect("peer-joined", peer_id="a")
    await claimer.say("join", "s", {"peer_id": "a"})
    await claimer.expect_error("peer-id-taken")
    a.vanish()
    await until(lambda: servers[0].app.sessions._away, "that the owner is away")
    await watcher.expect("peer-away", peer_id="a")
    await claimer.say("join", "s", {"peer_id": "a"})
    await claimer.expect_error("peer-id-taken")
