"""The contract of HTTP on ASGI, in uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.http.contract import HttpContract
from tests.support.asgi import AsgiServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop


class TestUvicorn(HttpContract):
    """HTTP over real sockets."""

    @pytest.fixture
    def server(self, request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[AsgiServer]:
        """A server in uvicorn."""
        marker = request.node.get_closest_marker("settings")
        server = AsgiServer(tmp_path, **(marker.kwargs if marker else {}))
        io_loop.run_sync(server.start)
        yield server
        io_loop.run_sync(server.stop)
