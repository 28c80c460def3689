"""Ownership of peer ids by access tokens, within one process and between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.loop import until
from tests.support.server import Server
from tests.support.tokens import OPTIONAL, bearer, token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from bench.engine import Engine
    from tests.support.client import Client, Frame

pytestmark = pytest.mark.settings(**OPTIONAL)


async def owner(server: Server) -> Client:
    client = await server.peer(**bearer("a"))
    await client.expect("authenticated")
    return client


async def test_the_owner_of_an_id_replaces_its_earlier_connections_and_receives_messages(servers: list[Server]) -> None:
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


async def test_a_client_without_a_token_cannot_take_the_id_of_an_owner(servers: list[Server]) -> None:
    a, claimer = await owner(servers[0]), await servers[1].peer()
    watcher = await servers[1].peer()
    await watcher.join("s", "w", presence=True)
    await a.join("s", "a")
    await watcher.expect("peer-joined", peer_id="a")
    await claimer.say("join", "s", {"peer_id": "a"})
    await claimer.expect_error("peer-id-taken")
    a.vanish()
    await until(lambda: servers[0].app.sessions.detached, "that the owner is detached")
    await watcher.expect("peer-away", peer_id="a")
    await claimer.say("join", "s", {"peer_id": "a"})
    await claimer.expect_error("peer-id-taken")


async def user(server: Server, name: str, room: str) -> tuple[Client, Frame]:
    """A user in a room that owns its id, and the reply to its join."""
    client = await server.user(**bearer(name))
    await client.expect("authenticated")
    return client, await client.enter(room, name)


async def test_a_client_without_a_token_cannot_speak_as_a_user_that_has_one(servers: list[Server]) -> None:
    watcher, claimer = await servers[1].user(), await servers[1].user()
    await watcher.enter("spoken", "w")
    alice, _ = await user(servers[0], "alice", "spoken")
    await watcher.expect("user-joined", user_id="alice", verified=True)
    await claimer.say("connect", None, {"user_id": "alice"})
    await claimer.expect("connected")
    await claimer.say("join-room", "spoken")
    assert "connect under another one" in (await claimer.expect_error("peer-id-taken"))["message"]
    await claimer.say("message", "spoken", {"content": "I am alice"})
    await claimer.expect_error("not-in-room")
    again, joined = await user(servers[1], "alice", "spoken")
    assert joined["users"] == [{"user_id": "w"}, {"user_id": "alice", "verified": True}]
    await again.say("message", "spoken", {"content": "so am I"})
    said = await watcher.expect("message")
    assert (said["sender"], said["verified"]) == ("alice", True)
    await again.close()
    alice.vanish()
    await until(lambda: servers[0].app.sessions.detached, "that the user is detached")
    await claimer.say("join-room", "spoken")
    await claimer.expect_error("peer-id-taken")


async def test_the_owner_of_a_user_id_takes_it_from_all_connections_that_claim_it(servers: list[Server]) -> None:
    watcher, claimers = await servers[0].user(), [await server.user() for server in servers]
    await watcher.enter("claimed", "w")
    for claimer in claimers:
        await claimer.enter("claimed", "alice")
    await claimers[0].say("update", "claimed", {"metadata": {"name": "Alice?"}}, id=1)
    await watcher.expect("user-joined", user_id="alice", verified=None)
    await watcher.expect("user-updated")
    alice, joined = await user(servers[1], "alice", "claimed")
    assert joined["users"] == [{"user_id": "w"}, {"user_id": "alice", "verified": True}]
    await watcher.expect("user-left", user_id="alice", reason="replaced")
    await watcher.expect("user-joined", user_id="alice", verified=True)
    for claimer in claimers:
        await claimer.expect_close(4501)
    await watcher.say("message", "claimed", {"content": "hello"})
    said = await alice.expect("message")
    assert (said["sender"], "verified" in said) == ("w", False)


async def test_rosters_and_messages_say_which_peers_are_verified(servers: list[Server]) -> None:
    claimer, a = await servers[0].peer(), await owner(servers[1])
    assert "verified" not in (await claimer.join("told", "c"))["peers"][0]
    peers = (await a.join("told", "a"))["peers"]
    assert [(peer["peer_id"], peer.get("verified")) for peer in peers] == [("c", None), ("a", True)]
    await claimer.expect("peer-joined", peer_id="a", verified=True)
    await a.say("signal", "told", {"target_peer_id": "c", "data": 1})
    said = await claimer.expect("signal")
    assert (said["sender"], said["verified"]) == ("a", True)
    await claimer.say("signal", "told", {"target_peer_id": "a", "data": 2})
    assert "verified" not in await a.expect("signal")
    await claimer.say("signal", "told", {"target_peer_id": "a", "data": 3}, verified=True)
    await claimer.expect_error("bad-message")


@pytest.fixture
def two(engine: Engine, io_loop: IOLoop, tmp_path: Path, prefix: str) -> Iterator[list[Server]]:
    """Two servers that share rooms and sessions."""
    servers = [Server(tmp_path, **OPTIONAL, redis_url=engine.url, redis_prefix=prefix) for _ in range(2)]
    for server in servers:
        io_loop.run_sync(server.start)
    yield servers
    for server in servers:
        io_loop.run_sync(server.stop)


async def lose(client: Client, server: Server) -> None:
    """Cut a connection, and wait until its session is detached."""
    client.vanish()
    await until(lambda: server.app.sessions.detached, "that the session is detached")


async def come_back(server: Server, room: str, joined: Frame, received: int, **headers: str) -> Client:
    """Connect and ask to resume the session of `a`; the reply is still to be read."""
    client = await server.peer(**headers)
    if headers:
        await client.expect("authenticated")
    payload = {"peer_id": "a", "resume": joined["resume"], "received": received}
    await client.say("join", room, payload, id="back")
    return client


async def test_an_owner_keeps_its_id_when_its_session_migrates(two: list[Server]) -> None:
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
async def test_another_client_cannot_resume_the_session_of_an_owner_at_another_process(
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


async def test_a_client_with_a_token_cannot_resume_a_session_that_began_without_one(two: list[Server]) -> None:
    first, second = two
    a = await first.peer()
    joined = await a.join("v", "a")
    await lose(a, first)
    again = await come_back(second, "v", joined, a.received, **bearer("a"))
    await again.expect("joined", resumed=False)  # and replaces the client that claimed its id


async def test_a_user_resumes_at_another_process_only_with_its_token(two: list[Server]) -> None:
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


async def test_a_client_that_resumes_with_a_narrower_token_leaves_the_forbidden_rooms(two: list[Server]) -> None:
    first, second = two
    watcher, a = await first.peer(), await owner(first)
    await watcher.join("z", "w")
    joined = await a.join("y", "a")
    await a.join("z", "a")
    await watcher.expect("peer-joined", peer_id="a")
    await lose(a, first)
    await watcher.say("signal", "z", {"target_peer_id": "a", "data": "secret"}, id=1)
    await watcher.expect("ack", status="queued")
    again = await come_back(second, "y", joined, a.received, **bearer("a", rooms=["y"]))
    error = await again.expect("error", code="forbidden")
    assert error["room"] == "z"
    await again.expect("joined", resumed=True, complete=True)
    await watcher.expect("peer-left", peer_id="a", reason="left")


async def test_a_room_left_because_of_a_new_token_does_not_make_the_session_incomplete(two: list[Server]) -> None:
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
