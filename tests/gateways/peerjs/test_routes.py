"""The paths of the gateway, on Tornado and on ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.peerjs import Stand

if TYPE_CHECKING:
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


async def test_the_gateway_is_off_unless_it_is_switched_on(server: Server) -> None:
    for path in ("/peerjs", "/peerjs/id", "/peerjs/peers"):
        response = await AsyncHTTPClient().fetch(server.url(path, "http"), raise_error=False)
        assert response.code == 404
