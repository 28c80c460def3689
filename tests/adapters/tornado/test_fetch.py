"""HTTP requests whose caller stops waiting: nothing is logged of what becomes of them."""

from __future__ import annotations

import asyncio

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from mcp_actors.adapters.tornado.fetch import fetch
from tests.support.loop import scheduler, until


async def test_a_request_that_ends_after_its_caller_was_cancelled_is_no_error_in_the_log() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()  # until the client hangs up, as nothing comes in time
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AsyncHTTPClient(force_instance=True)
    request = HTTPRequest(f"http://127.0.0.1:{port}/", connect_timeout=20, request_timeout=1.0)
    asking = asyncio.ensure_future(fetch(client, request))
    await until(asked.is_set, "the request")
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    await until(ended.is_set, "the end of the request")
    await scheduler(20)
    client.close()
    server.close()


async def test_an_error_is_raised_where_it_is_waited_for() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AsyncHTTPClient(force_instance=True)
    with pytest.raises((HTTPError, OSError)):
        await fetch(client, HTTPRequest(f"http://127.0.0.1:{port}/"))
    client.close()
    server.close()
