"""An ASGI application in uvicorn on a free port, in the test's own loop."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import uvicorn

from mcp_actors.environment import load
from mcp_actors.signaling_server import SignalingServer
from tests.support.client import Client
from tests.support.loop import until

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_actors.adapters.asgi.interface import AsgiApplication
    from mcp_actors.app import App
    from mcp_actors.auth.authorization import Authorize
    from mcp_actors.connection.connections import Connections


SEND_BUFFER = 131_072
"""Bytes that the kernel buffers for a client, so that one that does not read is noticed before megabytes are sent."""


def signaling_server(directory: Path, authorize: Authorize | None = None, **settings: Any) -> SignalingServer:
    """A server to mount; settings are given by their names in lower case, without the prefix."""
    return SignalingServer(load(overrides=settings, environ={}, directory=directory), authorize=authorize)


class Uvicorn:
    """Serves an application. `ping_interval`: seconds between two pings of uvicorn, and to answer one; 0 is none."""

    prefix = ""
    """The path below which the application has mounted the server."""

    def __init__(self, application: AsgiApplication, *, ping_interval: float = 0, **options: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.port: int = self._socket.getsockname()[1]
        pings = ping_interval or None
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_config=None,
                lifespan="on",
                ws="websockets-sansio",
                ws_ping_interval=pings,
                ws_ping_timeout=pings,
                **options,
            )
        )
        self._serving: asyncio.Task[None] | None = None
        self._clients: list[Client] = []

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        await until(lambda: self._server.started, "uvicorn serves")

    async def stop(self) -> None:
        """Close the clients, then stop."""
        for client in self._clients:
            await client.end()
        await self.shut_down()

    async def shut_down(self) -> None:
        """Stop with the clients connected, as a signal does."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving

    def url(self, path: str, scheme: str = "ws") -> str:
        """A URL of the mounted server."""
        return f"{scheme}://127.0.0.1:{self.port}{self.prefix}{path}"

    async def client(self, path: str, **headers: str) -> Client:
        """Open a connection that is closed after the test."""
        client = await Client.open(self.url(path), None, **headers)
        self._clients.append(client)
        return client

    async def peer(self, **headers: str) -> Client:
        """Open a connection to /ws/signaling/."""
        return await self.client("/ws/signaling/", **headers)

    async def user(self, **headers: str) -> Client:
        """Open a connection to /ws/mcp/."""
        return await self.client("/ws/mcp/", **headers)


class AsgiServer(Uvicorn):
    """The server by itself in uvicorn. Settings are as in `signaling_server`."""

    def __init__(self, directory: Path, authorize: Authorize | None = None, **settings: Any) -> None:
        self.signaling = signaling_server(directory, authorize, **settings)
        super().__init__(self.signaling.asgi(), ping_interval=settings.get("ping_interval", 20))

    @property
    def app(self) -> App:
        """The parts of the server."""
        return self.signaling.app

    @property
    def connections(self) -> Connections:
        """The open connections."""
        return self.app.connections
