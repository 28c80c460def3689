"""The frame loop: pauses and closing on a recording transport, and byte for byte on real sockets."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from mcp_actors.ws import frame_loop
from mcp_actors.ws.frame_loop import MUCH, FrameLoop
from mcp_actors.ws.frames import BATCH, write_close
from tests.support.certificate import make_certificate
from tests.support.frame_loops import MAX_MESSAGE, RecordingReceiver, RecordingTransport, connected, shared
from tests.support.loop import until
from tests.support.server import Server
from tests.support.socket import JOIN, Socket
from tests.ws.test_frames import CLOSING, Raw, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.support.client import Client


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server with a low limit of message sizes."""
    file = str(make_certificate(tmp_path / "server.pem")) if request.param == "TLS" else ""
    server = Server(tmp_path, max_message_bytes=1024, ping_interval=0, tls_cert_file=file)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def test_a_paused_connection_receives_nothing_until_it_is_resumed() -> None:
    receiver = RecordingReceiver()
    loop, transport = connected(shared(), receiver)
    loop.pause()
    loop.data_received(text(b"1") + text(b"2"))
    assert (receiver.texts, transport.reading) == ([], False)
    loop.resume()
    await until(lambda: receiver.texts == [b"1", b"2"], "the messages are received")
    assert [transport.reading] == [True]
    loop.connection_lost(None)


async def test_a_pause_that_ends_before_the_socket_is_there_holds_nothing_up() -> None:
    receiver = RecordingReceiver()
    loop = FrameLoop(shared(), MAX_MESSAGE)
    loop.serve(receiver)
    loop.pause()
    loop.resume()
    loop.connection_made(RecordingTransport())
    loop.data_received(text(b"1"))
    assert receiver.texts == [b"1"]
    loop.connection_lost(None)


async def test_a_pause_within_a_read_keeps_the_rest_of_it() -> None:
    class Pausing(RecordingReceiver):
        def frame_received(self, frame: bytes) -> None:
            super().frame_received(frame)
            loop.pause()

    receiver = Pausing()
    loop, _ = connected(shared(), receiver)
    loop.data_received(text(b"1") + text(b"2"))
    await until(lambda: receiver.texts == [b"1"], "the first message is received")
    loop.resume()
    await until(lambda: receiver.texts == [b"1", b"2"], "the second message is received")
    loop.connection_lost(None)


async def test_a_pause_outlasts_the_rest_after_a_batch() -> None:
    receiver = RecordingReceiver()
    loop, transport = connected(shared(), receiver)
    loop.data_received(text(b"x") * (BATCH + 1))
    await until(lambda: len(receiver.texts) == BATCH, "a batch is received")
    loop.pause()
    await asyncio.sleep(3 * frame_loop.REST)
    assert (len(receiver.texts), transport.reading) == (BATCH, False)
    loop.resume()
    await until(lambda: len(receiver.texts) == BATCH + 1, "the rest is received")
    loop.connection_lost(None)


async def test_a_connection_that_is_closed_while_paused_reads_nothing_more_and_ends_its_stream() -> None:
    receiver = RecordingReceiver()
    loop, transport = connected(shared(), receiver)
    loop.pause()
    loop.close(4004, "rate-limited")
    loop.resume()
    loop.data_received(text(b"late") + Raw(0x88, b"").encode())
    assert transport.calls == [write_close(4004, "rate-limited"), "eof"]
    assert receiver.events == []
    assert not transport.reading
    loop.connection_lost(None)


async def test_a_connection_may_be_used_after_its_socket_is_gone() -> None:
    loop, transport = connected(shared())
    loop.connection_lost(None)
    loop.pause()
    loop.resume()
    loop.send(b"", b"late")
    loop.ping(b"")
    loop.close(1000, "")
    loop.abort()
    await asyncio.sleep(0)
    assert transport.calls == []


async def test_a_receiver_hears_the_code_of_the_close_frame() -> None:
    receiver = RecordingReceiver()
    loop, _ = connected(shared(), receiver)
    loop.data_received(Raw(0x88, b"\x0f\xa0bye").encode())
    await until(lambda: receiver.events == [("closing", 4000)], "the receiver is told")
    loop.connection_lost(None)
    assert receiver.events[1:] == [("lost", 4000)]


async def peer_that_does_not_read(server: Server) -> tuple[Socket, Client]:
    """A peer `deaf` that does not read, with more waiting for it than the kernel takes, and another of its room."""
    deaf = await Socket.open(server, text(JOIN % b"deaf"))
    await deaf.frame()
    other = await server.peer()
    await other.join("r", "other")
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(1000):
        await other.say("signal", "r", {"target_peer_id": "deaf", "data": "x" * 900})
    await other.drain("r")
    return deaf, other


async def test_frames_may_arrive_one_byte_at_a_time(server: Server) -> None:
    socket = await Socket.open(server)
    for byte in text(JOIN % b"a"):
        socket.writer.write(bytes((byte,)))
        await socket.writer.drain()
        await asyncio.sleep(0)
    assert b'"joined"' in (await socket.frame())[1]
    await socket.close()


@pytest.mark.parametrize("name", [name for name in CLOSING if "too" not in name])
async def test_a_protocol_error_closes_with_its_code_and_the_room_is_told(server: Server, name: str) -> None:
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
async def test_a_close_frame_is_answered_with_its_code_and_the_server_hangs_up(
    server: Server, sent: bytes, answered: int
) -> None:
    socket = await Socket.open(server)
    socket.writer.write(Raw(0x88, sent).encode())
    assert await socket.frame() == (0x88, answered.to_bytes(2, "big"))
    assert await socket.ended()
    await socket.close()


async def test_a_close_frame_behind_more_than_a_batch_of_frames_is_answered(server: Server) -> None:
    socket = await Socket.open(server)
    socket.writer.write(Raw(0x8A, b"").encode() * (2 * BATCH + 1) + Raw(0x88, b"\x03\xe8").encode() + text(b"late"))
    assert await socket.frame() == (0x88, b"\x03\xe8")
    assert await socket.ended()
    await socket.close()


async def test_a_ping_within_a_fragmented_message_is_answered(server: Server) -> None:
    socket = await Socket.open(server)
    whole = JOIN % b"a"
    socket.writer.write(Raw(0x01, whole[:9]).encode() + Raw(0x89, b"here?").encode() + Raw(0x80, whole[9:]).encode())
    assert await socket.frame() == (0x8A, b"here?")
    assert b'"joined"' in (await socket.frame())[1]
    await socket.close()


async def test_when_the_server_closes_it_takes_no_more_messages_and_hangs_up_on_the_answer(server: Server) -> None:
    socket = await Socket.open(server, text(JOIN % b"a"))
    await socket.frame()
    stopping = asyncio.ensure_future(server.shut_down())
    first, payload = await socket.frame()
    assert (first, payload) == (0x88, b"\x03\xe9going-away")
    socket.writer.write(text(JOIN % b"b") + Raw(0x88, b"\x03\xe9").encode())
    assert await socket.ended()
    await stopping
    await socket.close()


@pytest.mark.parametrize("before", range(2 * BATCH + 1))
async def test_pipelined_requests_are_handled_in_order_wherever_a_batch_ends(server: Server, before: int) -> None:
    watcher = await server.peer()
    await watcher.join("r", "watcher")
    requests = [
        JOIN % b"a",
        b'{"type":"signal","room":"r","payload":{"target_peer_id":"watcher","data":1}}',
        b'{"type":"leave","room":"r"}',
        JOIN % b"b",
        b'{"type":"leave","room":"r"}',
    ]
    socket = await Socket.open(server)
    socket.writer.write(Raw(0x8A, b"").encode() * before + b"".join(map(text, requests)))
    answers = [json.loads((await socket.frame())[1])["type"] for _ in range(4)]
    assert answers == ["joined", "left", "joined", "left"]
    heard = [(await watcher.hear())["type"] for _ in range(5)]
    assert heard == ["peer-joined", "signal", "peer-left", "peer-joined", "peer-left"]
    await socket.close()


async def test_a_client_that_closes_and_does_not_read_is_dropped_in_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_loop, "CLOSE_TIMEOUT", 0.1)
    socket, other = await peer_that_does_not_read(server)
    socket.writer.write(Raw(0x88, b"").encode())
    await other.expect("peer-left", peer_id="deaf")
    await until(lambda: len(server.app.connections) == 1, "the connection is dropped")
    await socket.close()


async def test_what_a_client_does_not_read_is_counted_until_it_is_dropped(server: Server) -> None:
    memory = server.app.memory
    socket, _ = await peer_that_does_not_read(server)
    counted = memory.size_of("127.0.0.1")
    assert 450_000 < counted < 4_000_000
    [deaf, _] = server.app.connections
    deaf.drop()
    await until(lambda: len(server.app.connections) == 1, "the connection is dropped")
    [other] = server.app.connections
    other.is_stuck()
    assert memory.size_of("127.0.0.1") < counted - 50_000  # its session is kept, and counted on
    await socket.close()


async def test_a_peer_is_not_found_after_its_close_frame(server: Server) -> None:
    socket, other = await peer_that_does_not_read(server)
    socket.writer.write(Raw(0x88, b"").encode())
    await other.expect("peer-left", peer_id="deaf", reason="disconnected")
    await other.say("signal", "r", {"target_peer_id": "deaf", "data": 1}, id=1)
    await other.expect_error("peer-not-found")
    await socket.close()


async def test_a_flood_of_pings_of_a_client_that_does_not_read_does_not_stop_others(server: Server) -> None:
    socket = await Socket.open(server)
    socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
    flood = Raw(0x89, b"x" * 125).encode() * 500
    for _ in range(100):
        socket.writer.write(flood)
        await asyncio.sleep(0)
    watcher = await server.peer()
    await watcher.join("r", "watcher")
    await socket.vanish()


async def test_a_flooding_client_leaves_the_loop_to_others(server: Server) -> None:
    flooding, quiet = await Socket.open(server), await server.peer()
    await quiet.join("r", "quiet")
    flooding.writer.write(Raw(0x8A, b"").encode() * 100_000)
    assert await quiet.drain("r") == []
    await flooding.vanish()


def test_the_receiver_is_told_when_much_of_what_arrived_is_kept() -> None:
    receiver = RecordingReceiver()
    frame_loop, _ = connected(shared(), receiver)
    frame_loop.pause()
    for _ in range(4):
        frame_loop.data_received(b"x" * MUCH)
        assert frame_loop.state().memory == frame_loop.received
    assert receiver.events == [("buffers grew", None)] * 2
