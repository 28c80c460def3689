"""Plain HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_health_is_told(server: Server) -> None:
    response = await AsyncHTTPClient().fetch(server.url("/healthz", "http"))
    assert json.loads(response.body) == {"status": "ok"}


@pytest.mark.parametrize("path", ["/", "/?room=a%20room", "/index.html"])
async def test_the_demo_page_is_at_the_root(server: Server, path: str) -> None:
    response = await AsyncHTTPClient().fetch(server.url(path, "http"))
    assert response.headers["Content-Type"].startswith("text/html")
    assert b"<title>" in response.body
    assert "script-src" not in response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]


async def test_modules_are_served_as_javascript_and_nothing_outside_the_page_is_served(server: Server) -> None:
    client = AsyncHTTPClient()
    module = await client.fetch(server.url("/signaling.js", "http"))
    assert "javascript" in module.headers["Content-Type"]
    for path in ("/nothing.js", "/../config.py", "/%2e%2e/config.py", "/..%2fconfig.py"):
        response = await client.fetch(server.url(path, "http"), raise_error=False)
        assert response.code in (403, 404)
        assert b"import" not in response.body
