"""Paths to servers that tests interrupt, and reading events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp_actors.client import Event
    from mcp_actors.client.room import Room
    from tests.support.server import Server


@pytest.fixture
def path(server: Server) -> Iterator[NetworkPath]:
    path = NetworkPath(server.port)
    yield path
    path.cut()


@pytest.fixture
def paths(servers: list[Server]) -> Iterator[list[NetworkPath]]:
    """Paths to the servers of two members."""
    paths = [NetworkPath(server.port) for server in servers]
    yield paths
    for path in paths:
        path.cut()


def url(path: NetworkPath) -> str:
    """The address of a server at the end of a path."""
    return f"ws://127.0.0.1:{path.port}"


async def heard(room: Room, kind: type[Event], count: int = 1) -> list[Any]:
    """The next events of a room, which are all of one kind."""
    events = [await anext(room) for _ in range(count)]
    assert {type(event) for event in events} == {kind}, events
    return events
