"""The contract of connections on Tornado, plain and with TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.ws import frame_loop
from tests.connection.contract import ConnectionContract
from tests.support.certificate import make_certificate
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from mcp_actors.connection.connections import Connections


class SocketServer(Server):
    """A server on real sockets."""

    @property
    def connections(self) -> Connections:
        """The open connections."""
        return self.app.connections


class TestTornado(ConnectionContract):
    """Connections on real sockets."""

    @pytest.fixture(params=["plain", "TLS"])
    def server(
        self, request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[SocketServer]:
        """A server, plain or with TLS."""
        monkeypatch.setattr(frame_loop, "CLOSE_TIMEOUT", 0.5)  # TLS cannot end the stream of a flood with a close frame
        marker = request.node.get_closest_marker("settings")
        file = str(make_certificate(tmp_path / "server.pem")) if request.param == "TLS" else ""
        server = SocketServer(tmp_path, tls_cert_file=file, **(marker.kwargs if marker else {}))
        io_loop.run_sync(server.start)
        yield server
        io_loop.run_sync(server.stop)
