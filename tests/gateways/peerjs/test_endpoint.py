"""PeerJS clients at one process and at two: connecting, relaying, coming back, and what they may not do."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from mcp_actors.auth.authorization import Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import Grant, Permission
from mcp_actors.protocol.identifiers import PeerId, RoomId
from mcp_actors.protocol.messages import Kick, KickPayload
from tests.support.asgi import AsgiServer
from tests.support.client import Closed
from tests.support.peerjs import PATH, Stand, query
from tests.support.server import Process, Server
from tests.support.tokens import OPTIONAL, REQUIRED, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bench.engine import Engine
    from tests.conftest import ExpectedLogs
    from tests.support.peerjs import PeerJsClient

GATEWAY: dict[str, Any] = {
    "gateways": "peerjs",
    "peerjs_path": PATH,
    "secret_key": "peerjs tests use this secret key 1234",
}
ROOM = RoomId("peerjs:peerjs")
SLOW = 60.0
"""Seconds for what takes a lease to end: enough for a busy machine."""

pytestmark = pytest.mark.settings(**GATEWAY)


async def stands(stack: AsyncExitStack, servers: list[Server]) -> list[Stand]:
    return [await stack.enter_async_context(Stand(server.url(""))) for server in servers]


async def hear(client: PeerJsClient, seconds: float = SLOW) -> Any:
    async with asyncio.timeout(seconds):
        return json.loads(await client.socket.recv())


async def test_clients_talk_in_order_wherever_they_are(servers: list[Server]) -> None:
    async with AsyncExitStack() as stack:
        one, other = await stands(stack, servers)
        ada, bob = await one.connected("ada"), await other.connected("bob")
        for number in range(20):
            await ada.tell("CANDIDATE", "bob", n=number)
        for number in range(20):
            assert await hear(bob) == {"type": "CANDIDATE", "src": "ada", "dst": "bob", "payload": {"n": number}}
        await bob.tell("ANSWER", "ada", n=1)
        assert await hear(ada) == {"type": "ANSWER", "src": "bob", "dst": "ada", "payload": {"n": 1}}


async def test_an_id_is_taken_at_all_processes_and_free_again_when_its_client_is_gone(servers: list[Server]) -> None:
    async with AsyncExitStack() as stack:
        one, other = await stands(stack, servers)
        ada = await one.connected("ada")
        rival = await other.open(query("ada", "another"))
        assert await hear(rival) == {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}
        await rival.expect_close(4506)
        await ada.end()
        while (await hear(rival := await other.open(query("ada", "another"))))["type"] != "OPEN":
            await rival.expect_close(4506)


async def test_a_client_that_comes_back_takes_its_place_and_gets_what_was_sent_meanwhile(servers: list[Server]) -> None:
    async with AsyncExitStack() as stack:
        one, other = await stands(stack, servers)
        old, bob = await one.connected("ada"), await other.connected("bob")
        new = await other.connected("ada")  # the old connection still looks alive
        await old.expect_close(4501)
        await bob.tell("OFFER", "ada", n=1)
        assert (await hear(new))["payload"] == {"n": 1}
        new.vanish()
        await bob.tell("OFFER", "soon", n=0)
        await other.connected("soon")
        while (await asyncio.shield(_peers(servers[1]))) != {"bob", "soon"}:
            await asyncio.sleep(0.01)
        await bob.tell("OFFER", "ada", n=2)
        await bob.tell("CANDIDATE", "ada", n=3)
        again = await one.connected("ada")
        assert [(await hear(again))["payload"]["n"] for _ in range(2)] == [2, 3]


async def _peers(server: Server) -> set[str]:
    return {member.id for member in server.app.node.roster(ROOM)}


@pytest.mark.settings(peerjs_expire_timeout=0.2)
async def test_messages_to_nobody_expire_once_and_leave_never_waits(servers: list[Server]) -> None:
    async with AsyncExitStack() as stack:
        one, other = await stands(stack, servers)
        ada, bob = await one.connected("ada"), await other.connected("bob")
        for kind in ("LEAVE", "OFFER", "CANDIDATE", "EXPIRE"):
            await ada.tell(kind, "nobody", n=1)
        assert await hear(ada) == {"type": "EXPIRE", "src": "nobody", "dst": "ada"}
        await bob.tell("ANSWER", "ada", n=1)
        assert (await hear(ada))["type"] == "ANSWER"


@asynccontextmanager
async def beside_a_process(
    engine: Engine, prefix: str, tmp_path: Path, expire_timeout: float
) -> AsyncIterator[tuple[Stand, Stand, Process]]:
    """A server here and one in a process that the test kills."""
    shared = GATEWAY | {"redis_url": engine.url, "redis_prefix": prefix, "node_lease": 1.0}
    environ = {f"MCP_ACTORS_{name.upper()}": str(value) for name, value in shared.items()}
    here = Server(tmp_path, **{**shared, "peerjs_expire_timeout": expire_timeout})
    await here.start()
    with Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", **environ) as there:
        await asyncio.to_thread(there.wait_until_serving)
        async with Stand(here.url("")) as one, Stand(f"ws://127.0.0.1:{there.port}") as other:
            yield one, other, there
    await here.stop()


async def test_a_killed_process_frees_no_id_and_loses_no_message_that_waits_elsewhere(
    engine: Engine, prefix: str, tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis", "node lease expired")
    async with beside_a_process(engine, prefix, tmp_path, expire_timeout=60.0) as (one, other, there):
        ada, bob = await one.connected("ada"), await other.connected("bob")
        await ada.tell("OFFER", "bob", n=1)
        assert (await hear(bob))["payload"] == {"n": 1}
        await bob.tell("ANSWER", "ada", n=1)
        await hear(ada)  # so the receipt for the offer has arrived, too
        there.process.kill()
        await ada.tell("OFFER", "bob", n=2)  # to a process that will not read it any more
        rival = await one.open(query("bob", "another"))
        assert (await hear(rival))["type"] == "ID-TAKEN"
        back = await one.connected("bob")
        await ada.tell("CANDIDATE", "bob", n=3)
        assert [(await hear(back))["payload"]["n"] for _ in range(2)] == [2, 3]
        await back.tell("ANSWER", "ada", n=4)
        assert (await hear(ada))["payload"] == {"n": 4}


async def test_the_sender_is_told_if_the_client_of_a_killed_process_does_not_come_back(
    engine: Engine, prefix: str, tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "node lease expired")
    async with beside_a_process(engine, prefix, tmp_path, expire_timeout=0.2) as (one, other, there):
        ada, _bob = await one.connected("ada"), await other.connected("bob")
        there.process.kill()
        await ada.tell("OFFER", "bob", n=1)
        assert await hear(ada) == {"type": "EXPIRE", "src": "bob", "dst": "ada"}


@pytest.mark.parametrize("room", ["join", "join-room"])
async def test_native_clients_cannot_enter_the_room(server: Server, room: str) -> None:
    async with Stand(server.url("")) as stand:
        await stand.connected("ada")
        client = await (server.peer() if room == "join" else server.user())
        if room == "join":
            await client.say("join", ROOM, {"peer_id": "eve"})
        else:
            await client.say("connect", None, {"user_id": "eve"})
            await client.expect("connected")
            await client.say("join-room", ROOM)
        assert "PeerJS" in (await client.expect_error("forbidden"))["message"]


async def test_a_client_that_the_application_kicks_is_told_and_closed(server: Server) -> None:
    async with Stand(server.url("")) as stand:
        ada = await stand.connected("ada")
        await server.app.node.moderate(ROOM, Kick(room=ROOM, payload=KickPayload(peer_id=PeerId("ada"))))
        assert (await hear(ada))["type"] == "ERROR"
        await ada.expect_close(4504)


@pytest.mark.settings(**REQUIRED)
@pytest.mark.parametrize("where", ["header", "query"])
async def test_an_access_token_says_who_a_client_is(server: Server, where: str) -> None:
    given = token("ada", rooms=["peerjs:*"])
    field, headers = (f"&access_token={given}", {}) if where == "query" else ("", {"Authorization": f"Bearer {given}"})
    async with Stand(server.url("")) as stand:
        ada = await stand.open(query("ada", "t") + field, **headers)
        assert await hear(ada) == {"type": "OPEN"}
        for path, sent in ((query("eve", "t") + field, headers), (query("ada", "t"), {}), (query("ada", given), {})):
            client = await stand.open(path, **sent)
            assert (await hear(client))["type"] == "ERROR"
            await client.expect_close(4506)
        assert await _peers(server) == {"ada"}


@pytest.mark.settings(**OPTIONAL)
async def test_a_bad_access_token_or_one_for_other_rooms_is_refused(server: Server) -> None:
    async with Stand(server.url("")) as stand:
        for bad, code in (("nonsense", 4502), (token("ada", rooms=["team-*"]), 4506)):
            client = await stand.open(query("ada", "t") + f"&access_token={bad}")
            assert (await hear(client))["type"] == "ERROR"
            await client.expect_close(code)


@pytest.mark.settings(**OPTIONAL)
async def test_the_owner_of_an_id_replaces_a_client_that_claims_it_and_is_not_replaced(server: Server) -> None:
    async with Stand(server.url("")) as stand:
        claimer = await stand.connected("ada")
        owner = await stand.open(query("ada", "other") + f"&access_token={token('ada')}")
        assert await hear(owner) == {"type": "OPEN"}
        await claimer.expect_close(4501)
        thief = await stand.open(query("ada", "other"))
        assert (await hear(thief))["type"] == "ID-TAKEN"


@pytest.mark.settings(max_peerjs_peers=1)
async def test_a_client_too_many_is_told_so(server: Server) -> None:
    async with Stand(server.url("")) as stand:
        await stand.connected("ada")
        bob = await stand.open(query("bob", "t"))
        assert await hear(bob) == {
            "type": "ERROR",
            "payload": {"msg": "Server has reached its concurrent user limit"},
        }


@pytest.mark.settings(max_bad_messages=3)
async def test_hostile_frames_close_their_own_client_and_nobody_else_notices(server: Server) -> None:
    frames: list[str | bytes] = ["{", "[]", b"\xff", '{"type":"OFFER","dst":5}', '{"type":"OFFER","payload":{}}']
    async with Stand(server.url("")) as stand:
        ada, bob, eve = [await stand.connected(name) for name in ("ada", "bob", "eve")]
        for frame in frames:
            await eve.send(frame)
        await eve.expect_close(4500)
        await ada.tell("OFFER", "bob", n=1)
        assert (await hear(bob))["payload"] == {"n": 1}


@pytest.mark.parametrize(
    "path", [query("a" * 129, "t"), query("a%20%20b", "t"), query("a", "t" * 257), query("%00", "t")]
)
async def test_ids_and_tokens_that_are_none_are_refused(server: Server, path: str) -> None:
    async with Stand(server.url("")) as stand:
        client = await stand.open(path)
        assert (await hear(client))["type"] == "ERROR"
        await client.expect_close(4506)


@pytest.mark.settings(max_connections=1)
async def test_a_server_that_is_full_refuses_handshakes(server: Server, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "handshake refused")
    async with Stand(server.url("")) as stand:
        await stand.connected("ada")
        with pytest.raises(InvalidStatus) as refused:
            await stand.open(query("bob", "t"))
        assert refused.value.response.status_code == 503


@pytest.mark.settings(address_join_rate=0.01, address_join_burst=1)
async def test_a_refusal_that_will_pass_closes_without_an_error_so_that_the_client_may_try_again(
    server: Server,
) -> None:
    async with Stand(server.url("")) as stand:
        clients = [await stand.open(query(name, "t")) for name in ("ada", "bob", "eve")]
        assert await hear(clients[0]) == {"type": "OPEN"}
        with pytest.raises(Closed) as closed:
            await clients[2].hear()
        assert closed.value.code == 1013


async def test_the_application_decides_who_enters_as_whom(tmp_path: Path) -> None:
    asked: list[tuple[str, str | None]] = []

    async def authorize(what: Handshake | JoinRequest) -> Grant | None:
        if isinstance(what, Handshake):
            return None
        asked.append((what.room, what.id))
        if what.id == "eve":
            raise Refused("Eve is not let in.")
        return Grant(str(what.id), None, frozenset({Permission.SIGNAL}), time.time() + 60)

    serving = AsgiServer(tmp_path, authorize, gateways="peerjs", peerjs_path=PATH)
    await serving.start()
    async with Stand(serving.url("")) as stand:
        ada, bob = await stand.connected("ada"), await stand.connected("bob")
        await ada.tell("OFFER", "bob", n=1)
        assert (await hear(bob))["payload"] == {"n": 1}
        eve = await stand.open(query("eve", "t"))
        assert await hear(eve) == {"type": "ERROR", "payload": {"msg": "Eve is not let in."}}
        await eve.expect_close(4506)
    await serving.stop()
    assert asked == [(ROOM, "ada"), (ROOM, "bob"), (ROOM, "eve")]
