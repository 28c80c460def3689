"""A server in the test's own loop, with settings of the test's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop


@pytest.fixture(params=["fast", "stock"])
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server with the default settings, or those of the test's marker `settings`, on each of both frame loops."""
    marker = request.node.get_closest_marker("settings")
    server = Server(tmp_path, frame_loop=request.param, **(marker.kwargs if marker else {}))
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)
