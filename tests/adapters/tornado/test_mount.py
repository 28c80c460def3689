"""The server below a prefix of a Tornado application."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from mcp_actors.signaling_server import NOT_STARTED
from tests.support.asgi import signaling_server
from tests.support.client import Client
from tests.support.mounted import assert_serves, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_actors.signaling_server import SignalingServer
    from tests.conftest import ExpectedLogs


class Hello(RequestHandler):
    """A page of the application."""

    def get(self) -> None:
        self.write("hello")


class InTornado:
    """A Tornado application with the server below a prefix, in Tornado's own HTTP server."""

    def __init__(self, signaling: SignalingServer, prefix: str = "/signal") -> None:
        self.signaling = signaling
        application = Application([*signaling.tornado_routes(prefix), (r"/hello", Hello)])
        listening, self.port = bind_unused_port()
        self._server = HTTPServer(application)
        self._server.add_socket(listening)
        self._clients: list[Client] = []
        self.prefix = prefix

    def url(self, path: str, scheme: str = "ws") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{self.prefix}{path}"

    async def client(self, path: str) -> Client:
        self._clients.append(await Client.open(self.url(path)))
        return self._clients[-1]

    async def peer(self) -> Client:
        return await self.client("/ws/signaling/")

    async def user(self) -> Client:
        return await self.client("/ws/mcp/")

    async def stop(self) -> None:
        for client in self._clients:
            await client.end()
        await self.signaling.stop()
        self._server.stop()
        await self._server.close_all_connections()


@pytest.mark.parametrize("prefix", ["/signal", "/team/signal", ""])
async def test_tornado_serves_it_beside_its_own_handlers(
    prefix: str, tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("tornado.access", "404 GET")
    serving = InTornado(signaling_server(tmp_path), prefix)
    await serving.signaling.start()
    await assert_serves(serving)
    if prefix:
        serving.prefix = ""
        assert await fetch(serving.url("/hello", "http")) == (200, b"hello")
        response = await AsyncHTTPClient().fetch(serving.url(f"{prefix}?room=x", "http"), raise_error=False)
        assert (response.code, response.effective_url) == (200, serving.url(f"{prefix}/?room=x", "http"))
        assert (await fetch(serving.url(f"{prefix}s", "http")))[0] == 404
    await serving.stop()


async def test_stopping_closes_the_clients_and_leaves_the_applications_pages(tmp_path: Path) -> None:
    serving = InTornado(signaling_server(tmp_path))
    await serving.signaling.start()
    peer = await serving.peer()
    await peer.join("r", "a")
    stopping = asyncio.ensure_future(serving.signaling.stop())
    await peer.expect_close(1001)
    await stopping
    serving.prefix = ""
    assert await fetch(serving.url("/hello", "http")) == (200, b"hello")
    await serving.stop()


async def test_an_application_that_forgets_to_start_it_is_told_how(
    tmp_path: Path, expected_logs: ExpectedLogs, caplog: pytest.LogCaptureFixture
) -> None:
    expected_logs("tornado.application", "Uncaught exception")
    serving = InTornado(signaling_server(tmp_path))
    with pytest.raises(HTTPStreamClosedError):
        await fetch(serving.url("/", "http"))
    assert NOT_STARTED in caplog.text
    await serving.stop()
