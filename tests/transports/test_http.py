"""Plain HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server


async def test_health_is_told(server: Server) -> None:
    response = await AsyncHTTPClient().fetch(server.url("/healthz", "http"))
    assert json.loads(response.body) == {"status": "ok", "ready": True, "broker": "memory", "rooms": 0}


async def test_readiness_is_told(server: Server) -> None:
    response = await AsyncHTTPClient().fetch(server.url("/readyz", "http"))
    assert json.loads(response.body) == {"ready": True}


@pytest.mark.settings(allowed_hosts=["signaling.example"])
async def test_health_is_told_under_any_name_as_probes_call_by_address(server: Server) -> None:
    for method in ("GET", "HEAD"):
        response = await AsyncHTTPClient().fetch(server.url("/healthz", "http"), method=method)
        assert response.code == 200


@pytest.mark.settings(max_request_bytes=1024)
@pytest.mark.parametrize("path", ["/", "/healthz", "/ws/signaling/"])
async def test_a_body_or_head_beyond_the_limit_is_not_read(
    server: Server, path: str, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("tornado", "")
    for request in (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n",
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: {'x' * 2000}\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.app.port)
        writer.write(request.encode())
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4",))
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.settings(request_timeout=0.2)
async def test_a_request_that_does_not_arrive_is_hung_up_on(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.port)
    writer.write(b"GET /ws/signaling/ HTTP/1.1\r\n")
    assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
    writer.close()


@pytest.mark.parametrize("path", ["/", "/?room=a%20room", "/index.html"])
async def test_the_demo_page_is_at_the_root(server: Server, path: str) -> None:
    response = await AsyncHTTPClient().fetch(server.url(path, "http"))
    assert response.headers["Content-Type"].startswith("text/html")
    assert b"<title>" in response.body


async def test_modules_are_served_as_javascript_and_nothing_outside_the_page_is_served(server: Server) -> None:
    client = AsyncHTTPClient()
    module = await client.fetch(server.url("/signaling.js", "http"))
    assert "javascript" in module.headers["Content-Type"]
    for path in ("/nothing.js", "/../config.py", "/%2e%2e/config.py", "/..%2fconfig.py", "/%00", "/a%00b"):
        response = await client.fetch(server.url(path, "http"), raise_error=False)
        assert response.code in (403, 404)
        assert b"import" not in response.body
