"""The fast frame loop on real sockets, byte for byte: what a library would hide."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from mcp_actors.transports import frame_loop
from mcp_actors.transports.frames import TURN
from tests.support.certificate import make_certificate
from tests.support.server import Server
from tests.support.socket import JOIN, Socket
from tests.transports.test_frames import CLOSING, Raw, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.support.client import Client


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server with the fast loop, and a low limit of messages."""
    file = str(make_certificate(tmp_path / "server.pem")) if request.param == "TLS" else ""
    server = Server(tmp_path, max_message_bytes=1024, ping_interval=0, tls_cert_file=file)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def deaf_and_other(server: Server) -> tuple[Socket, Client]:
    """A peer `deaf` that does not read, with more waiting for it than the kernel takes, and another of its room."""
    deaf = await Socket.open(server, text(JOIN % b"deaf"))
    await deaf.frame()
    other = await server.peer()
    await other.join("r", "other")
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(3000):
        await other.say("signal", "r", {"target_peer_id": "deaf", "data": "x" * 900})
    await other.drain("r")
    return deaf, other


async def test_frames_may_come_one_byte_at_a_time(server: Server) -> None:
    socket = await Socket.open(server)
    for byte in text(JOIN % b"a"):
        socket.writer.write(bytes((byte,)))
        await socket.writer.drain()
        await asyncio.sleep(0)
    assert b'"joined"' in (await socket.frame())[1]
    await socket.close()


@pytest.mark.parametrize("name", [name for name in CLOSING if "too" not in name])
async def test_what_breaks_the_rules_closes_with_its_code_and_tells_the_room(server: Server, name: str) -> None:
    data, code = CLOSING[name]
    watcher = await server.peer()
    await watcher.join("r", "watcher", presence=True)
    socket = await Socket.open(server, text(JOIN % b"a"))
    await socket.frame()
    await watcher.expect("peer-joined")
    socket.writer.write(data + os.urandom(1000))
    first, payload = await socket.frame()
    assert (first, int.from_bytes(payload[:2], "big")) == (0x88, code)
    assert payload[2:].decode().isprintable()
    await socket.close()
    await watcher.expect("peer-away", peer_id="a")


@pytest.mark.parametrize(("sent", "answered"), [(b"", 1000), (b"\x03\xe8", 1000), (b"\x0f\xa0bye", 4000)])
async def test_a_close_frame_is_answered_in_kind_and_the_server_hangs_up(
    server: Server, sent: bytes, answered: int
) -> None:
    socket = await Socket.open(server)
    socket.writer.write(Raw(0x88, sent).encode())
    assert await socket.frame() == (0x88, answered.to_bytes(2, "big"))
    assert await socket.ended()
    await socket.close()


async def test_a_close_frame_behind_more_than_a_turn_of_others_is_answered_too(server: Server) -> None:
    socket = await Socket.open(server)
    socket.writer.write(Raw(0x8A, b"").encode() * (2 * TURN + 1) + Raw(0x88, b"\x03\xe8").encode() + text(b"late"))
    assert await socket.frame() == (0x88, b"\x03\xe8")
    assert await socket.ended()
    await socket.close()


async def test_pings_are_answered_also_within_a_fragmented_message(server: Server) -> None:
    socket = await Socket.open(server)
    whole = JOIN % b"a"
    socket.writer.write(Raw(0x01, whole[:9]).encode() + Raw(0x89, b"here?").encode() + Raw(0x80, whole[9:]).encode())
    assert await socket.frame() == (0x8A, b"here?")
    assert b'"joined"' in (await socket.frame())[1]
    await socket.close()


async def test_when_the_server_closes_it_takes_no_more_messages_and_hangs_up_on_the_answer(server: Server) -> None:
    socket = await Socket.open(server, text(JOIN % b"a"))
    await socket.frame()
    stopping = asyncio.ensure_future(server.app.stop())
    first, payload = await socket.frame()
    assert (first, payload) == (0x88, b"\x03\xe9going-away")
    socket.writer.write(text(JOIN % b"b") + Raw(0x88, b"\x03\xe9").encode())
    assert await socket.ended()
    await stopping
    await socket.close()


@pytest.mark.parametrize("before", range(2 * TURN + 1))
async def test_what_is_pipelined_is_handled_in_order_wherever_a_turn_ends(server: Server, before: int) -> None:
    watcher = await server.peer()
    await watcher.join("r", "watcher")
    said = [
        JOIN % b"a",
        b'{"type":"signal","room":"r","payload":{"target_peer_id":"watcher","data":1}}',
        b'{"type":"leave","room":"r"}',
        JOIN % b"b",
        b'{"type":"leave","room":"r"}',
    ]
    socket = await Socket.open(server)
    socket.writer.write(Raw(0x8A, b"").encode() * before + b"".join(map(text, said)))
    answers = [json.loads((await socket.frame())[1])["type"] for _ in range(4)]
    assert answers == ["joined", "left", "joined", "left"]
    heard = [(await watcher.hear())["type"] for _ in range(5)]
    assert heard == ["peer-joined", "signal", "peer-left", "peer-joined", "peer-left"]
    await socket.close()


async def test_one_who_closes_and_does_not_read_is_hung_up_on_in_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_loop, "CLOSE_TIMEOUT", 0.1)
    socket, other = await deaf_and_other(server)
    socket.writer.write(Raw(0x88, b"").encode())
    await other.expect("peer-left", peer_id="deaf")
    await socket.close()


async def test_what_is_sent_to_a_peer_after_its_close_frame_is_not_found(server: Server) -> None:
    socket, other = await deaf_and_other(server)
    socket.writer.write(Raw(0x88, b"").encode())
    await other.expect("peer-left", peer_id="deaf", reason="disconnected")
    await other.say("signal", "r", {"target_peer_id": "deaf", "data": 1}, id=1)
    await other.expect_error("peer-not-found")
    await socket.close()


async def test_a_flood_of_pings_from_one_who_does_not_read_does_not_stop_others(server: Server) -> None:
    socket = await Socket.open(server)
    socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
    flood = Raw(0x89, b"x" * 125).encode() * 500
    for _ in range(100):
        socket.writer.write(flood)
        await asyncio.sleep(0)
    watcher = await server.peer()
    await watcher.join("r", "watcher")
    await socket.close()


async def test_a_loud_client_leaves_turns_for_others(server: Server) -> None:
    loud, quiet = await Socket.open(server), await server.peer()
    await quiet.join("r", "quiet")
    loud.writer.write(Raw(0x8A, b"").encode() * 100_000)
    assert await quiet.drain("r") == []
    await loud.close()
