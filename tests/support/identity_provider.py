"""The key set of an identity provider, on a loopback address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tornado.web import RequestHandler

from tests.support.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop


class IdentityProvider(WebServer):
    """Serves a JWKS with `keys`, or what `body`, `status` and `headers` say."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.status = 200
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.requests = 0
        super().__init__("/jwks", _Keys)

    @property
    def url(self) -> str:
        """The value for MCP_ACTORS_AUTH_JWKS_URL."""
        return f"http://127.0.0.1:{self.port}/jwks"


def served(io_loop: IOLoop, *keys: dict[str, Any]) -> Iterator[IdentityProvider]:
    """An identity provider, as a fixture."""

    async def start() -> IdentityProvider:
        return IdentityProvider(*keys)

    provider = io_loop.run_sync(start)
    yield provider
    io_loop.run_sync(provider.stop)


class _Keys(RequestHandler):
    def initialize(self, owner: IdentityProvider) -> None:
        self.provider = owner

    def get(self) -> None:
        provider = self.provider
        provider.requests += 1
        self.set_status(provider.status)
        for name, value in provider.headers.items():
            self.set_header(name, value)
        self.write(json.dumps({"keys": provider.keys}) if provider.body is None else provider.body)
