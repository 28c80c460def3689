"""One request over plain HTTP and its response. It is cancelled when the client goes, and when the server stops."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import anyio

from mcp_actors.adapters.http.exchange import JSON

if TYPE_CHECKING:
    from mcp_actors.adapters.asgi.interface import AsgiApplication, Message, Receive, Scope, Send

RETRY_AFTER = "1"
"""Seconds after which to try again what is not possible now."""

BUSY = -32000
"""The JSON-RPC code of errors of this server that the protocol has none for."""


class Exchange:
    """Runs an ASGI application. The first message of `receive` holds the whole body.

    `status`: that of the response; 0 before it has begun.
    """

    def __init__(self, receive: Receive, send: Send, stopped: asyncio.Event) -> None:
        self.status = 0
        self._receive = receive
        self._send = send
        self._stopped = stopped
        self._began = asyncio.get_running_loop().time()
        self._unread = True
        self._ended = False

    @property
    def seconds(self) -> float:
        """The time since the request came."""
        return asyncio.get_running_loop().time() - self._began

    async def run(self, application: AsgiApplication, scope: Scope) -> None:
        """Have the application answer."""
        body = await self._receive()

        async def receive() -> Message:
            if self._unread:
                self._unread = False
                return body
            await anyio.sleep_forever()  # it is cancelled with the rest
            raise AssertionError

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_in_time, tasks.cancel_scope)
            await application(scope, receive, self.send)
            tasks.cancel_scope.cancel()

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, reason: str) -> None:
        """Say that the request cannot be served now."""
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": BUSY, "message": reason}}
        headers = [(b"content-type", JSON.encode()), (b"retry-after", RETRY_AFTER.encode())]
        await self.send({"type": "http.response.start", "status": 503, "headers": headers})
        await self.send({"type": "http.response.body", "body": json.dumps(error).encode(), "more_body": False})

    async def end(self, reason: str) -> None:
        """End a response that was cut off, or refuse the request if it has not begun."""
        if not self.status:
            await self.refuse(reason)
        elif not self._ended:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _cancel_in_time(self, scope: anyio.CancelScope) -> None:
        """Cancel when the client is gone or the server stops."""
        gone = asyncio.ensure_future(self._receive())
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((gone, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            stopping.cancel()
        scope.cancel()
