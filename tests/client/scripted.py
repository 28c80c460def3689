"""A signaling server that sends exactly what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from types import TracebackType

JOINED = {"peer_id": "a", "order": 1, "peers": [{"peer_id": "a", "metadata": {}, "order": 1}], "ice_servers": []}


class ScriptedServer:
    """Records the requests of all connections, and answers joins; a test sends the rest."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sockets: list[ServerConnection] = []
        self.answers: dict[str, tuple[str, dict[str, Any]]] = {"join": ("joined", JOINED), "ping": ("pong", {})}
        """By the type of a request, the type and the payload of its answer."""
        self._server: Server

    async def __aenter__(self) -> Self:
        self._server = await serve(self._handle, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The address of this server."""
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def joined(self) -> dict[str, Any]:
        """The payload that answers a join."""
        return self.answers["join"][1]

    @joined.setter
    def joined(self, payload: dict[str, Any]) -> None:
        self.answers["join"] = "joined", payload

    async def request(self, kind: str) -> dict[str, Any]:
        """The next request of a kind; others before it are passed over."""
        while (request := await self.requests.get())["type"] != kind:
            pass
        return request

    async def send(self, **message: Any) -> None:
        """Send a message of the room on the newest connection."""
        await self.sockets[-1].send(json.dumps({"room": "r", **message}))

    async def _handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        with suppress(ConnectionClosed):
            async for frame in socket:
                request = json.loads(frame)
                self.requests.put_nowait(request)
                await self._answer(socket, request)

    async def _answer(self, socket: ServerConnection, request: dict[str, Any]) -> None:
        if answer := self.answers.get(request["type"]):
            kind, payload = answer
            fields = {name: request[name] for name in ("room", "id") if name in request}
            await socket.send(json.dumps({"type": kind, "payload": payload, **fields}))
