"""Clients of y-webrtc and trystero at one process and at two: what they hear, and what they may not do."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.y_webrtc import ROOM_OF, SLOW, Pages, YClient, count, has

if TYPE_CHECKING:
    from tests.support.server import Server

GATEWAY: dict[str, Any] = {"gateways": "y-webrtc", "secret_key": "y-webrtc tests use this secret key 1234"}
TOPIC = "notes"

pytestmark = pytest.mark.settings(**GATEWAY)


async def test_publications_reach_all_others_in_order_wherever_they_are(servers: list[Server]) -> None:
    async with Pages() as pages:
        ada = await pages.subscribed(servers[0], "ada", TOPIC)
        bob = await pages.subscribed(servers[1], "bob", TOPIC)
        eve = await pages.subscribed(servers[1], "eve", TOPIC)
        await has(servers[0], TOPIC, 3)
        for number in range(20):
            await ada.publish(TOPIC, f"opaque {number}")
        for client in (bob, eve):
            for number in range(20):
                heard = {"type": "publish", "topic": TOPIC, "data": f"opaque {number}", "clients": 3}
                assert await client.hear() == heard
        await ada.ping()  # it does not hear itself


async def test_a_signal_goes_to_its_peer_alone(servers: list[Server]) -> None:
    async with Pages() as pages:
        ada = await pages.subscribed(servers[0], "ada", TOPIC)
        bob = await pages.subscribed(servers[1], "bob", TOPIC)
        eve = await pages.subscribed(servers[1], "eve", TOPIC)
        await has(servers[0], TOPIC, 3)
        await bob.announce(TOPIC)
        assert (await ada.data())["from"] == (await eve.data())["from"] == "bob"
        await ada.signal(TOPIC, "bob", {"type": "offer", "sdp": "v=0"})
        signal = {"type": "offer", "sdp": "v=0"}
        assert await bob.data() == {"type": "signal", "to": "bob", "from": "ada", "token": 1.5, "signal": signal}
        await bob.signal(TOPIC, "ada", 2)
        assert (await ada.data())["signal"] == 2
        await ada.announce(TOPIC)
        assert (await eve.data())["type"] == "announce"  # and nothing before


async def test_a_signal_for_an_unknown_name_goes_to_all(server: Server) -> None:
    async with Pages() as pages:
        ada = await pages.subscribed(server, "ada", TOPIC)
        bob = await pages.subscribed(server, "bob", TOPIC)
        eve = await pages.subscribed(server, "eve", TOPIC)
        await ada.signal(TOPIC, "bob")
        assert (await bob.data())["to"] == (await eve.data())["to"] == "bob"
        await bob.announce(TOPIC)
        await bob.end()
        await has(server, TOPIC, 2)
        assert (await eve.data())["from"] == "bob"
        await ada.signal(TOPIC, "bob")
        assert (await eve.data())["to"] == "bob"  # it may have come back somewhere


async def test_a_name_leads_to_all_connections_that_use_it(servers: list[Server]) -> None:
    """A client that has reconnected, or is connected by two URLs, has the same name on both connections."""
    async with Pages() as pages:
        ada = await pages.subscribed(servers[0], "ada", TOPIC)
        old = await pages.subscribed(servers[1], "bob", TOPIC)
        new = await pages.subscribed(servers[0], "bob", TOPIC)
        await has(servers[0], TOPIC, 3)
        for client in (old, new):
            await client.announce(TOPIC)
            await ada.data()
        await ada.signal(TOPIC, "bob")
        assert [(await one.data())["type"] for one in (old, old, new, new)] == ["announce", "signal"] * 2


CANDIDATES = 10


class Mesh:
    """Peers that connect to each other like those of y-webrtc, with signals that are empty; all are counted."""

    def __init__(self, size: int, servers: list[Server], pages: Pages) -> None:
        self.heard: Counter[str] = Counter()
        self.size = size
        self.pairs = size * (size - 1) // 2
        self._servers = servers
        self._pages = pages
        self._running: list[asyncio.Task[None]] = []

    async def grow(self) -> None:
        """Connect all peers, one after the other, and wait until all signals have arrived."""
        for number in range(self.size):
            peer = await self._pages.subscribed(self._servers[number % 2], f"peer-{number}", TOPIC)
            for server in self._servers[: number + 1]:
                await has(server, TOPIC, number + 1)
            self._running.append(asyncio.create_task(self._run(peer)))
            await peer.announce(TOPIC)
            await self.wait_for("announce", number * (number + 1) // 2)
        await self.wait_for("candidate", self.pairs * CANDIDATES)

    async def wait_for(self, what: str, times: int) -> None:
        """Wait until something was heard so many times."""
        async with asyncio.timeout(SLOW):
            while self.heard[what] < times:
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        """Stop all peers."""
        for task in self._running:
            task.cancel()
        await asyncio.wait(self._running)

    async def _run(self, peer: YClient) -> None:
        while True:
            message = json.loads(await peer.socket.recv())
            if message["type"] != "publish":
                self.heard[message["type"]] += 1
                continue
            data = message["data"]
            what = data["signal"] if data["type"] == "signal" else "announce"
            self.heard[what if data.get("to", peer.name) == peer.name else "useless"] += 1
            answers = {"announce": ["offer"], "offer": ["answer"], "answer": []}.get(what)
            if answers is not None:
                kinds = answers + ["candidate"] * (CANDIDATES // 2 if what in ("announce", "offer") else 0)
                for kind in kinds:
                    await peer.signal(TOPIC, data["from"], kind)


async def test_a_mesh_takes_no_delivery_more_than_it_has_signals(servers: list[Server]) -> None:
    """In the original, each of these goes to everybody, which is 20 times as much for 30 peers."""
    size = 30 if servers[0] is servers[1] else 12
    async with Pages() as pages:
        mesh = Mesh(size, servers, pages)
        await mesh.grow()
        for server in servers:  # nothing else is on its way: a last message for all arrives behind it
            last = await pages.subscribed(server, "last", TOPIC)
            await last.publish(TOPIC, {"type": "signal", "signal": "end", "from": "last"})
        await mesh.wait_for("end", 2 * size)
        await mesh.end()
    pairs = mesh.pairs
    signals = {"offer": pairs, "answer": pairs, "candidate": pairs * CANDIDATES}
    assert mesh.heard == {"announce": pairs, **signals, "end": 2 * size}
    assert sum(signals.values()) == {30: 5220, 12: 792}[size]


async def test_a_client_has_many_topics_on_one_connection(servers: list[Server]) -> None:
    topics = [f"doc {number}" for number in range(32)]
    async with Pages() as pages:
        ada = await pages.subscribed(servers[0], "ada", *topics)
        bob = await pages.subscribed(servers[1], "bob", *topics)
        for topic in topics:
            await has(servers[0], topic, 2)
        await bob.subscribe(*topics)  # as clients do again and again
        await ada.tell("unsubscribe", topics=topics[:10])
        for topic in topics[:10]:
            await has(servers[1], topic, 1)
        for topic in topics:
            await bob.publish(topic, topic)
        assert [await ada.data() for _ in topics[10:]] == topics[10:]
        await ada.ping()
        await ada.subscribe(topics[0])
        await has(servers[1], topics[0], 2)
        await bob.publish(topics[0], "again")
        assert await ada.data() == "again"


async def test_any_topic_works_and_no_two_are_one(server: Server) -> None:
    topics = ["a b", "a  b", " a", "a\nb", ".", "e\u0301", "\u00e9", "y-webrtc:x", "ünï/cödé", "a" * 128]
    async with Pages() as pages:
        ada = await pages.subscribed(server, "ada", *topics)
        bob = await pages.subscribed(server, "bob", *topics)
        for topic in topics:
            assert count(server, topic) == 2
            await bob.publish(topic, topic)
        for topic in topics:
            assert await ada.hear() == {"type": "publish", "topic": topic, "data": topic, "clients": 2}


async def test_trystero_clients_publish_to_topics_of_others_in_order(servers: list[Server]) -> None:
    async with Pages() as pages:
        ada, bob = await pages.open(servers[0]), await pages.open(servers[1])
        await ada.tell("subscribe", topic="self of ada")
        await ada.tell("subscribe", topic="root")
        await bob.tell("subscribe", topic="root")
        await has(servers[0], "self of ada", 1)
        for server in servers:
            await has(server, "root", 2)
        await bob.tell("publish", topic="root", payload='{"peerId":"bob"}')
        assert await ada.hear() == {"topic": "root", "payload": '{"peerId":"bob"}'}
        for number in range(5):
            await bob.tell("publish", topic="self of ada", payload={"offer": number})
        for number in range(5):
            assert await ada.hear() == {"topic": "self of ada", "payload": {"offer": number}}
        await bob.tell("publish", topic="nobody is here", payload="x")
        await bob.tell("unsubscribe", topic="root")
        await has(servers[0], "root", 1)
        await bob.ping()


async def test_native_clients_cannot_enter_the_room_of_a_topic(server: Server) -> None:
    async with Pages() as pages:
        await pages.subscribed(server, "ada", TOPIC)
        client = await server.peer()
        await client.say("join", ROOM_OF(TOPIC), {"peer_id": "eve"})
        assert "y-webrtc" in (await client.expect_error("forbidden"))["message"]
        await client.join(TOPIC, "eve")  # another room
        assert count(server, TOPIC) == 1
