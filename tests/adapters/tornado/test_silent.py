"""Connections on which nothing has arrived yet are watched, and closed in the end."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.tornado.silent import SilentConnection, SilentConnections
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Watched:
    """Silent connections, and what was told of them."""

    def __init__(self, stack: ExitStack, timeout: float) -> None:
        self.spoke: list[SilentConnection] = []
        self.expired: list[SilentConnection] = []
        self.connections = SilentConnections(timeout, self.spoke.append, self.expired.append)
        self._stack = stack

    def add(self) -> tuple[SilentConnection, socket.socket]:
        """A new connection, and the socket of its client."""
        ours, theirs = (self._stack.enter_context(one) for one in socket.socketpair())
        ours.setblocking(False)
        return self.connections.add(ours, "address"), theirs


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_a_connection_is_told_of_once_when_its_first_bytes_arrive(stack: ExitStack) -> None:
    watched = Watched(stack, 60.0)
    (first, client), (second, _) = watched.add(), watched.add()
    client.send(b"GET")
    await until(lambda: watched.spoke, "the first bytes")
    client.send(b" /")
    watched.connections.expire_all()
    assert (watched.spoke, watched.expired) == ([first], [second])
    assert first.socket.recv(9) == b"GET /"


async def test_a_connection_is_told_of_when_its_client_closes_it(stack: ExitStack) -> None:
    watched = Watched(stack, 60.0)
    silent, client = watched.add()
    client.close()
    await until(lambda: watched.spoke == [silent], "the end of the stream")
    watched.connections.expire_all()


async def test_a_connection_expires_when_it_stays_silent(stack: ExitStack) -> None:
    watched = Watched(stack, 0.05)
    silent = [watched.add()[0] for _ in range(2)]
    await until(lambda: watched.expired == silent, "that both have expired")
    later, client = watched.add()
    client.send(b"x")
    await until(lambda: watched.spoke == [later] or watched.expired[2:] == [later], "what becomes of the third")


async def test_a_connection_that_is_closed_is_watched_no_longer(stack: ExitStack) -> None:
    watched = Watched(stack, 60.0)
    silent, client = watched.add()
    silent.close()
    assert client.recv(1) == b""
    watched.connections.expire_all()
    assert (watched.spoke, watched.expired) == ([], [])
