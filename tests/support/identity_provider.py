"""The key set of an identity provider, on a loopback address."""

from __future__ import annotations

import json
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler


class IdentityProvider:
    """Serves a JWKS with `keys`, or what `body`, `status` and `headers` say."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.status = 200
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.requests = 0
        listening, self.port = bind_unused_port()
        self._start(listening)

    @property
    def url(self) -> str:
        """The value for MCP_ACTORS_AUTH_JWKS_URL."""
        return f"http://127.0.0.1:{self.port}/jwks"

    def _start(self, listening: Any) -> None:
        self._server = HTTPServer(Application([("/jwks", _Keys, {"provider": self})], log_function=lambda _: None))
        self._server.add_socket(listening)

    async def stop(self) -> None:
        """Refuse connections."""
        self._server.stop()
        await self._server.close_all_connections()

    def restart(self) -> None:
        """Accept connections again."""
        (listening,) = bind_sockets(self.port, "127.0.0.1")
        self._start(listening)


class _Keys(RequestHandler):
    def initialize(self, provider: IdentityProvider) -> None:
        self.provider = provider

    def get(self) -> None:
        provider = self.provider
        provider.requests += 1
        self.set_status(provider.status)
        for name, value in provider.headers.items():
            self.set_header(name, value)
        self.write(json.dumps({"keys": provider.keys}) if provider.body is None else provider.body)
