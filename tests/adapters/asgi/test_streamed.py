"""The contract of responses of applications, on ASGI, in uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.http.streamed_contract import StreamedContract
from tests.support.asgi import AsgiServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop


class TestUvicorn(StreamedContract):
    """Over real sockets."""

    @pytest.fixture
    def server(self, io_loop: IOLoop, tmp_path: Path) -> Iterator[AsgiServer]:
        """A server in uvicorn."""
        server = AsgiServer(tmp_path)
        io_loop.run_sync(server.start)
        yield server
        io_loop.run_sync(server.stop)
