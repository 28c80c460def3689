"""Checks of the server below a prefix of an application's paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from tests.support.client import Client

if TYPE_CHECKING:
    from mcp_actors.signaling_server import SignalingServer


async def fetch(url: str) -> tuple[int, bytes]:
    """The status and the body of a page, without following redirections."""
    response = await AsyncHTTPClient().fetch(url, raise_error=False, follow_redirects=False)
    return response.code, response.body


async def assert_serves(serving: Any) -> None:
    """The page with its files, health and both endpoints are served below the prefix."""
    for path in ("/", "/demo/app.js", "/readyz"):
        assert (await fetch(serving.url(path, "http")))[0] == 200
    assert (await fetch(serving.url("/nothing", "http"))) == (404, b"404: Not Found\n")
    a, b, user = await serving.peer(), await serving.peer(), await serving.user()
    await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined", peer_id="b")
    await a.say("signal", "r", {"target_peer_id": "b", "data": 1})
    await b.expect("signal", data=1)
    await user.enter("r", "u")


class Hello(RequestHandler):
    """A page of the application."""

    def get(self) -> None:
        self.write("hello")


class InTornado:
    """A Tornado application with the server below a prefix, in Tornado's own HTTP server."""

    def __init__(self, signaling: SignalingServer, prefix: str = "/signal") -> None:
        self.signaling = signaling
        self._server = HTTPServer(Application([*signaling.tornado_routes(prefix), (r"/hello", Hello)]))
        self._socket, self.port = bind_unused_port()
        self._clients: list[Client] = []
        self.prefix = prefix

    def url(self, path: str, scheme: str = "ws") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{self.prefix}{path}"

    async def listen(self) -> None:
        """Serve the application, without the server in it being started."""
        self._server.add_socket(self._socket)

    async def start(self) -> None:
        await self.listen()
        await self.signaling.start()

    async def client(self, path: str, **headers: str) -> Client:
        self._clients.append(await Client.open(self.url(path), None, **headers))
        return self._clients[-1]

    async def peer(self, **headers: str) -> Client:
        return await self.client("/ws/signaling/", **headers)

    async def user(self, **headers: str) -> Client:
        return await self.client("/ws/mcp/", **headers)

    async def stop(self) -> None:
        for client in self._clients:
            await client.end()
        await self.signaling.stop()
        self._server.stop()
        await self._server.close_all_connections()
