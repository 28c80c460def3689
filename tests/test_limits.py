"""Limits over real sockets: a client is slowed first, then refused, then closed, and others are not affected."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from websockets.exceptions import InvalidStatus

from mcp_actors.connection.connection import Connection
from tests.support.client import DEADLINE, Client, Closed
from tests.support.loop import until
from tests.support.socket import Socket
from tests.ws.test_frames import Raw

if TYPE_CHECKING:
    from mcp_actors.connection.connection_limits import ConnectionLimits
    from tests.support.server import Server

ADA, GRACE = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}


def signal(data: object = 0, target: str = "b") -> str:
    return json.dumps({"type": "signal", "room": "r", "payload": {"target_peer_id": target, "data": data}})


async def read_all(client: Client, heard: list[Any]) -> int | None:
    """Keep what a client receives until it is closed; the close code is returned."""
    try:
        while True:
            heard.append(await client.hear())
    except Closed as closed:
        return closed.code


async def flood(client: Client, heard: list[Any]) -> int | None:
    """Send many messages without reading the answers, then read; the close code is returned."""
    for _ in range(400):
        await client.send(signal())
    return await read_all(client, heard)


def codes(heard: list[Any]) -> list[str]:
    return [message["payload"]["code"] for message in heard if message["type"] == "error"]


def limits_of(server: Server, number: int = 0) -> ConnectionLimits:
    """Return the limits of a connection, numbered as they were opened."""
    connection = list(server.app.connections)[number]
    assert isinstance(connection, Connection)
    return connection.limits


@pytest.mark.settings(connection_message_rate=100, connection_message_burst=20, max_slowed_seconds=0)
async def test_a_flood_is_slowed_and_arrives_complete_and_in_order(server: Server) -> None:
    a, b = await server.pair()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(70):
        await a.send(signal(number))
    for number in range(70):
        await b.expect("signal", data=number)
    assert loop.time() - began >= 0.3
    assert await a.drain("r") == []


@pytest.mark.settings(connection_byte_rate=200_000, connection_byte_burst=100_000)
async def test_bytes_are_limited_as_messages_are(server: Server) -> None:
    a, b = await server.pair()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(4):
        await a.send(signal(str(number) * 50_000))
    for _ in range(4):
        await b.expect("signal")
    assert loop.time() - began >= 0.2


@pytest.mark.settings(connection_message_rate=20, connection_message_burst=10, max_slowed_seconds=0)
async def test_the_messages_of_a_slowed_client_stay_in_its_own_socket(server: Server) -> None:
    a, _ = await server.pair()
    limits = limits_of(server)
    sending = asyncio.ensure_future(_send_for_ever(a))
    await until(lambda: limits.delay > 0 and a.socket.transport.get_write_buffer_size() > 32_768, "a full socket")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def _send_for_ever(client: Client) -> None:
    while True:
        await client.send(signal("x" * 10_000))


@pytest.mark.settings(
    connection_message_rate=200, connection_message_burst=10, max_slowed_seconds=0.2, max_refused_messages=5
)
async def test_a_client_that_floods_on_is_told_when_to_go_on_and_closed_if_it_does_not_stop(server: Server) -> None:
    a, b = await server.pair()
    watcher = await server.peer()
    await watcher.join("r", "watcher", presence=True)
    heard: list[Any] = []
    assert await flood(a, heard) == 4004
    assert codes(heard) == ["rate-limited"] * 5
    error = next(message for message in heard if message["type"] == "error")
    assert error["room"] == "r"
    assert error["payload"]["retryable"] is True
    assert 1 <= error["payload"]["details"]["retry_after_ms"] <= 500
    while (told := await watcher.hear())["type"] != "peer-away":
        assert told["type"] == "peer-joined"
    relayed = [message["type"] for message in await b.drain("r")]
    assert relayed.count("signal") >= 40


@pytest.mark.settings(
    connection_message_rate=200, connection_message_burst=10, max_slowed_seconds=0.2, max_refused_messages=5
)
async def test_a_client_that_was_closed_for_a_flood_can_resume_its_session(server: Server) -> None:
    a = await server.peer()
    joined = await a.join("r", "a")
    assert await flood(a, []) == 4004
    again = await server.peer()
    await again.say("join", "r", {"peer_id": "a", "resume": joined["resume"], "received": a.received})
    while (message := await again.hear())["type"] != "joined":
        assert message["type"] == "error"
    assert message["payload"]["resumed"] is True


@pytest.mark.settings(
    connection_message_rate=200, connection_message_burst=10, max_slowed_seconds=0.1, max_refused_messages=0
)
async def test_a_client_that_waits_as_long_as_it_was_told_is_served_again(server: Server) -> None:
    a, b = await server.pair()
    refused: list[Any] = []
    while not refused:
        for _ in range(20):
            await a.send(signal())
        refused = [message for message in await _replies(a) if message["payload"].get("code") == "rate-limited"]
    await asyncio.sleep(_retry_after(refused))
    while refused := [message for message in await _replies(a) if message["payload"].get("code") == "rate-limited"]:
        await asyncio.sleep(_retry_after(refused))
    await b.drain("r")
    await a.send(signal("again"))
    await b.expect("signal", data="again")


def _retry_after(refused: list[Any]) -> float:
    return max(float(message["payload"]["details"]["retry_after_ms"]) for message in refused) / 1000


async def _replies(client: Client) -> list[Any]:
    """Return all messages up to the answer to a request of its own."""
    await client.say("signal", "r", {"target_peer_id": "nobody", "data": 0}, id="asked")
    heard = []
    while True:
        heard.append(await client.hear())
        if heard[-1].get("id") == "asked":
            return heard


@pytest.mark.settings(connection_message_rate=50, connection_message_burst=10, max_slowed_seconds=0)
async def test_a_flood_does_not_slow_other_clients(server: Server) -> None:
    a, b = await server.pair()
    await a.drain("r")
    sending = asyncio.ensure_future(_send_for_ever(a))
    limits = limits_of(server)
    await until(lambda: limits.delay > 0, "the flood is slowed")
    c, d = await server.peer(), await server.peer()
    await c.join("r2", "c")
    await d.join("r2", "d")
    await c.expect("peer-joined")
    for number in range(5):
        payload = {"target_peer_id": "d", "data": number}
        await c.say("signal", "r2", payload)
        await d.expect("signal", data=number)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert limits_of(server, 2).delay == 0
    b.vanish()


@pytest.mark.settings(connection_join_rate=0.5, connection_join_burst=3, max_refused_messages=2)
async def test_joins_beyond_their_rate_are_refused_and_then_the_connection_is_closed(server: Server) -> None:
    a = await server.peer()
    for room in ("one", "two", "three"):
        await a.join(room, "a")
    await a.say("join", "four", {"peer_id": "a"}, id=4)
    error = await a.expect("error", code="rate-limited", retryable=True)
    assert (error["room"], error["id"]) == ("four", 4)
    assert 1000 < error["payload"]["details"]["retry_after_ms"] <= 2000
    await a.say("signal", "one", {"target_peer_id": "nobody", "data": 0})
    await a.expect_error("peer-not-found")
    await a.say("join", "four", {"peer_id": "a"})
    await a.expect_error("rate-limited")
    await a.expect_close(4004)


@pytest.mark.settings(connection_join_rate=0.5, connection_join_burst=2)
async def test_users_join_at_the_same_rate(server: Server) -> None:
    user = await server.user()
    await user.enter("one", "u")
    await user.say("join-room", "two")
    await user.expect("room-joined")
    await user.say("join-room", "three")
    await user.expect_error("rate-limited")


OTHER_FRAMES = {
    "pings": Raw(0x89, b"x" * 125).encode(),
    "pongs": Raw(0x8A, b"").encode(),
    "fragments": Raw(0x01, b"").encode() + Raw(0x00, b"").encode() * 31,
    "fragments of binary": Raw(0x02, b"[").encode() + Raw(0x00, b"").encode() * 31,
}
PROMPT = {"connection_message_rate": 200, "connection_message_burst": 10, "max_slowed_seconds": 0.1}


async def frames_until_close(socket: Socket) -> tuple[list[dict[str, Any]], int]:
    """Return the messages up to a close frame, and its code; pongs are left out."""
    heard: list[dict[str, Any]] = []
    while True:
        first, payload = await socket.frame()
        if first == 0x88:
            return heard, int.from_bytes(payload[:2], "big")
        if first == 0x81:
            heard.append(json.loads(payload))


@pytest.mark.settings(**PROMPT, max_refused_messages=3)
@pytest.mark.parametrize("kind", OTHER_FRAMES)
async def test_control_frames_and_fragments_count_as_messages_and_a_flood_of_them_is_closed(
    server: Server, kind: str
) -> None:
    socket = await Socket.open(server)
    block = OTHER_FRAMES[kind]
    more = block if not kind.startswith("fragments") else Raw(0x00, b"").encode() * 32
    socket.writer.write(block + more * 100)
    heard, code = await frames_until_close(socket)
    assert code == 4004
    assert codes(heard) == ["rate-limited"] * 3
    assert await socket.ended()
    await socket.close()


@pytest.mark.settings(connection_message_rate=100, connection_message_burst=10, max_slowed_seconds=0)
async def test_pings_are_answered_at_the_rate_of_messages(server: Server) -> None:
    socket = await Socket.open(server)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(50):
        socket.writer.write(Raw(0x89, b"%d" % number).encode())
    while await socket.frame() != (0x8A, b"49"):
        pass
    assert loop.time() - began >= 0.3
    await socket.close()


@pytest.mark.settings(**PROMPT, max_refused_messages=3)
async def test_nothing_is_read_after_a_flood_was_closed(server: Server) -> None:
    socket = await Socket.open(server)
    block = Raw(0x81, b" " * 60_000).encode() * 8 + Raw(0x8A, b"").encode() * 200
    socket.writer.write(block)
    _, code = await frames_until_close(socket)
    assert code == 4004
    assert await socket.ended()
    writing = asyncio.ensure_future(write_for_ever(socket, block))
    await until(
        lambda: socket.writer.transport.get_write_buffer_size() > 65_536,
        "the rest of the flood stays in the client's socket",
    )
    await asyncio.wait([writing], timeout=0.2)
    assert not writing.done()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    socket.writer.transport.abort()


async def write_for_ever(socket: Socket, block: bytes) -> None:
    while True:
        socket.writer.write(block)
        await socket.writer.drain()


@pytest.mark.settings(trusted_proxies=("127.0.0.1",), address_connection_rate=0.1, address_connection_burst=2)
async def test_an_address_that_connects_too_often_is_refused_in_the_handshake_and_others_are_not(
    server: Server,
) -> None:
    for _ in range(2):
        await (await server.peer(**ADA)).close()
    with pytest.raises(InvalidStatus) as refused:
        await server.peer(**ADA)
    assert refused.value.response.status_code == 429
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 10
    assert b"192.0.2.1 connects too often" in (refused.value.response.body or b"")
    await (await server.peer(**GRACE)).join("r", "a")


@pytest.mark.settings(trusted_proxies=("127.0.0.1",), max_address_connections=2)
async def test_an_address_has_a_limited_number_of_connections(server: Server) -> None:
    first, _ = await server.peer(**ADA), await server.user(**ADA)
    with pytest.raises(InvalidStatus) as refused:
        await server.peer(**ADA)
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "1"
    await server.peer(**GRACE)
    await first.close()
    await until(lambda: len(server.app.connections) == 2, "the connection is gone")
    await server.peer(**ADA)


@pytest.mark.settings(trusted_proxies=("127.0.0.1",), address_message_rate=100, address_message_burst=20)
async def test_connections_of_one_address_share_its_rate_and_those_of_others_do_not(server: Server) -> None:
    a, b = await server.peer(**ADA), await server.peer(**ADA)
    await a.join("r", "a")
    await b.join("r", "b")
    other = await server.peer(**GRACE)
    await other.join("r", "other")
    await b.expect("peer-joined", peer_id="other")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(40):
        await a.send(signal(number))
        await b.send(signal(number, "a"))
    for number in range(40):
        await b.expect("signal", data=number)
    assert loop.time() - began >= 0.15
    await other.drain("r")
    assert limits_of(server, 2).delay == 0


@pytest.mark.settings(trusted_proxies=("127.0.0.1",), address_join_rate=0.1, address_join_burst=2)
async def test_connections_of_one_address_share_its_joins(server: Server) -> None:
    a, b, other = await server.peer(**ADA), await server.peer(**ADA), await server.peer(**GRACE)
    await a.join("r", "a")
    await b.join("r", "b")
    await a.say("join", "r2", {"peer_id": "a"})
    await a.expect("peer-joined")
    await a.expect_error("rate-limited")
    await other.join("r2", "other")


@pytest.mark.settings(max_address_connections=1)
async def test_a_client_that_is_no_trusted_proxy_cannot_choose_its_address(server: Server) -> None:
    await server.peer(**ADA)
    with pytest.raises(InvalidStatus) as refused:
        await server.peer(**GRACE)
    assert refused.value.response.status_code == 429


@pytest.mark.settings(trusted_proxies=("127.0.0.1",), max_address_connections=1)
async def test_pages_and_probes_are_not_limited(server: Server) -> None:
    await server.peer(**ADA)
    client = AsyncHTTPClient()
    for path in ("/healthz", "/client/index.js"):
        assert (await client.fetch(server.url(path, "http"), headers=ADA)).code == 200
    client.close()


@pytest.mark.settings(trusted_proxies=("127.0.0.1",))
async def test_an_address_without_connections_is_forgotten(server: Server) -> None:
    a = await server.peer(**ADA)
    await a.join("r", "a")
    assert len(server.app.addresses) == 1
    await a.close()
    await until(lambda: len(server.app.connections) == 0, "the connection is gone")

    def forgotten() -> bool:
        server.app.addresses.forget_unused(asyncio.get_running_loop().time())
        return len(server.app.addresses) == 0

    await until(forgotten, "the address is forgotten")


@pytest.mark.settings(first_message_timeout=1.0, ping_interval=0.1)
async def test_a_client_that_sends_no_valid_message_in_time_is_closed(server: Server) -> None:
    silent, senseless, sensible = [await server.peer() for _ in range(3)]
    await sensible.join("r", "a")
    await senseless.send("nonsense")
    await senseless.expect_error("bad-message")
    await senseless.send(signal())
    await senseless.expect_error("not-in-room")
    await silent.expect_close(4510)
    await senseless.expect_close(4510)
    assert await sensible.drain("r") == []


@pytest.mark.settings(first_message_timeout=0.2, ping_interval=0)
async def test_the_first_message_has_a_deadline_without_pings_too(server: Server) -> None:
    await (await server.user()).expect_close(4510)


@pytest.mark.settings(idle_timeout=1.0, ping_interval=0.1)
async def test_a_client_in_no_room_for_too_long_is_closed_and_one_in_a_room_is_not(server: Server) -> None:
    idle, user, busy = await server.peer(), await server.user(), await server.peer()
    await busy.join("r", "busy")
    await idle.join("r2", "idle")
    await user.say("connect", None, {"user_id": "u"})
    await user.expect("connected")
    await idle.say("leave", "r2")
    await idle.expect("left")
    await user.expect_close(4510)
    await idle.expect_close(4510)
    assert await busy.drain("r") == []


PEERS = 50
CANDIDATES = 10


@pytest.mark.alone
async def test_a_call_of_fifty_behind_one_router_reaches_no_limit(server: Server) -> None:
    peers = [await server.peer() for _ in range(PEERS)]
    for number, peer in enumerate(peers):
        await peer.join("r", str(number))
    description = {"type": "offer", "sdp": "v=0" + "x" * 3000}
    expected = (PEERS - 1) * (1 + CANDIDATES)
    hearing = [asyncio.ensure_future(_signals(peer, expected)) for peer in peers]
    for number, peer in enumerate(peers):
        for other in range(PEERS):
            if other != number:
                await peer.say("offer", "r", {"target_peer_id": str(other), "offer": description})
                for _ in range(CANDIDATES):
                    candidate = {"candidate": "candidate:1 1 udp 1 192.0.2.1 1 typ host"}
                    await peer.say("ice-candidate", "r", {"target_peer_id": str(other), "candidate": candidate})
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*hearing)
    assert all(limits_of(server, number).slowed == 0 for number in range(PEERS))


async def _signals(peer: Client, count: int) -> None:
    """Receive so many signals, and no error."""
    while count:
        kind = json.loads(await peer.hear_text())["type"]
        assert kind in ("offer", "ice-candidate", "peer-joined")
        count -= kind != "peer-joined"


@pytest.mark.settings(
    connection_delivery_rate=40,
    connection_delivery_burst=64,
    max_slowed_seconds=0.4,
    max_refused_messages=3,
    address_delivery_rate=0,
)
async def test_a_sender_to_many_is_slowed_then_refused_and_closed_and_a_sender_to_one_is_not(server: Server) -> None:
    users = [await server.user() for _ in range(5)]
    for number, user in enumerate(users):
        await user.enter("crowd", f"u{number}")
    sender, listener = users[0], users[1]
    a, b = await server.pair()
    for number in range(60):
        await sender.say("message", "crowd", {"content": number})
        await a.send(signal(number))
    heard: list[Any] = []
    assert await read_all(sender, heard) == 4004
    errors = [message["payload"] for message in heard if message["type"] == "error"]
    assert [error["code"] for error in errors] == ["rate-limited"] * 3
    assert 1 <= errors[0]["details"]["retry_after_ms"] <= 3000
    for number in range(60):
        await b.expect("signal", data=number)
    contents = [one["payload"]["content"] for one in await listener.drain("crowd") if one["type"] == "message"]
    assert contents == list(range(len(contents)))
    assert 64 / 4 - 5 <= len(contents) < 60


@pytest.mark.settings(address_delivery_rate=1, address_delivery_burst=64, max_metadata_bytes=20_000)
async def test_joins_of_an_address_wait_until_the_rosters_that_it_was_sent_are_made_up_for(server: Server) -> None:
    metadata = {"text": "x" * 15_000}
    for number in range(9):
        heavy = await server.peer()
        await heavy.say("join", "r", {"peer_id": f"p{number}", "metadata": metadata}, id=1)
        while (reply := await heavy.hear()).get("id") != 1:
            pass
        if reply["type"] == "error":
            break
    assert 2 <= number <= 4
    assert reply["payload"]["code"] == "rate-limited"
    assert reply["payload"]["retryable"]
    assert reply["payload"]["details"]["retry_after_ms"] > 1000


@pytest.mark.settings(connection_delivery_rate=1, connection_delivery_burst=30)
async def test_messages_behind_a_join_are_charged_for_all_that_they_reach(servers: list[Server]) -> None:
    sender = await servers[0].user()
    limits = limits_of(servers[0])
    crowd = [await servers[1].user() for _ in range(9)]
    for number, user in enumerate(crowd):
        await user.enter("behind-join", f"u{number}")
    await sender.say("connect", None, {"user_id": "sender"})
    await sender.expect("connected")
    await sender.say("join-room", "behind-join")
    for number in range(9):
        await sender.say("message", "behind-join", {"content": number})
    await until(lambda: limits.delay > 0, "that the sender is slowed")


@pytest.mark.settings(connection_delivery_rate=1, connection_delivery_burst=20)
async def test_an_update_is_charged_for_all_that_are_told(server: Server) -> None:
    a, _ = await server.pair()
    for number in range(4):
        await a.join(f"r{number}", "a")
    limits = limits_of(server)
    assert limits.delay == 0
    crowd = [await server.peer() for _ in range(9)]
    for number, client in enumerate(crowd):
        await client.join("r0", f"p{number}")
    for number in range(2):
        await a.say("update", "r0", {"metadata": {"n": number}})
    await until(lambda: limits.delay > 0, "that the sender is slowed")


@pytest.mark.settings(ping_interval=0, connection_byte_burst=33_554_432, max_slowed_seconds=0)
async def test_a_flood_at_a_peer_that_reads_slowly_costs_its_sender_and_neither_the_peer_nor_its_rooms(
    servers: list[Server],
) -> None:
    here, there = servers
    flooder, victim = await here.peer(), await there.peer()
    await flooder.join("slow", "a")
    await victim.join("slow", "b")
    await flooder.expect("peer-joined", peer_id="b")
    await victim.join("private", "victim")
    friend = await there.peer()
    await friend.join("private", "friend", presence=True)
    await victim.expect("peer-joined")
    limits = limits_of(here)
    victim.stop_reading()
    outcomes: list[str] = []
    while limits.delay == 0:
        await flooder.say("signal", "slow", {"target_peer_id": "b", "data": "x" * 60_000}, id=len(outcomes))
        reply = await flooder.hear()
        outcomes.append(reply["payload"].get("code", reply["payload"].get("status")))
    sent = outcomes.count("delivered")
    assert outcomes[:sent] == ["delivered"] * sent
    assert set(outcomes[sent:]) == {"unavailable"}
    assert len(outcomes) * 60_000 < 33_554_432
    newcomer = await there.peer()
    await newcomer.join("private", "newcomer")
    assert (await friend.expect("peer-joined"))["payload"]["peer_id"] == "newcomer"  # and nobody was away
    victim.socket.transport.resume_reading()
    for _ in range(sent):
        await victim.expect("signal")
    await victim.expect("peer-joined", peer_id="newcomer")
    await victim.say("signal", "private", {"target_peer_id": "friend", "data": 1}, id=1)
    await victim.expect("ack", status="delivered")
    await friend.expect("signal")


@pytest.mark.settings(ping_interval=0, connection_byte_burst=33_554_432, max_slowed_seconds=0)
async def test_a_flood_of_a_room_with_a_user_that_reads_slowly_is_slowed(server: Server) -> None:
    flooder, victim, other = [await server.user() for _ in range(3)]
    for name, user in (("flooder", flooder), ("victim", victim), ("other", other)):
        await user.enter("r", name)
    limits = limits_of(server)
    victim.stop_reading()
    count = 0
    while limits.delay == 0:
        await flooder.say("message", "r", {"content": "x" * 60_000})
        while (await other.hear())["type"] != "message":
            pass
        count += 1
    assert count * 60_000 < 33_554_432
