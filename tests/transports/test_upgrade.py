"""After the handshake: the socket moves to our frame loop whole, and takes nothing with it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tornado.util import _websocket_mask
from tornado.websocket import WebSocketProtocol13, _WebSocketParams

from mcp_actors.transports import upgrade
from mcp_actors.transports.frames import PONG, TURN, write_frame
from mcp_actors.transports.upgrade import understood
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.server import Server
from tests.support.socket import JOIN, Socket
from tests.transports.test_frames import Raw, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from mcp_actors.transports.turns import Turns


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server with the fast loop."""
    file = str(make_certificate(tmp_path / "server.pem")) if request.param == "TLS" else ""
    server = Server(tmp_path, tls_cert_file=file)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def test_frames_that_come_with_the_handshake_are_not_lost(server: Server) -> None:
    early = b"".join(text(JOIN.replace(b'"r"', b'"room %d"' % number) % b"a") for number in range(20))
    socket = await Socket.open(server, early)
    for number in range(20):
        first, payload = await socket.frame()
        assert first == 0x81
        assert b'"joined"' in payload
        assert b'"room %d"' % number in payload
    await socket.close()


def test_tornado_has_the_hooks_that_this_loop_takes() -> None:
    for name in ("_receive_frame_loop", "_abort", "accept_connection", "write_message", "write_ping", "close"):
        assert callable(getattr(WebSocketProtocol13, name))
    assert list(inspect.signature(_WebSocketParams).parameters) == [
        *("ping_interval", "ping_timeout", "max_message_size", "compression_options")
    ]
    assert _websocket_mask(b"\x01\x02\x03\x04", b"\x00" * 6) == b"\x01\x02\x03\x04\x01\x02"


async def test_a_connection_that_is_gone_is_freed_without_the_garbage_collector(server: Server) -> None:
    gc.collect()
    gc.disable()
    try:
        peers = [await server.peer() for _ in range(5)]
        for number, peer in enumerate(peers):
            await peer.join("r", str(number))
        handlers = [weakref.ref(connection._socket) for connection in server.app.connections._open]  # type: ignore[attr-defined]
        assert len(handlers) == 5
        for peer in peers[:3]:
            await peer.close()
        async with asyncio.timeout(DEADLINE):
            while sum(handler() is not None for handler in handlers) > 2:
                await asyncio.sleep(0.01)
    finally:
        gc.enable()


@pytest.mark.parametrize("server", ["plain"], indirect=True)
async def test_one_who_sends_too_much_before_it_has_read_the_handshake_is_hung_up_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "MAX_EARLY", 1000)
    socket = await Socket.open(server, Raw(0x8A, b"x" * 100).encode() * 100)
    with suppress(ConnectionResetError):  # the same, heard otherwise
        assert await socket.ended()
    assert len(server.app.connections) == 0
    await socket.close()


@pytest.mark.parametrize(
    ("offer", "known"),
    [
        ("permessage-deflate", True),
        ("permessage-deflate; client_max_window_bits", True),
        ("permessage-deflate; server_max_window_bits=10; client_no_context_takeover, permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits=8", False),
        ("permessage-deflate; foo=1", False),
        ("x-webkit-deflate-frame", False),
        (";;;=", False),
    ],
)
def test_offers_of_compression_are_taken_up_only_in_words_that_tornado_knows(offer: str, known: bool) -> None:
    assert understood(offer) is known


async def answered_once(server: Server) -> tuple[Socket, Turns]:
    """A connection whose first ping was answered, and the turns that it takes."""
    socket = await Socket.open(server)
    socket.writer.write(Raw(0x89, b"first").encode())
    assert await socket.frame() == (PONG | 0x80, b"first")
    [connection] = server.app.connections._open
    turns: Turns = connection._socket._endpoint.turns  # type: ignore[attr-defined]
    return socket, turns


@pytest.mark.parametrize(("loud_turn", "is_loud"), [(0.0, False), (60.0, True)], ids=["quiet", "loud"])
async def test_only_a_loud_client_of_tornados_own_loop_waits_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loud_turn: float, is_loud: bool
) -> None:
    monkeypatch.setattr(upgrade, "LOUD_TURN", loud_turn)
    server = Server(tmp_path, frame_loop="stock", ping_interval=0)
    await server.start()
    socket, turns = await answered_once(server)
    turns._under_way = True  # as while somebody else has a turn that does not end
    answered = 0
    for number in range(5 * TURN):
        socket.writer.write(Raw(0x89, b"%d" % number).encode())
        if is_loud and number >= TURN - 1:
            continue
        assert await socket.frame() == (PONG | 0x80, b"%d" % number)
        answered += 1
    assert answered == (TURN - 1 if is_loud else 5 * TURN)
    await until(lambda: len(turns) == is_loud, "it waits for its turn, if it is loud")
    turns._next_round()
    await socket.close()
    await server.stop()


@pytest.mark.parametrize("frame", [Raw(0x89, b""), Raw(0x01, b""), Raw(0x81, b"{}")], ids=["ping", "part", "message"])
async def test_who_is_slowed_waits_for_others_in_tornados_own_loop_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: Raw
) -> None:
    monkeypatch.setattr(upgrade, "LOUD_TURN", 0.0)
    server = Server(tmp_path, frame_loop="stock", connection_message_rate=1000, connection_message_burst=4)
    await server.start()
    socket, turns = await answered_once(server)
    await until(lambda: not turns._under_way, "nobody has a turn")
    turns._under_way = True  # as while somebody else has a turn that does not end
    more = Raw(0x00, b"") if frame.first == 0x01 else frame
    socket.writer.write(frame.encode() + more.encode() * 20)
    await until(lambda: len(turns) == 1, "it waits for its turn")
    turns._next_round()
    await socket.close()
    await server.stop()


@pytest.mark.parametrize("loop", ["fast", "stock"])
async def test_a_loud_client_takes_turns_with_others(tmp_path: Path, loop: str) -> None:
    pings, turns = 2000, 0
    server = Server(tmp_path, frame_loop=loop, ping_interval=0)
    await server.start()
    socket = await Socket.open(server)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    try:
        socket.writer.write(b"\x89\x80\0\0\0\0" * pings)
        async with asyncio.timeout(DEADLINE):
            assert await socket.reader.readexactly(2 * pings) == write_frame(PONG, b"") * pings
    finally:
        counting.cancel()
        await socket.close()
        await server.stop()
    assert turns > pings / TURN
