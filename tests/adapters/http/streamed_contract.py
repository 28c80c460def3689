"""The contract of every adapter whose pages answer with an ASGI application. A subclass gives `server`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from mcp_actors.adapters.http.exchange import HEADERS, Request, Streamed
from mcp_actors.adapters.http.page import Page
from tests.adapters.http.contract import ask
from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from mcp_actors.adapters.asgi.interface import AsgiApplication
    from tests.adapters.http.contract import Serving
    from tests.conftest import ExpectedLogs

MUCH = b"x" * 65_536


class StreamedPage(Page):
    """Answers with an application, at once or later."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "POST")
    takes_body = True

    def __init__(self, application: AsgiApplication) -> None:
        self._application = application
        self.ended = asyncio.Event()

    def respond(self, request: Request) -> Any:
        streamed = Streamed(self._run, request.body, {"X-Page": "page"})
        return streamed if request.method == "GET" else self._later(streamed)

    async def _later(self, streamed: Streamed) -> Streamed:
        await asyncio.sleep(0)
        return streamed

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._application(scope, receive, send)
        finally:
            self.ended.set()


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def opened(server: Serving) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has asked for the page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /streamed HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return reader, writer


class StreamedContract:
    """The contract of responses that an application sends."""

    async def test_an_application_is_given_the_request(self, server: Serving) -> None:
        seen: dict[str, Any] = {}

        async def application(scope: Any, receive: Any, send: Any) -> None:
            seen.update(scope)
            body = (await receive())["body"]
            await send(start(201, (b"content-type", b"application/x"), (b"content-length", b"3"), (b"x-own", b"own")))
            await send(part(body, more=False))

        server.app.site.add("/streamed", StreamedPage(application))
        response = await ask(server, "/streamed", "POST", b"abc", X_Asked="1")
        assert (response.code, response.body) == (201, b"abc")
        assert response.headers["Content-Type"] == "application/x"
        assert (response.headers["X-Own"], response.headers["X-Page"]) == ("own", "page")
        for name, value in HEADERS.items():
            assert response.headers[name] == value
        assert (seen["type"], seen["method"], seen["path"]) == ("http", "POST", "/streamed")
        assert (b"x-asked", b"1") in seen["headers"]
        assert seen["client"][0] == "127.0.0.1"

    async def test_an_application_sees_a_header_as_often_as_it_was_sent(self, server: Serving) -> None:
        seen: list[bytes] = []

        async def application(scope: Any, _receive: Any, send: Any) -> None:
            seen.extend(value for name, value in scope["headers"] if name == b"x-twice")
            await send(start(204))
            await send(part(b"", more=False))

        server.app.site.add("/streamed", StreamedPage(application))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /streamed HTTP/1.1\r\nHost: localhost\r\nX-Twice: a\r\nX-Twice: b\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), DEADLINE)).split()[1] == b"204"
        assert seen == [b"a", b"b"]
        writer.close()

    async def test_each_part_arrives_when_it_is_sent(self, server: Serving) -> None:
        may_go_on = asyncio.Event()

        async def application(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await send(part(b"first "))
            await may_go_on.wait()
            await send(part(b"second", more=False))

        server.app.site.add("/streamed", StreamedPage(application))
        reader, writer = await opened(server)
        assert b"first " in await asyncio.wait_for(reader.readuntil(b"first "), DEADLINE)
        may_go_on.set()
        assert b"second" in await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), DEADLINE)
        writer.close()

    async def test_an_application_is_told_that_the_client_is_gone(self, server: Serving) -> None:
        told: list[str] = []

        async def application(_scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(start())
            await send(part(b"first "))
            told.append((await receive())["type"])
            await send(part(b"nobody reads this"))
            told.append((await receive())["type"])

        page = StreamedPage(application)
        server.app.site.add("/streamed", page)
        reader, writer = await opened(server)
        await asyncio.wait_for(reader.readuntil(b"first "), DEADLINE)
        writer.transport.abort()
        await asyncio.wait_for(page.ended.wait(), DEADLINE)
        assert told == ["http.disconnect", "http.disconnect"]
        assert (await ask(server, "/readyz")).code == 200

    async def test_an_application_sends_no_faster_than_the_client_reads(self, server: Serving) -> None:
        sent = 0

        async def application(_scope: Any, _receive: Any, send: Any) -> None:
            nonlocal sent
            await send(start())
            for _ in range(1000):
                await send(part(MUCH))
                sent += 1
            await send(part(b"", more=False))

        page = StreamedPage(application)
        server.app.site.add("/streamed", page)
        reader, writer = await opened(server)
        await asyncio.wait_for(reader.readuntil(MUCH), DEADLINE)
        for _ in range(50):
            await asyncio.sleep(0)
        assert sent < 1000
        writer.transport.abort()
        await asyncio.wait_for(page.ended.wait(), DEADLINE)

    async def test_parts_of_several_tasks_do_not_mix(self, server: Serving) -> None:
        async def application(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await asyncio.gather(*(send(part(b"[%d%b]" % (number, MUCH))) for number in range(8)))
            await send(part(b"", more=False))

        server.app.site.add("/streamed", StreamedPage(application))
        body = (await ask(server, "/streamed")).body
        assert sorted(body.strip(b"[]").split(b"][")) == [b"%d%b" % (number, MUCH) for number in range(8)]

    async def test_an_application_that_fails_is_an_error(self, server: Serving, expected_logs: ExpectedLogs) -> None:
        async def application(_scope: Any, _receive: Any, _send: Any) -> None:
            raise ValueError("a bug")

        expected_logs.allow("uvicorn")
        expected_logs.allow("mcp_actors", "request")
        server.app.site.add("/streamed", StreamedPage(application))
        assert (await ask(server, "/streamed")).code == 500

    async def test_a_response_that_breaks_off_does_not_look_complete(
        self, server: Serving, expected_logs: ExpectedLogs
    ) -> None:
        async def application(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await send(part(b"first "))
            raise ValueError("a bug")

        expected_logs.allow("uvicorn")
        expected_logs.allow("mcp_actors", "request")
        server.app.site.add("/streamed", StreamedPage(application))
        reader, writer = await opened(server)
        told = await asyncio.wait_for(reader.read(), DEADLINE)
        assert b"first " in told
        assert not told.endswith(b"0\r\n\r\n")
        writer.close()
