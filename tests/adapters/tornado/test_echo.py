"""/echo sends messages back, and is off by default."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mcp_actors.adapters.tornado.echo import MAX_MESSAGE
from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from tests.support.server import Server


async def open_echo(server: Server) -> ClientConnection:
    return await connect(server.url("/echo"), compression=None, max_size=None, proxy=None)


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
async def test_a_message_of_16_mib_is_accepted_and_one_byte_more_is_not(server: Server) -> None:
    async with asyncio.timeout(DEADLINE), await open_echo(server) as socket:
        await socket.send(bytes(MAX_MESSAGE))
        assert len(await socket.recv()) == MAX_MESSAGE
        socket.transport.write(b"\x82\xff" + (MAX_MESSAGE + 1).to_bytes(8, "big") + b"mask")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.settings(echo=True)
async def test_a_client_that_does_not_read_is_not_read_from(server: Server) -> None:
    async with asyncio.timeout(DEADLINE), await open_echo(server) as socket:
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


@pytest.mark.settings(echo=True)
@pytest.mark.parametrize("offer", ["permessage-deflate; client_max_window_bits", "permessage-deflate; foo=1", ";;;="])
async def test_compression_is_never_negotiated(server: Server, offer: str) -> None:
    headers = {"Sec-WebSocket-Extensions": offer}
    async with asyncio.timeout(DEADLINE):
        url = server.url("/echo")
        async with connect(url, compression=None, additional_headers=headers, max_size=None, proxy=None) as socket:
            assert not socket.protocol.extensions
            await socket.send("x" * 1000)
            assert await socket.recv() == "x" * 1000


async def test_the_echo_is_off_by_default(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await open_echo(server)
    assert refused.value.response.status_code == 404


@pytest.mark.settings(echo=True, cors_allowed_origins=["http://app.example"])
async def test_the_echo_follows_the_origin_rules(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(server.url("/echo"), origin="http://evil.example", proxy=None)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
