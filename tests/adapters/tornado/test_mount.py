"""The server below a prefix of a Tornado application."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.simple_httpclient import HTTPStreamClosedError

from mcp_actors.signaling_server import NOT_STARTED
from tests.support.asgi import signaling_server
from tests.support.mounted import InTornado, assert_serves, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ExpectedLogs


@pytest.mark.parametrize("prefix", ["/signal", "/team/signal", ""])
async def test_tornado_serves_it_beside_its_own_handlers(
    prefix: str, tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("tornado.access", "404 GET")
    serving = InTornado(signaling_server(tmp_path), prefix)
    await serving.start()
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
    await serving.start()
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
    await serving.listen()
    with pytest.raises(HTTPStreamClosedError):
        await fetch(serving.url("/", "http"))
    assert NOT_STARTED in caplog.text
    await serving.stop()
