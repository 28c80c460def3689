"""The contract of connections on a transport double; tests/adapters run it on real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.connection.contract import ConnectionContract
from tests.support.transport import FakeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop


class TestDouble(ConnectionContract):
    """Connections on the transport double."""

    @pytest.fixture
    def server(self, request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[FakeServer]:
        """A server without sockets."""
        marker = request.node.get_closest_marker("settings")
        server = FakeServer(tmp_path, **(marker.kwargs if marker else {}))
        io_loop.run_sync(server.start)
        yield server
        io_loop.run_sync(server.stop)
