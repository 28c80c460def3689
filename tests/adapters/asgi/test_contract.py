"""The contract of connections on ASGI, in uvicorn over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.asgi import transport
from tests.connection.contract import ConnectionContract
from tests.support.asgi import AsgiServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop


class TestUvicorn(ConnectionContract):
    """Connections on real sockets."""

    @pytest.fixture
    def server(
        self, request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[AsgiServer]:
        """A server in uvicorn."""
        monkeypatch.setattr(transport, "CLOSE_TIMEOUT", 0.5)
        marker = request.node.get_closest_marker("settings")
        server = AsgiServer(tmp_path, **(marker.kwargs if marker else {}))
        io_loop.run_sync(server.start)
        yield server
        io_loop.run_sync(server.stop)
