"""Servers for agents, on Tornado and in uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.asgi import AsgiServer
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

ADAPTERS: dict[str, Any] = {"tornado": Server, "uvicorn": AsgiServer}


@pytest.fixture(params=ADAPTERS)
def door(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Any]:
    """A server with agents, on each adapter, with the settings of the markers `settings`."""
    settings: dict[str, Any] = {"mcp": True}
    for marker in reversed(list(request.node.iter_markers("settings"))):
        settings |= marker.kwargs
    server = ADAPTERS[request.param](tmp_path, **settings)
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)
