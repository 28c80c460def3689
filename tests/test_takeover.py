"""Whose a peer id is, within one process and between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.engine import Engine
from tests.support.loop import until
from tests.support.server import Server
from tests.support.tokens import OPTIONAL, bearer, token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.support.client import Client, Frame


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


# ------------------------------------------------------------------------------------------------ at another process


@pytest.fixture
def two(redis_url: str, io_loop: IOLoop, tmp_path: Path) -> Iterator[list[Server]]:
    """Two servers that share rooms and sessions."""
    servers = [Server(tmp_path, **OPTIONAL, redis_url=redis_url) for _ in range(2)]
    for server in servers:
        io_loop.run_sync(server.start)
    yield servers
    for server in servers:
        io_loop.run_sync(server.stop)


async def lose(client: Client, server: Server) -> None:
    """Break a client's connection, and wait until its session waits for it."""
    client.vanish()
    await until(lambda: server.app.sessions._away, "that the session waits")


async def come_back(server: Server, room: str, joined: Frame, received: int, **headers: str) -> Client:
    """Connect to go on with the session of `a`; the answer to that is still to be heard."""
    client = await server.peer(**headers)
    if headers:
        await client.expect("authenticated")
    payload = {"peer_id": "a", "resume": joined["resume"], "received": received}
    await client.say("join", room, payload, id="back")
    return client


async def test_an_owner_whose_session_has_moved_is_the_owner_still(two: list[Server]) -> None:
    first, second = two
    watcher, a = await first.peer(), await owner(first)
    await watcher.join("t", "w", presence=True)
    joined = await a.join("t", "a", metadata={"name": "Ada"})
    await watcher.expect("peer-joined", peer_id="a")
    await lose(a, first)
    await watcher.expect("peer-away", peer_id="a")
    again = await come_back(second, "t", joined, a.received, **bearer("a"))
    await again.expect("joined", resumed=True, complete=True, order=joined["order"])
    await watcher.expect("peer-back", peer_id="a")
    for server in two:
        claimer = await server.peer()
        await claimer.say("join", "t", {"peer_id": "a"})
        await claimer.expect_error("peer-id-taken")
    await lose(again, second)
    await watcher.expect("peer-away", peer_id="a")
    for server in two:
        claimer = await server.peer()
        await claimer.say("join", "t", {"peer_id": "a"})
        await claimer.expect_error("peer-id-taken")
    joined = await (await owner(first)).join("t", "a")
    await watcher.expect("peer-left", peer_id="a", reason="replaced")
    await watcher.expect("peer-joined", peer_id="a", order=joined["order"])


@pytest.mark.parametrize("sub", [None, "b"], ids=["nobody", "another"])
async def test_nobody_else_goes_on_with_the_session_of_an_owner_at_another_process(
    two: list[Server], sub: str | None
) -> None:
    first, second = two
    room, headers = f"u-{sub}", {} if sub is None else bearer(sub)
    a = await owner(first)
    joined = await a.join(room, "a")
    await lose(a, first)
    thief = await come_back(second, room, joined, a.received, **headers)
    await thief.expect_error("forbidden" if sub else "peer-id-taken")
    await thief.say("join", f"{room}-else", {"peer_id": "b", "resume": joined["resume"]})
    await thief.expect("joined", resumed=False)
    again = await come_back(second, room, joined, a.received, **bearer("a"))
    await again.expect("joined", resumed=True, complete=True)


async def test_a_token_goes_on_with_no_session_that_began_without_one(two: list[Server]) -> None:
    first, second = two
    a = await first.peer()
    joined = await a.join("v", "a")
    await lose(a, first)
    again = await come_back(second, "v", joined, a.received, **bearer("a"))
    await again.expect("joined", resumed=False)  # it has taken the place of who claimed its id


async def test_a_user_is_itself_at_another_process_with_its_token_alone(two: list[Server]) -> None:
    first, second = two
    user = await first.user(**bearer("a"))
    await user.expect("authenticated")
    await user.say("connect")
    connected = (await user.expect("connected", user_id="a"))["payload"]
    await user.say("join-room", "x")
    await user.expect("room-joined")
    await lose(user, first)
    payload = {"user_id": "a", "resume": connected["resume"], "received": user.received}
    thief = await second.user()
    await thief.say("connect", None, payload)
    await thief.expect("connected", resumed=False)
    again = await second.user(**bearer("a"))
    await again.expect("authenticated")
    await again.say("connect", None, payload)
    await again.expect("connected", resumed=True, complete=True)


async def test_who_comes_back_elsewhere_with_a_narrower_token_has_left_what_that_forbids(two: list[Server]) -> None:
    first, second = two
    watcher, a = await first.peer(), await owner(first)
    await watcher.join("z", "w")
    joined = await a.join("y", "a")
    await a.join("z", "a")
    await watcher.expect("peer-joined", peer_id="a")
    await lose(a, first)
    again = await come_back(second, "y", joined, a.received, **bearer("a", rooms=["y"]))
    error = await again.expect("error", code="forbidden")
    assert error["room"] == "z"
    await again.expect("joined", resumed=True, complete=True)
    await watcher.expect("peer-left", peer_id="a", reason="left")


async def test_a_room_that_a_new_token_has_forbidden_is_not_missed_at_another_process(two: list[Server]) -> None:
    first, second = two
    a = await owner(first)
    joined = await a.join("y", "a")
    await a.join("z", "a")
    await a.say("authenticate", payload={"token": token("a", rooms=["y"])})
    await a.expect("authenticated")
    await a.expect_error("forbidden")
    await lose(a, first)
    again = await come_back(second, "y", joined, a.received, **bearer("a"))
    await again.expect("joined", resumed=True, complete=True)
