"""Endpoints over real sockets: mistakes of clients, limits, and refused handshakes."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient
from websockets.exceptions import InvalidStatus

from mcp_actors.auth.tokens import mint, secret_key
from tests.support.client import DEADLINE
from tests.support.socket import HANDSHAKE

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server

LIMIT = 65_536
SECRET = "a secret that is only used in this test"  # noqa: S105


def signal(data: object = 0, **fields: object) -> str:
    """Return a signal to peer `b` of room `r`."""
    payload = {"target_peer_id": "b", "data": data}
    return json.dumps({"type": "signal", "room": "r", "payload": payload, **fields})


MISUSE: dict[str, tuple[str | bytes, str, str | None]] = {
    "garbage": ("garbage", "bad-message", None),
    "nothing": ("", "bad-message", None),
    "half a message": (signal()[:-1], "bad-message", None),
    "two messages": (signal() * 2, "bad-message", None),
    "an array": ("[1, 2]", "bad-message", None),
    "a number": ("7", "bad-message", None),
    "null": ("null", "bad-message", None),
    "nothing inside": ("{}", "bad-message", "type"),
    "binary garbage": (b"\xff\xfe\x00", "bad-message", None),
    "binary with bad UTF-8 in a string": (signal("x").encode().replace(b'"x"', b'"\xff"'), "bad-message", None),
    "NaN": (signal().replace("0}", "NaN}"), "bad-message", None),
    "100,000 brackets": ("[" * 60_000, "bad-message", None),
    "brackets in the data": (signal().replace("0}", "[" * 60_000 + "}"), "bad-message", None),
    "an unknown type": ('{"type": "shout", "room": "r", "payload": {}}', "bad-message", "type"),
    "the other endpoint's type": ('{"type": "join-room", "room": "r", "payload": {}}', "bad-message", "type"),
    "the server's type": ('{"type": "joined", "room": "r", "payload": {}}', "bad-message", "type"),
    "a spoofed sender": (signal(sender="b"), "bad-message", "sender"),
    "an unknown field": (signal(extra=1), "bad-message", "extra"),
    "no room": (json.dumps({"type": "leave"}), "bad-message", "room"),
    "a room that is no string": (signal(room=7), "bad-message", "room"),
    "no payload": ('{"type": "join", "room": "r2"}', "bad-message", "payload.peer_id"),
    "a payload that is no object": ('{"type": "join", "room": "r2", "payload": []}', "bad-message", "payload"),
    "no peer id": ('{"type": "join", "room": "r2", "payload": {}}', "bad-message", "payload.peer_id"),
    "a fraction for an id": (signal(id=1.5), "bad-message", "id"),
    "an offer that is a string": (
        '{"type": "offer", "room": "r", "payload": {"target_peer_id": "b", "offer": "v=0"}}',
        "bad-message",
        "payload.offer",
    ),
    "an id that is too long": (
        json.dumps({"type": "join", "room": "r2", "payload": {"peer_id": "x" * 129}}),
        "bad-message",
        "payload.peer_id",
    ),
    "a room name with a newline": (
        json.dumps({"type": "join", "room": "r\n2", "payload": {"peer_id": "a"}}),
        "bad-message",
        "room",
    ),
    "metadata that is too big": (
        json.dumps({"type": "join", "room": "r2", "payload": {"peer_id": "a", "metadata": {"x": "y" * 1024}}}),
        "message-too-big",
        "payload.metadata",
    ),
    "a message that is too big": (signal("x" * LIMIT), "message-too-big", None),
    "a signal to a room not joined": (signal(room="elsewhere"), "not-in-room", None),
    "leaving a room not joined": ('{"type": "leave", "room": "elsewhere"}', "not-in-room", None),
    "an unknown target": (signal().replace('"b"', '"nobody"'), "peer-not-found", None),
    "oneself as target": (signal().replace('"b"', '"a"'), "bad-message", "payload.target_peer_id"),
    "the same room twice": ('{"type": "join", "room": "r", "payload": {"peer_id": "a"}}', "already-in-room", None),
    "the same room under another id": (
        '{"type": "join", "room": "r", "payload": {"peer_id": "a2"}}',
        "already-in-room",
        None,
    ),
}


@pytest.mark.parametrize("name", MISUSE)
async def test_a_mistake_costs_one_error_and_nothing_else(server: Server, name: str) -> None:
    frame, code, field = MISUSE[name]
    a, b = await server.pair()
    await a.send(frame)
    error = await a.expect_error(code)
    assert error.get("details", {}).get("field") == field
    assert error["retryable"] is False
    await a.send(signal("still here"))
    assert (await b.expect("signal", data="still here"))["sender"] == "a"
    assert await a.drain("r") == []


@pytest.mark.parametrize(
    "frame",
    [
        '{"type": "shout", "room": "r", "payload": {}, "id": "mine"}',
        signal(id="mine").replace("0}", "NaN}"),
        signal(id="mine").replace("0}", "[" * 30_000 + "]" * 30_000 + "}"),
        signal(id="mine").replace("0}", '"a\nb"}'),
        signal(id="mine") + signal(id="other"),
        signal("x" * LIMIT, id="mine"),
        signal("x", id="mine").encode().replace(b'"x"', b'"\xff"'),
        signal(id="mine").replace('"b"', '"\\ud83d"'),
        signal(id="mine").replace('"b"', '"nobody"'),
    ],
)
async def test_an_error_names_the_request_it_answers(server: Server, frame: str | bytes) -> None:
    a, _ = await server.pair()
    await a.send(frame)
    error = await a.expect("error")
    assert (error["id"], error["room"]) == ("mine", "r")


@pytest.mark.settings(secret_key=SECRET, auth="required")
async def test_a_client_with_a_token_joins_and_connects_without_a_payload(server: Server) -> None:
    claims = {"sub": "ada", "exp": time.time() + 60}
    token = mint(secret_key(SECRET), claims)
    peer = await server.peer(Authorization=f"Bearer {token}")
    await peer.expect("authenticated")
    await peer.send('{"type": "join", "room": "team-1"}')
    await peer.expect("joined", peer_id="ada")
    user = await server.user(Authorization=f"Bearer {token}")
    await user.expect("authenticated")
    await user.send('{"type": "connect", "payload": null, "room": null}')
    await user.expect("connected", user_id="ada")


async def test_a_message_of_exactly_the_limit_passes(server: Server) -> None:
    a, b = await server.pair()
    text = signal("x" * (LIMIT - len(signal(""))))
    assert len(text) == LIMIT
    await a.send(text)
    await b.expect("signal")


async def test_a_frame_far_beyond_the_limit_closes_only_its_own_connection(server: Server) -> None:
    a, b = await server.pair()
    watcher = await server.peer()
    await watcher.join("r", "watcher", presence=True)
    await b.expect("peer-joined", peer_id="watcher")
    await a.send(signal("x" * LIMIT * 4))
    await a.expect_close(1009)
    await watcher.expect("peer-away", peer_id="a")
    assert await b.drain("r") == []


@pytest.mark.settings(max_bad_messages=3)
async def test_a_connection_with_too_many_bad_messages_in_a_row_is_closed_for_good(server: Server) -> None:
    a, b = await server.pair()
    for frame in ("bad", "worse", signal(), "bad", "worse"):
        await a.send(frame)
    for _ in range(4):
        await a.expect_error("bad-message")
    await b.expect("signal")
    await a.send("worst")
    await a.expect_error("bad-message")
    await a.expect_close(4500)
    await b.expect("peer-left", peer_id="a")


@pytest.mark.settings(max_rooms_per_connection=2)
async def test_a_connection_may_be_in_a_limited_number_of_rooms(server: Server) -> None:
    a = await server.peer()
    await a.join("one", "a")
    await a.join("two", "a")
    await a.say("join", "three", {"peer_id": "a"}, id=3)
    assert (await a.expect_error("too-many-rooms"))["details"] == {"limit": 2}
    await a.say("leave", "one")
    await a.expect("left")
    await a.join("three", "a")


@pytest.mark.settings(max_room_members=2)
async def test_a_full_room_refuses_peers_and_users_counted_separately(server: Server) -> None:
    await server.pair()
    late = await server.peer()
    await late.say("join", "r", {"peer_id": "late"})
    assert (await late.expect_error("room-full"))["details"] == {"limit": 2}
    for name in ("u", "v"):
        await (await server.user()).enter("r", name)
    user = await server.user()
    await user.say("connect", None, {"user_id": "w"})
    await user.expect("connected")
    await user.say("join-room", "r")
    await user.expect_error("room-full")
    await late.join("another", "late")


@pytest.mark.settings(max_rooms=1)
async def test_a_server_with_too_many_rooms_refuses_joins_until_one_is_empty(server: Server) -> None:
    a = await server.peer()
    await a.join("one", "a")
    await a.say("join", "two", {"peer_id": "a"})
    assert (await a.expect_error("unavailable"))["retryable"] is True
    await a.say("leave", "one")
    await a.expect("left")
    await a.join("two", "a")


@pytest.mark.settings(max_connections=1)
async def test_a_connection_beyond_the_limit_is_refused_in_the_handshake(
    server: Server, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.connection", "as many connections as it may")
    first = await server.peer()
    with pytest.raises(InvalidStatus) as refused:
        await server.peer()
    assert refused.value.response.status_code == 503
    await first.close()
    await (await server.peer()).join("r", "a")


@pytest.mark.settings(max_outbox_bytes=200_000, max_outbox_messages=50, resume_window=0)
async def test_a_user_that_does_not_read_is_closed_and_its_room_goes_on(server: Server) -> None:
    speaker, listener, deaf = [await server.user() for _ in range(3)]
    for client, name in ((speaker, "speaker"), (listener, "listener"), (deaf, "deaf")):
        await client.enter("r", name)
    deaf.stop_reading()

    async def told() -> None:
        while (message := await listener.hear())["type"] != "user-left":
            pass
        assert message["payload"] == {"user_id": "deaf", "reason": "disconnected"}

    hearing = asyncio.ensure_future(told())
    async with asyncio.timeout(DEADLINE):
        while not hearing.done():
            await speaker.say("message", "r", {"content": "x" * 60_000})
            await asyncio.sleep(0)
    await hearing
    await speaker.say("message", "r", {"content": "the room goes on"}, id=1)
    while (await listener.hear())["payload"]["content"] != "the room goes on":
        pass


@pytest.mark.settings(ping_interval=0.1, resume_window=0)
async def test_a_silent_connection_is_closed_and_one_that_answers_pings_stays(server: Server) -> None:
    a, b = await server.pair()
    b.stop_reading()
    await a.expect("peer-left", peer_id="b", reason="timeout")
    assert await a.drain("r") == []


@pytest.mark.settings(resume_window=0)
async def test_the_room_is_told_when_a_client_vanishes(server: Server) -> None:
    a, b = await server.pair()
    b.vanish()
    await a.expect("peer-left", peer_id="b", reason="disconnected")


async def test_an_upgrade_is_required(server: Server) -> None:
    client = AsyncHTTPClient()
    for path in ("/ws/signaling/", "/ws/mcp"):
        response = await client.fetch(server.url(path, "http"), raise_error=False)
        assert response.code == 400
    client.close()


async def test_another_version_of_the_protocol_is_refused_with_the_supported_one(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HANDSHAKE.replace(b"Version: 13", b"Version: 8"))
    async with asyncio.timeout(DEADLINE):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 ")
    for line in (b"Sec-Websocket-Version: 13", b"Upgrade: websocket", b"Connection: Upgrade"):
        assert b"\r\n%s\r\n" % line in head
    writer.close()
