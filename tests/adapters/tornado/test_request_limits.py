"""Request heads over real sockets: too many lines are not parsed, and each head has its own round of the loop."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
import ssl
import struct
import weakref
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

from bench.attack.raw_client import trusting
from mcp_actors.adapters.tornado.http_server import HttpServer
from mcp_actors.adapters.tornado.request_gate import Rank, RequestGate
from mcp_actors.adapters.tornado.request_limits import END_OF_HEAD, RequestLimits, limit_requests
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.server import Server
from tests.support.socket import HANDSHAKE
from tests.support.tokens import OPTIONAL, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop


FAR = 4_000_000_000
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def test_a_head_ends_where_tornado_finds_its_end() -> None:
    tornados, ours = re.compile(rb"\r?\n\r?\n"), re.compile(END_OF_HEAD)
    for letters in product(b"\r\na", repeat=8):
        found = [pattern.search(bytes(letters)) for pattern in (tornados, ours)]
        assert len({match and match.end() for match in found}) == 1, bytes(letters)


@pytest.fixture
def parsed(io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The rounds of the loop in which heads were parsed."""
    rounds, parse = 0, HTTPHeaders.parse
    parsed: list[int] = []

    def note(text: str, **more: Any) -> HTTPHeaders:
        parsed.append(rounds)
        return parse(text, **more)

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(HTTPHeaders, "parse", note)
    counting = io_loop.asyncio_loop.create_task(count_rounds())  # type: ignore[attr-defined]
    yield parsed
    counting.cancel()


async def answers(server: Server, words: bytes) -> bytes:
    """Return what the server sends until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(words)
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("before", [b"", HEALTH + b"\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("lines", [64, 2500])
async def test_a_head_with_too_many_headers_is_refused_before_it_is_parsed(
    server: Server, parsed: list[int], before: bytes, lines: int
) -> None:
    told = await answers(server, before + HEALTH + b"X: y\r\n" * lines + b"\r\n")
    assert told.count(b"HTTP/1.1 ") == 1 + bool(before)
    assert b"HTTP/1.1 431 Request Header Fields Too Large\r\n" in told
    assert len(parsed) == bool(before)


@pytest.mark.settings(address_request_rate=0.1, address_request_burst=2)
async def test_a_request_of_an_address_that_sends_too_many_is_not_parsed(server: Server, parsed: list[int]) -> None:
    for _ in range(2):
        assert (await answers(server, HEALTH + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    for _ in range(5):
        told = await answers(server, HEALTH + b"\r\n")
        assert told.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nRetry-After: 10\r\n" in told
    assert len(parsed) == 2
    assert (await answers(server, HANDSHAKE + b"\x88\x82\0\0\0\0\x03\xe8")).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("name", [b"Host", b"HOST", b"host"])
async def test_a_host_that_is_longer_than_any_name_is_refused_before_it_is_parsed(
    server: Server, parsed: list[int], name: bytes
) -> None:
    told = await answers(server, b"GET /healthz HTTP/1.1\r\nX: y\r\n" + name + b": " + b"a." * 150 + b"\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert not parsed
    longest = b".".join([b"a" * 62] * 4)
    request = b"GET /healthz HTTP/1.1\r\nHost: " + longest + b":65535\r\nConnection: close\r\n\r\n"
    assert (await answers(server, request)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.settings(max_headers=16)
async def test_nothing_behind_a_refused_head_is_taken_for_a_request(server: Server) -> None:
    head = HEALTH + b"X: y\r\n" * 20 + b"Content-Length: %d\r\n\r\n" % len(HEALTH + b"\r\n")
    told = await answers(server, head + HEALTH + b"\r\n")
    assert told.startswith(b"HTTP/1.1 431 ")
    assert told.count(b"HTTP/1.1 ") == 1


@pytest.mark.settings(max_headers=16)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_empty_lines_before_a_request_and_bare_line_feeds_do_not_count(server: Server, end: bytes) -> None:
    lines = [b"GET /healthz HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close", *[b"X: y"] * 14, b"", b""]
    assert (await answers(server, b"\r\n" + end.join(lines))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "words",
    [HEALTH + b"Connection: close\r\n\r\n", HANDSHAKE, b"nonsense\r\n\r\n"],
    ids=["a request", "a handshake", "nonsense"],
)
async def test_each_of_many_heads_that_arrive_at_once_has_its_own_round_of_the_loop(
    server: Server, parsed: list[int], words: bytes
) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(40)]
    for _, writer in opened:
        writer.write(words)
    for reader, _ in opened:
        assert (await asyncio.wait_for(reader.read(9), DEADLINE)).startswith(b"HTTP/1.1 ")
    assert len(parsed) == len(set(parsed)) == 40
    for _, writer in opened:
        writer.transport.abort()


async def test_tls_handshakes_that_arrive_at_once_take_turns(
    io_loop: IOLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, shaken = 0, list[int]()
    shake = SSLIOStream._do_ssl_handshake

    def note(stream: SSLIOStream) -> None:
        if type(stream).__module__ == limit_requests.__module__:
            shaken.append(rounds)
        shake(stream)

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    server = Server(tmp_path, tls_cert_file=str(make_certificate(tmp_path / "server.pem")))
    await server.start()
    opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(30)]
    hello = client_hello()
    for _, writer in opened:
        writer.write(hello[:1])
    await until(lambda: server.http_server.handshakes == 30, "all are accepted")
    await asyncio.sleep(0.05)  # until the first byte of each is read
    monkeypatch.setattr(SSLIOStream, "_do_ssl_handshake", note)
    counting = io_loop.asyncio_loop.create_task(count_rounds())  # type: ignore[attr-defined]
    for _, writer in opened:
        writer.write(hello[1:])
    for reader, _ in opened:
        assert (await asyncio.wait_for(reader.readexactly(1), DEADLINE)) == b"\x16"
    counting.cancel()
    assert len(shaken) == len(set(shaken)) == 30
    for _, writer in opened:
        writer.transport.abort()
    await server.stop()


def client_hello() -> bytes:
    """Return the first bytes of a TLS client."""
    out = ssl.MemoryBIO()
    client = trusting().wrap_bio(ssl.MemoryBIO(), out)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


class HeldGate(RequestGate):
    """A gate that keeps its callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Callable[[], None]] = []

    def enter(self, _address: str, callback: Callable[[], None], rank: Rank) -> None:
        assert rank is Rank.FIRST
        self.held.append(callback)


async def test_a_client_that_is_gone_before_its_turn_is_not_served() -> None:
    gate, streams = HeldGate(), list[IOStream]()
    limits = RequestLimits(64, 1024, lambda _status: b"", lambda _address: 0.0, gate)
    reading: list[asyncio.Future[bytes]] = []

    class Limited(TCPServer):
        def handle_stream(self, stream: IOStream, _address: object) -> None:
            limit_requests(stream, limits, "a", limited=True)
            streams.append(stream)
            reading.append(asyncio.ensure_future(stream.read_until_regex(b"")))

    server, listening = Limited(), bind_sockets(0, "127.0.0.1")
    server.add_sockets(listening)
    _, writer = await asyncio.open_connection("127.0.0.1", listening[0].getsockname()[1])
    writer.write(HEALTH + b"\r\n")
    await until(lambda: gate.held, "the head has arrived")
    streams[0].close()
    gate.held[0]()
    with pytest.raises(StreamClosedError):
        await reading[0]
    writer.close()
    server.stop()


@pytest.mark.settings(max_headers=16)
@pytest.mark.parametrize(
    "words",
    [b"", b"GET /", HEALTH + b"X: y\r\n" * 20 + b"\r\n", b"GET /" + b"a" * 60_000, b"nonsense\r\n\r\n"],
    ids=["silent", "begun", "too many lines", "too long", "nonsense"],
)
async def test_a_connection_that_becomes_no_websocket_is_freed_without_the_garbage_collector(
    server: Server, words: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams: list[weakref.ref[IOStream]] = []
    handle_stream = HttpServer.handle_stream

    def note(http_server: HttpServer, stream: IOStream, address: object) -> None:
        streams.append(weakref.ref(stream))
        handle_stream(http_server, stream, address)

    monkeypatch.setattr(HttpServer, "handle_stream", note)
    gc.collect()
    gc.disable()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(words)
        if words:
            await until(lambda: streams, "the connection is served")
        if len(words) > 5:
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), DEADLINE)
        writer.transport.abort()
        await until(lambda: streams, "the connection is served")
        await until(lambda: streams[0]() is None, "the stream is freed")
    finally:
        gc.enable()


async def test_a_connection_that_is_reset_while_it_is_answered_is_freed_without_the_garbage_collector(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams: list[weakref.ref[IOStream]] = []
    handle_stream = HttpServer.handle_stream

    def note(http_server: HttpServer, stream: IOStream, address: object) -> None:
        streams.append(weakref.ref(stream))
        handle_stream(http_server, stream, address)

    monkeypatch.setattr(HttpServer, "handle_stream", note)
    gc.collect()
    gc.disable()
    try:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset when it is closed
        client.sendall(b"GET /demo/call.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 800)
        await until(lambda: streams and is_writing(streams[0]()), "the answers fill the socket")
        client.close()
        await until(lambda: streams[0]() is None, "the stream is freed")
    finally:
        gc.enable()


def is_writing(stream: IOStream | None) -> bool:
    return stream is not None and stream.writing()


@pytest.mark.settings(**OPTIONAL)
@pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/mcp/"])
async def test_the_longest_token_fits_into_a_url(server: Server, path: str) -> None:
    long = token("a", exp=FAR, pad="x" * 2974)
    assert 4090 <= len(long) <= 4096
    client = await server.client(f"{path}?token={long}")
    assert json.loads(await client.hear_text())["type"] == "authenticated"
