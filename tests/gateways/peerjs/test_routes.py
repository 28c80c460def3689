"""The paths of the gateway, on Tornado and on ASGI."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.asgi_process import AsgiProcess
from tests.support.peerjs import PATH, Stand, query

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server


@pytest.mark.settings(gateways="peerjs")
async def test_at_the_root_a_client_needs_no_path_and_the_demo_page_stays(server: Server) -> None:
    async with Stand(server.url("")) as stand:
        client = await stand.open("/peerjs?key=peerjs&id=ada&token=t")
        assert await client.hear() == {"type": "OPEN"}
    page = await AsyncHTTPClient().fetch(server.url("/", "http"))
    assert b"<html" in page.body


@pytest.mark.settings(gateways="peerjs", peerjs_path="/a/b", peerjs_key="k")
async def test_path_and_key_are_settings(server: Server) -> None:
    async with Stand(server.url("")) as stand:
        client = await stand.open("/a/b/peerjs?key=k&id=ada&token=t")
        assert await client.hear() == {"type": "OPEN"}
    assert (await AsyncHTTPClient().fetch(server.url("/a/b/k/id", "http"))).code == 200


async def test_clients_are_served_in_an_asgi_server_and_errors_close_them(tmp_path: Path) -> None:
    with AsgiProcess(tmp_path, "uvicorn", MCP_ACTORS_GATEWAYS="peerjs", MCP_ACTORS_PEERJS_PATH=PATH) as process:
        await asyncio.to_thread(process.wait_until_serving)
        async with Stand(f"ws://127.0.0.1:{process.port}") as stand:
            ada, bob = await stand.connected("ada"), await stand.connected("bob")
            await ada.tell("OFFER", "bob", n=1)
            assert await bob.hear() == {"type": "OFFER", "src": "ada", "dst": "bob", "payload": {"n": 1}}
            wrong = await stand.open(query("eve", "t", "another"))
            assert (await wrong.hear())["type"] == "ERROR"
            await wrong.expect_close(4506)
        response = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{process.port}{PATH}peerjs/id")
        assert response.code == 200
        assert await asyncio.to_thread(process.stop) in (0, -15)


async def test_the_gateway_is_off_unless_it_is_switched_on(server: Server) -> None:
    for path in ("/peerjs", "/peerjs/id", "/peerjs/peers"):
        response = await AsyncHTTPClient().fetch(server.url(path, "http"), raise_error=False)
        assert response.code == 404
