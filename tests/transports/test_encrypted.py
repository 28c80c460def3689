"""The transport of a TLS connection, between a real stream and a protocol that notes what it hears."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

from mcp_actors.transports.encrypted import CHUNK, HIGH_WATER, StreamTransport
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE
from tests.support.loop import turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tornado.iostream import IOStream

    from tests.conftest import ExpectedLogs

MUCH = 8 * 2**20
"""Bytes that no kernel keeps for one connection."""


class Notes(asyncio.Protocol):
    """Notes what it hears, and pauses after so many bytes."""

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
async def met(
    directory: Path, early: bytes = b""
) -> AsyncIterator[tuple[IOStream, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A stream whose handshake is done, with what the client has said right after it; and that client."""
    pem = make_certificate(directory / "server.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    streams: list[IOStream] = []

    class Meeting(TCPServer):
        def handle_stream(self, stream: IOStream, _address: object) -> None:
            streams.append(stream)

    meeting = Meeting(ssl_options=context)
    sockets = bind_sockets(0, "127.0.0.1")
    meeting.add_sockets(sockets)
    port, trusting = sockets[0].getsockname()[1], ssl.create_default_context(cafile=str(pem))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    writer.write(early)
    meeting.stop()
    [stream] = streams
    try:
        yield stream, reader, writer
    finally:
        stream.close()
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_what_came_before_the_transport_and_after_it_is_handed_on_in_order(tmp_path: Path) -> None:
    notes, said = Notes(), bytes(range(256)) * 4096
    async with met(tmp_path, said[:300_000]) as (stream, _, client):
        StreamTransport(stream, notes)
        client.write(said[300_000:])
        await until(lambda: len(notes.heard) == len(said), "all of it arrives")
        assert notes.heard == said


async def test_nothing_is_handed_on_while_reading_is_paused_and_little_is_read(tmp_path: Path) -> None:
    notes = Notes()
    notes.pause_after = 1
    async with met(tmp_path, b"x" * MUCH) as (stream, _, _):
        StreamTransport(stream, notes)
        await until(lambda: notes.heard, "something arrives")
        some = len(notes.heard)
        await turns(200)
        assert len(notes.heard) == some <= CHUNK
        assert not notes.transport.is_reading()
        assert stream._read_buffer_size <= CHUNK
        notes.transport.resume_reading()
        await until(lambda: len(notes.heard) > some, "the next chunk arrives")
        notes.pause_after = 2**62
        notes.transport.resume_reading()
        notes.transport.resume_reading()  # nothing is handed on twice
        await until(lambda: len(notes.heard) == MUCH, "all of it arrives")


async def test_the_protocol_is_told_when_the_client_does_not_read_and_when_it_does_again(tmp_path: Path) -> None:
    notes = Notes()
    async with met(tmp_path) as (stream, reader, client):
        transport = StreamTransport(stream, notes)
        client.transport.pause_reading()  # type: ignore[attr-defined]
        transport.write(b"x" * 10_000)
        while not notes.told:
            await asyncio.sleep(0)
            transport.write(b"x" * 10_000)
        assert notes.told == ["pause"]
        assert HIGH_WATER < transport.get_write_buffer_size() <= HIGH_WATER + 10_000
        client.transport.resume_reading()  # type: ignore[attr-defined]
        reading = asyncio.ensure_future(reader.read())
        await until(lambda: notes.told == ["pause", "resume"], "it may write again")
        assert transport.get_write_buffer_size() < HIGH_WATER
        transport.close()
        assert set(await asyncio.wait_for(reading, DEADLINE)) == {ord("x")}


async def test_what_was_written_arrives_before_the_end_and_nothing_after_it(tmp_path: Path) -> None:
    notes = Notes()
    async with met(tmp_path) as (stream, reader, _):
        transport = StreamTransport(stream, notes)
        for number in range(1000):
            transport.write(b"%4d" % number)
        transport.close()
        transport.close()
        transport.write(b"late")
        assert transport.is_closing()
        assert await asyncio.wait_for(reader.read(), DEADLINE) == b"".join(b"%4d" % number for number in range(1000))
        await until(lambda: notes.told == ["lost"], "the protocol is told")


async def test_to_abort_is_to_hang_up_at_once_whatever_waits(tmp_path: Path) -> None:
    notes = Notes()
    async with met(tmp_path) as (stream, _, client):
        transport = StreamTransport(stream, notes)
        client.transport.pause_reading()  # type: ignore[attr-defined]
        transport.write(b"x" * MUCH)
        transport.close()
        await turns(10)
        assert not stream.closed()
        transport.abort()
        assert stream.closed()
        await until(lambda: notes.told == ["pause", "lost"], "the protocol is told")


@pytest.mark.parametrize("paused", [False, True])
async def test_a_client_that_is_gone_is_found_out_while_nothing_is_read_too(tmp_path: Path, paused: bool) -> None:
    notes = Notes()
    async with met(tmp_path) as (stream, _, client):
        transport = StreamTransport(stream, notes)
        if paused:
            transport.pause_reading()
        client.transport.abort()
        await until(lambda: notes.told == ["lost"], "the protocol is told")
        transport.write(b"to nobody")
        with pytest.raises(StreamClosedError):
            StreamTransport(stream, Notes())


async def test_a_bug_of_the_protocol_ends_its_connection(tmp_path: Path, expected_logs: ExpectedLogs) -> None:
    expected_logs("asyncio", "Exception in callback")
    notes = Notes()
    async with met(tmp_path, b"a bug") as (stream, _, _):
        StreamTransport(stream, notes)
        await until(lambda: notes.told == ["lost"], "it is hung up on")
