"""Which files the server serves: the browser client always, the demo page unless it is switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

if TYPE_CHECKING:
    from tests.support.server import Server

PAGE = ("/", "/index.html", "/demo/app.js", "/demo/call.css")


async def ask(server: Server, path: str) -> tuple[int, str]:
    """The status and the body of the answer."""
    response = await AsyncHTTPClient().fetch(server.url(path, "http"), raise_error=False)
    return response.code, response.body.decode()


async def test_the_demo_page_and_its_files_are_served(server: Server) -> None:
    assert [(await ask(server, path))[0] for path in PAGE] == [200] * len(PAGE)


@pytest.mark.settings(demo=False)
async def test_without_the_demo_page_the_root_says_so_and_the_client_is_served(server: Server) -> None:
    answers = [await ask(server, path) for path in PAGE]
    assert [status for status, _ in answers] == [404] * len(PAGE)
    assert "MCP_ACTORS_DEMO" in answers[0][1]
    assert (await ask(server, "/client/index.js"))[0] == 200


@pytest.mark.settings(demo=False)
async def test_switching_off_the_demo_page_leaves_the_console(server: Server) -> None:
    assert (await ask(server, "/console/"))[0] == 200
