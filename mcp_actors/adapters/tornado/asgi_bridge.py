"""Has an ASGI application answer one request of Tornado, also with a stream that lasts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import structlog
from tornado.iostream import StreamClosedError

from mcp_actors.adapters.http.exchange import text

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

    from mcp_actors.adapters.asgi.interface import Message, Scope
    from mcp_actors.adapters.http.exchange import Streamed
    from mcp_actors.adapters.tornado.safe_handler import SafeHandler

log = structlog.get_logger("mcp_actors")

OWN = {"connection", "date", "server", "transfer-encoding"}
"""Headers that Tornado and the site set themselves."""


class AsgiBridge:
    """One request, from the call of the application to the last byte of the response.

    The client reads as fast as it can: `send` waits for it. Once it is gone, `receive` says so, and what is still sent
    is dropped without an error.
    """

    def __init__(self, handler: SafeHandler, streamed: Streamed) -> None:
        self._handler = handler
        self._streamed = streamed
        self._unread: bytes | None = streamed.body
        self._gone = asyncio.Event()
        self._writing = asyncio.Lock()  # Tornado keeps track of one write at a time

    async def run(self) -> None:
        """Call the application, and end the response if it has not."""
        handler = self._handler
        try:
            await self._streamed.application(self._scope(), self._receive, self._send)
        except Exception:
            log.exception("request failed", path=handler.request.path)
        if not handler._finished:  # noqa: SLF001 - Tornado has no other way to ask
            await self._give_up()

    def disconnected(self) -> None:
        """Note that the client is gone."""
        self._gone.set()

    def _scope(self) -> Scope:
        request = self._handler.request
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.get_all()
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.version.removeprefix("HTTP/"),
            "method": request.method,
            "scheme": request.protocol,
            "path": request.path,
            "raw_path": request.path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": (str(request.remote_ip), 0),
            "server": None,
        }

    async def _receive(self) -> Message:
        """Return the body of the request, and after that wait until the client is gone."""
        body, self._unread = self._unread, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set():
            return
        async with self._writing:
            try:
                await self._write(message)
            except StreamClosedError:
                self._gone.set()

    async def _write(self, message: Message) -> None:
        handler = self._handler
        if message["type"] == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
            return
        if message.get("body"):
            handler.write(message["body"])
        if message.get("more_body", False):
            await handler.flush()
        else:
            await handler.finish()

    def _start(self, status: int, headers: Any) -> None:
        handler = self._handler
        handler.set_status(status)
        handler.clear_header("Content-Type")
        for name, value in self._streamed.headers.items():
            handler.set_header(name, value)
        for raw_name, raw_value in headers:
            name = raw_name.decode("latin-1").title()
            if name.lower() not in OWN:
                handler.add_header(name, raw_value.decode("latin-1"))

    async def _give_up(self) -> None:
        """End a response that the application has not: with an error, or by closing if it has begun."""
        handler = self._handler
        if not self._gone.is_set() and not handler._headers_written:  # noqa: SLF001 - as above
            handler.clear()
            handler.respond(text(500, "500: Internal Server Error"))
            return
        handler._finished = True  # noqa: SLF001 - there is nobody, or nothing, to finish it for
        cast("HTTP1Connection", handler.request.connection).stream.close()
