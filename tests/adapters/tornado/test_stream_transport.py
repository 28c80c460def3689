"""The transport of TLS connections, between a real stream and a protocol that records what it is told."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

from mcp_actors.adapters.tornado.stream_transport import CHUNK, HIGH_WATER, StreamTransport
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE
from tests.support.loop import scheduler, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tornado.iostream import IOStream

    from tests.conftest import ExpectedLogs

MUCH = 8 * 2**20
"""More bytes than any kernel buffers for one connection."""


class Recorder(asyncio.Protocol):
    """Records what it is told, and pauses after so many bytes."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.told: list[str] = []
        self.pause_after = 2**62
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert 0 < len(data) <= CHUNK
        self.heard += data
        if data == b"a bug":
            raise ValueError("a bug")
        if len(self.heard) >= self.pause_after:
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")


@asynccontextmanager
async def handshake(
    directory: Path, early: bytes = b""
) -> AsyncIterator[tuple[IOStream, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a stream with TLS, and its client, which has sent `early` right behind the handshake."""
    pem = make_certificate(directory / "server.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    streams: list[IOStream] = []

    class Accepting(TCPServer):
        def handle_stream(self, stream: IOStream, _address: object) -> None:
            streams.append(stream)

    server = Accepting(ssl_options=context)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    port, trusting = sockets[0].getsockname()[1], ssl.create_default_context(cafile=str(pem))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    writer.write(early)
    server.stop()
    [stream] = streams
    try:
        yield stream, reader, writer
    finally:
        stream.close()
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_bytes_from_before_and_after_the_transport_are_handed_on_in_order(tmp_path: Path) -> None:
    protocol, sent = Recorder(), bytes(range(256)) * 4096
    async with handshake(tmp_path, sent[:300_000]) as (stream, _, client):
        StreamTransport(stream, protocol)
        client.write(sent[300_000:])
        await until(lambda: len(protocol.heard) == len(sent), "all of it arrives")
        assert protocol.heard == sent


async def test_nothing_is_handed_on_and_little_is_read_while_reading_is_paused(tmp_path: Path) -> None:
    protocol = Recorder()
    protocol.pause_after = 1
    async with handshake(tmp_path, b"x" * MUCH) as (stream, _, _):
        StreamTransport(stream, protocol)
        await until(lambda: protocol.heard, "something arrives")
        some = len(protocol.heard)
        await scheduler(200)
        assert len(protocol.heard) == some <= CHUNK
        assert not protocol.transport.is_reading()
        protocol.transport.resume_reading()
        await until(lambda: len(protocol.heard) > some, "the next chunk arrives")
        protocol.pause_after = 2**62
        protocol.transport.resume_reading()
        protocol.transport.resume_reading()  # nothing is handed on twice
        await until(lambda: len(protocol.heard) == MUCH, "all of it arrives")


async def test_the_protocol_is_told_when_the_client_stops_and_starts_reading(tmp_path: Path) -> None:
    protocol = Recorder()
    async with handshake(tmp_path) as (stream, reader, client):
        transport = StreamTransport(stream, protocol)
        client.transport.pause_reading()  # type: ignore[attr-defined]
        transport.write(b"x" * 10_000)
        while not protocol.told:
            await asyncio.sleep(0)
            transport.write(b"x" * 10_000)
        assert protocol.told == ["pause"]
        assert HIGH_WATER < transport.get_write_buffer_size() <= HIGH_WATER + 10_000
        client.transport.resume_reading()  # type: ignore[attr-defined]
        reading = asyncio.ensure_future(reader.read())
        await until(lambda: protocol.told == ["pause", "resume"], "it may write again")
        assert transport.get_write_buffer_size() < HIGH_WATER
        transport.close()
        assert set(await asyncio.wait_for(reading, DEADLINE)) == {ord("x")}


async def test_everything_written_before_the_close_arrives_and_nothing_after_it(tmp_path: Path) -> None:
    protocol = Recorder()
    async with handshake(tmp_path) as (stream, reader, _):
        transport = StreamTransport(stream, protocol)
        for number in range(1000):
            transport.write(b"%4d" % number)
        transport.close()
        transport.close()
        transport.write(b"late")
        assert transport.is_closing()
        assert await asyncio.wait_for(reader.read(), DEADLINE) == b"".join(b"%4d" % number for number in range(1000))
        await until(lambda: protocol.told == ["lost"], "the protocol is told")


async def test_an_abort_closes_at_once_whatever_is_pending(tmp_path: Path) -> None:
    protocol = Recorder()
    async with handshake(tmp_path) as (stream, _, client):
        transport = StreamTransport(stream, protocol)
        client.transport.pause_reading()  # type: ignore[attr-defined]
        transport.write(b"x" * MUCH)
        transport.close()
        await scheduler(10)
        assert not stream.closed()
        transport.abort()
        assert stream.closed()
        await until(lambda: protocol.told == ["pause", "lost"], "the protocol is told")


@pytest.mark.parametrize("paused", [False, True])
async def test_a_lost_client_is_noticed_while_reading_is_paused_too(tmp_path: Path, paused: bool) -> None:
    protocol = Recorder()
    async with handshake(tmp_path) as (stream, _, client):
        transport = StreamTransport(stream, protocol)
        if paused:
            transport.pause_reading()
        client.transport.abort()
        await until(lambda: protocol.told == ["lost"], "the protocol is told")
        transport.write(b"to nobody")
        with pytest.raises(StreamClosedError):
            StreamTransport(stream, Recorder())


async def test_a_bug_in_the_protocol_closes_its_connection(tmp_path: Path, expected_logs: ExpectedLogs) -> None:
    expected_logs("asyncio", "Exception in callback")
    protocol = Recorder()
    async with handshake(tmp_path, b"a bug") as (stream, _, _):
        StreamTransport(stream, protocol)
        await until(lambda: protocol.told == ["lost"], "it is hung up on")
