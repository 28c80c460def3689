"""/echo, and that it is off unless asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mcp_actors.transports.echo import MAX_MESSAGE
from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from tests.support.server import Server


async def open_echo(server: Server, compression: str | None = None) -> ClientConnection:
    return await connect(server.url("/echo"), compression=compression, max_size=None, proxy=None)


@pytest.mark.settings(echo=True)
@pytest.mark.parametrize(
    "message", ["", "é", b"", b"\xff\x00", "x" * 65_535, b"x" * 65_536, "é" * 1_000_000], ids=lambda m: f"{len(m)}"
)
async def test_text_comes_back_as_text_and_binary_as_binary(server: Server, message: str | bytes) -> None:
    async with asyncio.timeout(DEADLINE), await open_echo(server) as socket:
        await socket.send(message)
        assert await socket.recv() == message
        await socket.send([message[:1], message[1:]] if message else message)
        assert await socket.recv() == message


@pytest.mark.settings(echo=True)
async def test_16_mib_pass_and_a_byte_more_does_not(server: Server) -> None:
    async with asyncio.timeout(DEADLINE * 4), await open_echo(server) as socket:
        await socket.send(bytes(MAX_MESSAGE))
        assert len(await socket.recv()) == MAX_MESSAGE
        socket.transport.write(b"\x82\xff" + (MAX_MESSAGE + 1).to_bytes(8, "big") + b"mask")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.settings(echo=True)
async def test_one_who_does_not_read_is_not_read_from(server: Server) -> None:
    async with asyncio.timeout(DEADLINE * 2), await open_echo(server) as socket:
        socket.transport.pause_reading()
        sent = 0
        try:
            async with asyncio.timeout(0.5):
                while True:
                    await socket.send(bytes(1_000_000))
                    sent += 1
        except TimeoutError:
            pass
        assert sent < 100, "the server stopped reading long before"
        socket.transport.resume_reading()
        for _ in range(sent):
            await socket.recv()


@pytest.mark.settings(echo=True, compression=True)
async def test_compression_is_served_where_both_want_it(server: Server) -> None:
    for compression in ("deflate", None):
        async with asyncio.timeout(DEADLINE), await open_echo(server, compression) as socket:
            assert bool(socket.protocol.extensions) is (compression is not None)
            await socket.send("x" * 100_000)
            assert await socket.recv() == "x" * 100_000


OFFERS = ["client_max_window_bits=99", "foo=1", "server_max_window_bits=8", "server_max_window_bits=x", ";;;="]


@pytest.mark.settings(echo=True, compression=True)
@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_of_compression_that_makes_no_sense_is_not_taken_up(server: Server, offer: str) -> None:
    headers = {"Sec-WebSocket-Extensions": f"permessage-deflate; {offer}"}
    async with asyncio.timeout(DEADLINE):
        socket = await connect(
            server.url("/echo"), compression=None, additional_headers=headers, max_size=None, proxy=None
        )
        await socket.send("x")
        assert await socket.recv() == "x"
        await socket.close()


@pytest.mark.settings(echo=True, compression=True)
async def test_a_compressed_message_that_cannot_be_read_ends_its_connection_alone(server: Server) -> None:
    async with asyncio.timeout(DEADLINE), await open_echo(server, "deflate") as other:
        async with await open_echo(server, "deflate") as socket:
            socket.transport.write(bytes((0xC1, 0x84)) + bytes(4) + b"\xff\xff\xff\xff")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        await other.send("x")
        assert await other.recv() == "x"


async def test_it_is_off_by_default(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await open_echo(server)
    assert refused.value.response.status_code == 404


@pytest.mark.settings(echo=True, cors_allowed_origins=["http://app.example"])
async def test_it_follows_the_policy(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(server.url("/echo"), origin="http://evil.example", proxy=None)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
