"""After the handshake the socket moves to the frame loop, with everything that was read ahead."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tornado import util

from mcp_actors.adapters.tornado import upgrade
from mcp_actors.adapters.tornado.handler import EndpointHandler
from mcp_actors.connection.connection import Connection
from mcp_actors.ws.frame_loop import FrameLoop
from mcp_actors.ws.frames import BATCH, PONG, write_frame
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.server import Server
from tests.support.socket import HANDSHAKE, JOIN, Socket
from tests.ws.test_frames import Raw, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server, plain or with TLS."""
    file = str(make_certificate(tmp_path / "server.pem")) if request.param == "TLS" else ""
    server = Server(tmp_path, tls_cert_file=file, ping_interval=0)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def test_frames_that_arrive_with_the_handshake_are_not_lost(server: Server) -> None:
    early = b"".join(text(JOIN.replace(b'"r"', b'"room %d"' % number) % b"a") for number in range(20))
    socket = await Socket.open(server, early)
    for number in range(20):
        first, payload = await socket.frame()
        assert first == 0x81
        assert b'"joined"' in payload
        assert b'"room %d"' % number in payload
    await socket.close()


WORDS = HANDSHAKE.decode()
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
HANDSHAKES: dict[str, tuple[str, int]] = {
    "as it should be": (WORDS, 101),
    "a version of HTTP that does not exist": (WORDS.replace("HTTP/1.1", "HTTP/1.7"), 400),
    "names in upper case": (WORDS.upper().replace("DGHLIHNHBXBSZSBUB25JZQ", "dGhlIHNhbXBsZSBub25jZQ"), 101),
    "more than one protocol": (WORDS.replace("Upgrade: websocket", "Upgrade: foo/1, WebSocket"), 101),
    "more than one option": (WORDS.replace("Connection: Upgrade", "Connection: keep-alive, upgrade"), 101),
    "options on two lines": (WORDS.replace(UPGRADE, f"Connection: keep-alive\r\n{UPGRADE}"), 101),
    "an absolute target": (WORDS.replace("GET /", "GET http://localhost/"), 101),
    "a body before the frames": (WORDS.replace(UPGRADE, f"Content-Length: 4\r\n{UPGRADE}") + "\x81\x02aa", 101),
    "HTTP/1.0": (WORDS.replace("HTTP/1.1", "HTTP/1.0"), 400),
    "HTTP/1.0 that keeps alive": (WORDS.replace("1.1", "1.0").replace("n: U", "n: keep-alive, U"), 400),
    "HTTP/2.0": (WORDS.replace("HTTP/1.1", "HTTP/2.0"), 400),
    "HTTP/0.9": (WORDS.replace(" HTTP/1.1", ""), 400),
    "no host": (WORDS.replace("Host: 127.0.0.1\r\n", ""), 400),
    "two hosts": (WORDS.replace("Host:", "Host: localhost\r\nHost:"), 400),
    "no upgrade": (WORDS.replace("Upgrade: websocket\r\n", ""), 400),
    "another protocol": (WORDS.replace("Upgrade: websocket", "Upgrade: h2c"), 400),
    "a protocol of a similar name": (WORDS.replace("Upgrade: websocket", "Upgrade: websocket2"), 400),
    "no connection option": (WORDS.replace("Connection: Upgrade\r\n", ""), 400),
    "another connection option": (WORDS.replace("Connection: Upgrade", "Connection: keep-alive"), 400),
    "no key": (WORDS.replace("Sec-WebSocket-Key", "X-Key"), 400),
    "an empty key": (WORDS.replace("dGhlIHNhbXBsZSBub25jZQ==", ""), 400),
    "a short key": (WORDS.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400),
    "a long key": (WORDS.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZTEyMw=="), 400),
    "a key that is no base64": (WORDS.replace("dGhlIHNhbXBsZSBub25jZQ==", "!GhlIHNhbXBsZSBub25jZQ=="), 400),
    "two keys": (WORDS.replace(UPGRADE, f"{UPGRADE}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"), 400),
    "no version": (WORDS.replace("Sec-WebSocket-Version", "X-Version"), 426),
    "an old version": (WORDS.replace("Version: 13", "Version: 8"), 426),
    "two versions": (WORDS.replace("Version: 13", "Version: 13, 8"), 426),
    "POST": (WORDS.replace("GET", "POST"), 405),
    "HEAD": (WORDS.replace("GET", "HEAD"), 400),
    "a body in chunks": (WORDS.replace(UPGRADE, f"Transfer-Encoding: chunked\r\n{UPGRADE}") + "0\r\n\r\n", 411),
}
"""Requests of a handshake, and the answer that RFC 6455, 9110 and 9112 demand or allow."""


@pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/mcp"])
@pytest.mark.parametrize("kind", HANDSHAKES)
async def test_a_handshake_is_checked_whole(server: Server, kind: str, path: str) -> None:
    words, expected = HANDSHAKES[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.trusting)
    request = words.replace("/ws/signaling/", path).replace("/WS/SIGNALING/", path)
    writer.write(request.encode("latin-1") + text(b'{"type":"ping"}'))
    async with asyncio.timeout(DEADLINE):
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        assert int(status.split()[1]) == expected
        if expected == 101:
            assert {"upgrade: websocket", "connection: upgrade"} < set(lines)
            assert await reader.readexactly(2) == b"\x81\x0f"
            assert await reader.readexactly(15) == b'{"type":"pong"}'
        elif expected == 426:
            assert {"upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13"} < set(lines)
        elif expected == 405:
            assert "allow: get, head" in lines
    writer.transport.abort()


def test_tornado_has_the_mask_function_that_the_frame_loop_uses() -> None:
    """It is the only private name of Tornado that is used here."""
    assert upgrade.frame_loops().unmask is util._websocket_mask
    assert util._websocket_mask(b"\x01\x02\x03\x04", b"\x00" * 6) == b"\x01\x02\x03\x04\x01\x02"


def alive(kind: type) -> int:
    """Return the number of objects of a type."""
    return sum(type(found) is kind for found in gc.get_objects())


async def test_nothing_of_the_handshake_is_kept_and_a_closed_connection_is_freed_without_the_garbage_collector(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: list[weakref.ref[EndpointHandler]] = []
    prepare = EndpointHandler.prepare

    def note(handler: EndpointHandler) -> None:
        handlers.append(weakref.ref(handler))
        prepare(handler)

    monkeypatch.setattr(EndpointHandler, "prepare", note)
    gc.collect()
    others = {kind: alive(kind) for kind in (Connection, FrameLoop)}  # of earlier tests in this process
    gc.disable()
    try:
        peers = [await server.peer() for _ in range(5)]
        for number, peer in enumerate(peers):
            await peer.join("r", str(number))
        await until(lambda: not any(handler() for handler in handlers), "the handlers are freed")
        assert len(handlers) == 5
        for peer in peers[:3]:
            await peer.close()
        for kind, before in others.items():
            left = before + 2
            await until(lambda kind=kind, left=left: alive(kind) <= left, f"three of {kind} are freed")  # type: ignore[misc]
    finally:
        gc.enable()


@pytest.mark.parametrize("server", ["plain"], indirect=True)
async def test_a_client_that_sends_too_much_before_the_answer_to_its_handshake_is_dropped(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "MAX_EARLY", 1000)
    socket = await Socket.open(server, Raw(0x8A, b"x" * 100).encode() * 100)
    with suppress(ConnectionResetError):
        assert await socket.ended()
    assert len(server.app.connections) == 0
    await socket.close()


async def test_a_flooding_client_takes_turns_with_the_rest_of_the_loop(server: Server) -> None:
    pings, turns = 2000, 0
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
    assert turns > pings / BATCH
