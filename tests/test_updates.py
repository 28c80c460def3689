"""Metadata that members change, over the wire, within one process and between two."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bench.engine import AOF_ALWAYS, NOT_PERSISTENT, Engine
from tests.support.loop import until
from tests.support.server import Server
from tests.test_moves import kill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import ExpectedLogs
    from tests.support.client import Client, Frame

SHARED: dict[str, Any] = {"node_lease": 30.0, "resume_window": 30.0, "ping_interval": 0, "secret_key": "k" * 40}

pytestmark = pytest.mark.settings(**SHARED)


async def hear(client: Client) -> Frame:
    """The next message, without the offset that it has between processes."""
    message = await client.hear()
    message.pop("at", None)
    return message


def shown(roster: Sequence[Frame]) -> dict[str, Any]:
    """The metadata of each peer or user."""
    return {entry.get("peer_id") or entry["user_id"]: entry.get("metadata") for entry in roster}


async def test_all_others_are_told_of_an_update_and_newcomers_see_it(servers: list[Server]) -> None:
    ana, ben, una = await servers[0].peer(), await servers[1].peer(), await servers[1].user()
    await ana.join("r", "ana", metadata={"name": "Ana"})
    await ben.join("r", "ben")
    await ana.expect("peer-joined", peer_id="ben")
    await una.enter("r", "una")
    metadata = {"name": "Ana", "muted": True, "tags": ["ä", None, 1.5]}
    payload = {"peer_id": "ana", "metadata": metadata}
    await ana.say("update", "r", {"metadata": metadata}, id=3)
    assert await hear(ana) == {"type": "updated", "room": "r", "id": 3, "payload": payload}
    for other in (ben, una):
        assert await hear(other) == {"type": "peer-updated", "room": "r", "payload": payload}
    for server in servers:
        newcomer = await server.peer()
        assert shown((await newcomer.join("r", f"new{server.port}"))["peers"])["ana"] == metadata
        await newcomer.close()
        late = await server.user()
        assert shown((await late.enter("r", "late"))["peers"])["ana"] == metadata
        await late.close()


async def test_metadata_of_a_user_belongs_to_all_its_connections(servers: list[Server]) -> None:
    vic = await servers[0].user()
    await vic.enter("r", "vic")
    tabs = [await server.user() for server in servers]
    for tab in tabs:
        assert shown((await tab.enter("r", "una"))["users"]) == {"vic": None, "una": None}
    await vic.expect("user-joined", user_id="una")
    for number, (tab, other) in enumerate([tabs, tabs[::-1]]):
        await tab.say("update", "r", {"metadata": {"n": number}}, id=number)
        assert (await tab.expect("updated", user_id="una", metadata={"n": number}))["id"] == number
        for one in (other, vic):
            await one.expect("user-updated", user_id="una", metadata={"n": number})
    third = await servers[0].user()
    assert shown((await third.enter("r", "una"))["users"]) == {"vic": None, "una": {"n": 1}}
    for tab in (*tabs, third):
        await tab.close()
    await vic.expect("user-left", user_id="una")
    again = await servers[1].user()
    assert shown((await again.enter("r", "una"))["users"]) == {"vic": None, "una": None}
    await vic.expect("user-joined", user_id="una")


async def test_updates_joins_and_leaves_have_one_order(servers: list[Server]) -> None:
    watchers = [await server.peer() for server in servers]
    for number, watcher in enumerate(watchers):
        await watcher.join("r", f"w{number}")
    await watchers[0].expect("peer-joined", peer_id="w1")

    async def come_and_go(server: Server, name: str) -> None:
        for number in range(8):
            peer = await server.peer()
            await peer.say("join", "r", {"peer_id": name, "metadata": {"n": -1}})
            for step in range(2):
                await peer.say("update", "r", {"metadata": {"n": 2 * number + step}}, id=step)
            while (await peer.hear()).get("id") != 1:
                pass
            await peer.say("leave", "r", id="bye")
            while (await peer.hear())["type"] != "left":
                pass

    await asyncio.gather(*(come_and_go(server, f"p{number}") for number, server in enumerate(servers)))
    heard: list[list[tuple[str, str]]] = [[], []]
    for watcher, events in zip(watchers, heard, strict=True):
        while len(events) < 2 * 8 * 4:  # those of the other process arrive later
            one = await watcher.hear()
            events.append((one["type"], str(one["payload"])))
    assert heard[0] == heard[1]
    assert await watchers[0].drain("r") == await watchers[1].drain("r") == []


async def test_a_roster_after_resuming_at_another_process_has_the_latest_metadata(servers: list[Server]) -> None:
    ana, ben = await servers[0].peer(), await servers[1].peer()
    await ana.join("r", "ana")
    joined = await ben.join("r", "ben")
    await ana.expect("peer-joined", peer_id="ben")
    await ben.say("update", "r", {"metadata": {"b": 1}})
    await ben.expect("updated")
    await ana.expect("peer-updated", peer_id="ben", metadata={"b": 1})
    ben.vanish()
    await until(lambda: servers[1].app.sessions.detached, "that the session is detached")
    await ana.say("update", "r", {"metadata": {"a": 1}})
    await ana.expect("updated")
    again = await servers[0].peer()
    payload = {"peer_id": "ben", "resume": joined["resume"], "received": ben.received}
    await again.say("join", "r", payload, id="back")
    await again.expect("peer-updated", peer_id="ana", metadata={"a": 1})
    back = await again.expect("joined", resumed=True, complete=True)
    assert shown(back["payload"]["peers"]) == {"ana": {"a": 1}, "ben": {"b": 1}}
    await again.say("update", "r", {"metadata": {"b": 2}}, id=9)
    await again.expect("updated", metadata={"b": 2})
    await ana.expect("peer-updated", peer_id="ben", metadata={"b": 2})


async def test_an_update_sent_again_after_resuming_is_answered_and_nobody_is_told_twice(servers: list[Server]) -> None:
    ana, ben = await servers[0].peer(), await servers[1].peer()
    await ana.join("r", "ana")
    joined = await ben.join("r", "ben")
    await ana.expect("peer-joined", peer_id="ben")
    ben.stop_reading()
    await ben.say("update", "r", {"metadata": {"b": 1}}, id="u")
    await ana.expect("peer-updated", peer_id="ben")
    ben.vanish()
    again = await servers[0].peer()
    await again.say("join", "r", {"peer_id": "ben", "resume": joined["resume"], "received": ben.received})
    assert (await again.expect("updated", metadata={"b": 1}))["id"] == "u"
    await again.expect("joined", resumed=True)
    await again.say("update", "r", {"metadata": {"b": 1}}, id="u", again=True)
    assert (await again.expect("updated", metadata={"b": 1}))["id"] == "u"
    assert await ana.drain("r") == []


async def test_an_update_needs_a_room_and_metadata_within_the_limits(servers: list[Server]) -> None:
    ana = await servers[0].peer()
    await ana.say("update", "r", {"metadata": {}}, id=1)
    await ana.expect_error("not-in-room")
    await ana.join("r", "ana")
    await ana.say("update", "r", {"metadata": {"a": "x" * 2000}}, id=2)
    assert (await ana.expect_error("message-too-big"))["details"]["field"] == "payload.metadata"
    await ana.say("update", "r", {"metadata": ["a"]}, id=3)
    assert (await ana.expect_error("bad-message"))["details"] == {"field": "payload.metadata"}
    una = await servers[0].user()
    await una.say("update", "r", {"metadata": {}}, id=1)
    await una.expect_error("not-connected")


async def test_updates_are_limited_in_number(tmp_path: Path) -> None:
    server = Server(tmp_path, connection_update_rate=0.1, connection_update_burst=3)
    await server.start()
    a, b = await server.pair()
    for number in range(4):
        await a.say("update", "r", {"metadata": {"n": number}}, id=number)
    for number in range(3):
        await a.expect("updated", metadata={"n": number})
        await b.expect("peer-updated", metadata={"n": number})
    assert 0 < (await a.expect_error("rate-limited"))["details"]["retry_after_ms"] <= 10_000
    await a.say("signal", "r", {"target_peer_id": "b", "data": 1}, id="s")
    await a.expect("ack")
    await server.stop()


@pytest.mark.parametrize("options", [NOT_PERSISTENT, AOF_ALWAYS], ids=["without its data", "with its data"])
async def test_metadata_outlives_a_restart_of_redis(
    tmp_path: Path, expected_logs: ExpectedLogs, options: tuple[str, ...]
) -> None:
    expected_logs.allow("mcp_actors.redis")
    with Engine(options=options) as engine:
        servers = [Server(tmp_path, **SHARED, redis_url=engine.url) for _ in range(2)]
        for server in servers:
            await server.start()
        ana, una, tab = await servers[0].peer(), await servers[0].user(), await servers[1].user()
        await ana.join("r", "ana")
        for user in (una, tab):
            await user.enter("r", "una")
        await ana.say("update", "r", {"metadata": {"a": 1}})
        await una.say("update", "r", {"metadata": {"u": 1}})
        await tab.expect("peer-updated", metadata={"a": 1})
        await tab.expect("user-updated", metadata={"u": 1})
        engine.kill()
        await until(lambda: not any(server.app.node.broker.ready for server in servers), "that Redis is gone")
        await ana.say("update", "r", {"metadata": {"a": 2}}, id="in the outage")
        await asyncio.to_thread(engine.start)
        await until(lambda: all(server.app.node.broker.ready for server in servers), "that Redis is back")
        await ana.expect("updated", metadata={"a": 1})
        assert (await ana.expect("updated", metadata={"a": 2}))["id"] == "in the outage"
        await tab.expect("peer-updated", metadata={"a": 2})
        for server in servers:
            newcomer = await server.user()
            await newcomer.say("connect", None, {"user_id": f"new{server.port}"})
            await newcomer.expect("connected")
            await newcomer.say("join-room", "r")
            seen = (await newcomer.expect("room-joined"))["payload"]
            assert shown(seen["peers"]) == {"ana": {"a": 2}}
            assert shown(seen["users"])["una"] == {"u": 1}
        for server in servers:
            await server.stop()


async def test_a_member_of_a_killed_process_receives_the_updates_that_it_missed(
    engine: Engine, tmp_path: Path, prefix: str, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis")
    settings = SHARED | {"redis_url": engine.url, "redis_prefix": prefix}
    servers = [Server(tmp_path, **settings) for _ in range(3)]
    for server in servers:
        await server.start()
    ana, ben = await servers[0].peer(), await servers[1].peer()
    await ana.join("r", "ana")
    joined = await ben.join("r", "ben")
    await ana.expect("peer-joined", peer_id="ben")
    await ana.say("update", "r", {"metadata": {"n": 1}})
    await ana.expect("updated")
    last = await ben.expect("peer-updated", metadata={"n": 1})
    await ben.say("update", "r", {"metadata": {"b": 1}})
    await ben.expect("updated")
    await ana.expect("peer-updated", peer_id="ben")
    await kill(servers[1])
    ben.vanish()
    await ana.say("update", "r", {"metadata": {"n": 2}})
    await ana.expect("updated")
    again = await servers[2].peer()
    payload = {"peer_id": "ben", "resume": joined["resume"], "received": ben.received, "at": {"r": last["at"]}}
    await again.say("join", "r", payload)
    await again.expect("peer-updated", peer_id="ana", metadata={"n": 2})
    back = await again.expect("joined", resumed=True)
    assert shown(back["payload"]["peers"]) == {"ana": {"n": 2}, "ben": {"b": 1}}
    for server in servers:
        await server.stop()
