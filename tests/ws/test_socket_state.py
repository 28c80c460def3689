"""The state of real sockets: what waits in the kernel, what was taken, and what is dropped on a reset."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from mcp_actors.ws.socket_state import RESET_ABOVE, SocketState, reset_on_close, socket_state
from tests.support.frame_loops import RecordingTransport
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

BUFFER = 65_536
Pair = tuple[asyncio.Transport, socket.socket]


async def open_pair() -> Pair:
    """Connect a transport with a small buffer to the socket of a client that reads nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        accepted, _ = listening.accept()
    accepted.setblocking(False)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, accepted)
    return transport, client


@pytest.fixture
def pair(io_loop: IOLoop) -> Iterator[Pair]:
    """A transport, and the socket of its client."""
    transport, client = io_loop.run_sync(open_pair)
    yield transport, client
    transport.abort()
    client.close()


async def test_a_socket_whose_client_has_everything_keeps_nothing(pair: Pair) -> None:
    transport, client = pair
    transport.write(b"x")
    assert await asyncio.to_thread(client.recv, 1) == b"x"
    await until(lambda: socket_state(transport).memory == 0, "the byte is acknowledged")
    assert not socket_state(transport).waiting


async def test_the_kernel_tells_what_it_keeps_and_what_the_client_has_taken(pair: Pair) -> None:
    transport, client = pair
    transport.write(b"x" * 1_000_000)
    await until(lambda: socket_state(transport).memory > BUFFER // 2, "the buffer is full")
    state = socket_state(transport)
    assert state.waiting
    assert state.memory < 4 * BUFFER
    assert state.taken is not None
    before = state.taken
    await asyncio.to_thread(client.recv, 4096)
    await asyncio.to_thread(client.recv, 4096)
    await until(lambda: (socket_state(transport).taken or 0) > before, "the client has taken more")


async def test_a_connection_with_a_full_buffer_is_reset_when_it_is_closed(pair: Pair) -> None:
    transport, client = pair
    transport.write(b"x" * 1_000_000)
    await until(lambda: socket_state(transport).memory > RESET_ABOVE, "the buffer is full")
    reset_on_close(transport)
    transport.abort()

    def read_to_the_end() -> None:
        while client.recv(65_536):
            pass

    with pytest.raises(ConnectionResetError):
        await asyncio.to_thread(read_to_the_end)


async def test_a_connection_with_little_in_its_buffer_delivers_it_before_it_is_closed(pair: Pair) -> None:
    transport, client = pair
    transport.write(b"bye")
    await asyncio.sleep(0)
    reset_on_close(transport)
    transport.close()
    assert await asyncio.to_thread(client.recv, 10) == b"bye"
    assert await asyncio.to_thread(client.recv, 10) == b""


async def test_the_kernel_tells_what_it_keeps_for_a_unix_socket() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
        assert socket_state(transport) == SocketState(0, waiting=False, taken=None)
        transport.write(b"x" * 1_000_000)
        assert socket_state(transport).memory > BUFFER // 2
        assert socket_state(transport).waiting
        transport.abort()


def test_nothing_is_known_of_what_is_no_socket() -> None:
    assert socket_state(RecordingTransport()) == SocketState(0, waiting=False, taken=None)
