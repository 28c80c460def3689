"""Misuse over real sockets: each mistake costs one error and nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient
from websockets.exceptions import InvalidStatus

from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server

LIMIT = 65_536


def signal(data: object = 0, **fields: object) -> str:
    """A signal to peer `b` of room `r`."""
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
    "a lone surrogate": (signal().replace("0}", '"\\ud800"}'), "bad-message", None),
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
    "no payload": ('{"type": "join", "room": "r2"}', "bad-message", "payload"),
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


async def test_an_error_names_the_request_it_answers(server: Server) -> None:
    a, _ = await server.pair()
    await a.send('{"type": "shout", "room": "r", "payload": {}, "id": "mine"}')
    error = await a.expect("error")
    assert (error["id"], error["room"]) == ("mine", "r")


async def test_a_message_of_exactly_the_limit_passes(server: Server) -> None:
    a, b = await server.pair()
    text = signal("x" * (LIMIT - len(signal(""))))
    assert len(text) == LIMIT
    await a.send(text)
    await b.expect("signal")


async def test_a_frame_far_beyond_the_limit_closes_its_connection_alone(server: Server) -> None:
    a, b = await server.pair()
    watcher = await server.peer()
    await watcher.join("r", "watcher", presence=True)
    await b.expect("peer-joined", peer_id="watcher")
    await a.send(signal("x" * LIMIT * 4))
    await a.expect_close(1009)
    await watcher.expect("peer-away", peer_id="a")
    assert await b.drain("r") == []


@pytest.mark.settings(max_bad_messages=3)
async def test_a_connection_that_sends_nothing_but_bad_messages_is_closed_for_good(server: Server) -> None:
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
async def test_a_connection_is_in_as_many_rooms_as_it_may(server: Server) -> None:
    a = await server.peer()
    await a.join("one", "a")
    await a.join("two", "a")
    await a.say("join", "three", {"peer_id": "a"}, id=3)
    assert (await a.expect_error("too-many-rooms"))["details"] == {"limit": 2}
    await a.say("leave", "one")
    await a.expect("left")
    await a.join("three", "a")


@pytest.mark.settings(max_room_members=2)
async def test_a_full_room_refuses_peers_and_users_each_by_their_own_number(server: Server) -> None:
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
async def test_a_server_with_as_many_rooms_as_it_may_says_so_and_recovers(server: Server) -> None:
    a = await server.peer()
    await a.join("one", "a")
    await a.say("join", "two", {"peer_id": "a"})
    assert (await a.expect_error("unavailable"))["retryable"] is True
    await a.say("leave", "one")
    await a.expect("left")
    await a.join("two", "a")


@pytest.mark.settings(max_connections=1)
async def test_one_connection_too_many_is_refused_in_the_handshake(server: Server, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "as many connections as it may")
    first = await server.peer()
    with pytest.raises(InvalidStatus) as refused:
        await server.peer()
    assert refused.value.response.status_code == 503
    await first.close()
    await (await server.peer()).join("r", "a")


@pytest.mark.settings(max_outbox_bytes=200_000, max_outbox_messages=50, resume_window=0)
async def test_a_peer_that_does_not_read_is_closed_and_its_room_goes_on(server: Server) -> None:
    a, b = await server.pair()
    deaf = await server.peer()
    await deaf.join("r", "deaf")
    await a.expect("peer-joined")
    await b.expect("peer-joined")
    deaf.stop_reading()
    told = asyncio.ensure_future(b.expect("peer-left", peer_id="deaf", reason="disconnected"))
    payload = {"target_peer_id": "deaf", "data": "x" * 60_000}
    async with asyncio.timeout(DEADLINE * 4):
        while not told.done():
            await a.say("signal", "r", payload)
            await asyncio.sleep(0)
    await told
    await a.send(signal("the room goes on"))
    await b.expect("signal")


@pytest.mark.settings(ping_interval=0.1, resume_window=0)
async def test_a_silent_connection_is_found_and_one_that_answers_pings_stays(server: Server) -> None:
    a, b = await server.pair()
    b.stop_reading()
    await a.expect("peer-left", peer_id="b", reason="timeout")
    assert await a.drain("r") == []


@pytest.mark.settings(resume_window=0)
async def test_a_client_that_vanishes_without_a_word_is_told_to_the_others(server: Server) -> None:
    a, b = await server.pair()
    b.vanish()
    await a.expect("peer-left", peer_id="b", reason="disconnected")


async def test_an_upgrade_is_required(server: Server) -> None:
    client = AsyncHTTPClient()
    for path in ("/ws/signaling/", "/ws/mcp"):
        response = await client.fetch(server.url(path, "http"), raise_error=False)
        assert response.code == 400
    client.close()
