"""A web server in the test's own loop, on a loopback address, that can be stopped and started again."""

from __future__ import annotations

from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler


class WebServer:
    """Serves one path with a handler, which is initialized with `owner`: the subclass."""

    def __init__(self, path: str, handler: type[RequestHandler]) -> None:
        self._application = Application([(path, handler, {"owner": self})], log_function=lambda _: None)
        listening, self.port = bind_unused_port()
        self._start(listening)

    def _start(self, listening: Any) -> None:
        self._server = HTTPServer(self._application)
        self._server.add_socket(listening)

    async def stop(self) -> None:
        """Refuse connections."""
        self._server.stop()
        await self._server.close_all_connections()

    def restart(self) -> None:
        """Accept connections again."""
        (listening,) = bind_sockets(self.port, "127.0.0.1")
        self._start(listening)
