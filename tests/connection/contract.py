"""The contract of every adapter with its clients. A subclass gives `server`, with the settings of the test's marker."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from mcp_actors.connection.drain import drain
from tests.support.client import DEADLINE
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp_actors.connection.connections import Connections
    from tests.support.client import Client

FLOOD = {"connection_message_rate": 200, "connection_message_burst": 10, "max_slowed_seconds": 0.1}


class Serving(Protocol):
    """A server, as the contract uses it."""

    @property
    def connections(self) -> Connections:
        """The open connections."""

    async def peer(self) -> Client:
        """Open a connection to /ws/signaling/."""

    async def user(self) -> Client:
        """Open a connection to /ws/mcp/."""


async def pair(server: Serving) -> tuple[Client, Client, dict[str, Any]]:
    """Peers `a` and `b` of room `r`, with nothing left to hear, and the answer to the join of `a`."""
    a, b = await server.peer(), await server.peer()
    joined = await a.join("r", "a")
    await b.join("r", "b", presence=True)
    await a.expect("peer-joined", peer_id="b")
    return a, b, joined


class ConnectionContract:
    """The contract of adapters and connections."""

    async def test_peers_join_and_relay(self, server: Serving) -> None:
        a, b, _ = await pair(server)
        await a.say("signal", "r", {"target_peer_id": "b", "data": [1, "é"]}, id=7)
        assert (await b.expect("signal", data=[1, "é"]))["sender"] == "a"
        assert (await a.expect("ack", status="delivered"))["id"] == 7
        await b.say("leave", "r")
        await b.expect("left")
        await a.expect("peer-left", peer_id="b", reason="left")

    async def test_users_connect_join_and_broadcast(self, server: Serving) -> None:
        one, two = await server.user(), await server.user()
        await one.enter("r", "one")
        await two.enter("r", "two")
        await one.expect("user-joined", user_id="two")
        await one.say("message", "r", {"content": "hello"})
        assert (await two.expect("message", content="hello"))["sender"] == "one"

    async def test_requests_behind_a_join_find_the_peer_in_the_room(self, server: Serving) -> None:
        a, b = await server.peer(), await server.peer()
        await a.join("r", "a")
        await b.say("join", "r", {"peer_id": "b"})
        await b.say("signal", "r", {"target_peer_id": "a", "data": 1})
        await b.say("leave", "r")
        assert [(await a.hear())["type"] for _ in range(3)] == ["peer-joined", "signal", "peer-left"]

    async def test_binary_frames_are_relayed_as_text_and_refused_if_they_are_none(self, server: Serving) -> None:
        a, b, _ = await pair(server)
        await a.send(b'{"type":"signal","room":"r","payload":{"target_peer_id":"b","data":1}}')
        await b.expect("signal", data=1)
        await a.send(b"\xff")
        await a.expect_error("bad-message")

    async def test_an_error_is_answered_with_the_id_and_the_room_of_its_request(self, server: Serving) -> None:
        a, _, _ = await pair(server)
        await a.say("signal", "elsewhere", {"target_peer_id": "b", "data": 1}, id="x")
        error = await a.expect("error", code="not-in-room")
        assert (error["id"], error["room"]) == ("x", "elsewhere")
        await a.say("join", "s", {"peer_id": "a"}, id="y")
        await a.expect("joined")
        other = await server.peer()
        await other.say("join", "s", {"peer_id": "a"}, id="z")
        error = await other.expect("error", code="peer-id-taken")  # found out in the background
        assert (error["id"], error["room"]) == ("z", "s")

    async def test_a_ping_is_answered_on_the_connection_and_not_in_the_session(self, server: Serving) -> None:
        a, _, _ = await pair(server)
        user = await server.user()
        for client in (a, user):
            await client.say("ping", None, id=1)
            assert await client.hear() == {"type": "pong", "id": 1}
            await client.say("ping", None)
            assert await client.hear() == {"type": "pong"}

    @pytest.mark.settings(max_bad_messages=3)
    async def test_too_many_bad_messages_close_with_4500_and_end_the_session(self, server: Serving) -> None:
        a, b, _ = await pair(server)
        for _ in range(3):
            await a.send("nonsense")
        await a.expect_close(4500)
        await b.expect("peer-left", peer_id="a", reason="disconnected")

    @pytest.mark.settings(connection_message_rate=100, connection_message_burst=20, max_slowed_seconds=0)
    async def test_a_flood_is_slowed_and_arrives_complete_and_in_order(self, server: Serving) -> None:
        a, b, _ = await pair(server)
        began = asyncio.get_running_loop().time()
        for number in range(50):
            await a.say("signal", "r", {"target_peer_id": "b", "data": number})
        for number in range(50):
            await b.expect("signal", data=number)
        assert asyncio.get_running_loop().time() - began >= 0.15

    @pytest.mark.settings(**FLOOD, max_refused_messages=3)
    async def test_a_client_that_floods_on_is_refused_and_closed_with_4004(self, server: Serving) -> None:
        a, b, _ = await pair(server)
        for _ in range(200):
            await a.say("signal", "r", {"target_peer_id": "b", "data": 0})
        for _ in range(3):
            await a.expect_error("rate-limited")
        await a.expect_close(4004)
        while (told := await b.hear())["type"] == "signal":
            pass
        assert told["type"] == "peer-away"

    @pytest.mark.settings(ping_interval=0.1)
    async def test_a_silent_client_is_closed_and_its_session_waits(self, server: Serving) -> None:
        a, b, _ = await pair(server)
        a.stop_reading()
        await b.expect("peer-away", peer_id="a")
        assert await b.drain("r") == []

    @pytest.mark.settings(max_outbox_bytes=200_000, max_outbox_messages=50, ping_interval=0)
    @pytest.mark.settings(connection_byte_rate=0, address_byte_rate=0)
    async def test_a_slow_client_is_closed_and_its_session_waits(self, server: Serving) -> None:
        slow, other = await server.user(), await server.user()
        await slow.say("connect", None, {"user_id": "slow"})
        token = (await slow.expect("connected"))["payload"]["resume"]
        await slow.say("join-room", "r")
        await slow.expect("room-joined")
        await other.enter("r", "other")
        slow.stop_reading()
        async with asyncio.timeout(DEADLINE):
            while len(server.connections) > 1:
                await other.say("message", "r", {"content": "x" * 60_000})
                await asyncio.sleep(0)
        again = await server.user()
        await again.say("connect", None, {"user_id": "slow", "resume": token, "received": slow.received})
        while (reply := json.loads(await again.hear_text()))["type"] == "message":
            pass
        assert reply["payload"]["resumed"]

    @pytest.mark.settings(max_outbox_bytes=262_144)
    async def test_a_peer_that_reads_slowly_is_not_closed_because_of_what_peers_send_to_it(
        self, server: Serving
    ) -> None:
        a, b, _ = await pair(server)
        a.stop_reading()
        answer = asyncio.ensure_future(b.expect_error("unavailable"))
        async with asyncio.timeout(DEADLINE):
            while not answer.done():
                await b.say("signal", "r", {"target_peer_id": "a", "data": "x" * 60_000})
                await asyncio.sleep(0)
        assert (await answer)["retryable"]
        assert len(server.connections) == 2

    @pytest.mark.parametrize("code", [1000, 1001])
    async def test_a_client_that_closes_deliberately_leaves_its_rooms(self, server: Serving, code: int) -> None:
        a, b, _ = await pair(server)
        await a.close(code)
        await b.expect("peer-left", peer_id="a", reason="disconnected")

    async def test_the_session_of_a_client_that_vanishes_waits_and_can_be_resumed(self, server: Serving) -> None:
        a, b, joined = await pair(server)
        received = a.received
        a.vanish()
        await b.expect("peer-away", peer_id="a")
        await b.say("signal", "r", {"target_peer_id": "a", "data": "missed"}, id=1)
        await b.expect("ack", status="queued")
        again = await server.peer()
        await again.say("join", "r", {"peer_id": "a", "resume": joined["resume"], "received": received}, id=2)
        await again.expect("signal", data="missed")
        assert (await again.expect("joined", resumed=True, complete=True))["id"] == 2
        await b.expect("peer-back", peer_id="a")

    async def test_a_connection_whose_session_is_resumed_elsewhere_is_closed_with_4501(self, server: Serving) -> None:
        a, _, joined = await pair(server)
        again = await server.peer()
        await again.say("join", "r", {"peer_id": "a", "resume": joined["resume"], "received": a.received})
        await again.expect("joined", resumed=True)
        await a.expect_close(4501)

    async def test_a_drain_asks_clients_to_reconnect_and_waits_for_them(self, server: Serving) -> None:
        a, b, _ = await pair(server)
        draining = asyncio.ensure_future(drain(server.connections, 600.0))
        for client in (a, b):
            assert (await client.expect("reconnect"))["payload"]["after_ms"] >= 0
        await a.say("join", "s", {"peer_id": "a"})
        await a.expect_error("unavailable")
        await a.close()
        await b.expect("peer-left", peer_id="a")
        assert not draining.done()
        await b.close()
        await asyncio.wait_for(draining, DEADLINE)
        assert len(server.connections) == 0

    async def test_a_lost_connection_is_forgotten(self, server: Serving) -> None:
        a, _, _ = await pair(server)
        a.vanish()
        await until(lambda: len(server.connections) == 1, "the connection is forgotten")
