"""The HTTP API of PeerJS clients."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tests.support.peerjs import Stand

if TYPE_CHECKING:
    from tests.support.server import Server

PAGE = "https://app.example.com"
pytestmark = pytest.mark.settings(gateways="peerjs", peerjs_path="/app", cors_allowed_origins=PAGE)


async def get(server: Server, path: str, origin: str = PAGE) -> HTTPResponse:
    return await AsyncHTTPClient().fetch(server.url(path, "http"), headers={"Origin": origin}, raise_error=False)


async def test_ids_are_new_each_time_and_allowed_pages_may_read_them(server: Server) -> None:
    first, second = await get(server, "/app/peerjs/id?ts=1"), await get(server, "/app/peerjs/id?ts=2")
    assert re.fullmatch(rb"[0-9a-f-]{36}", first.body)
    assert first.body != second.body
    assert first.headers["Access-Control-Allow-Origin"] == PAGE
    assert first.headers["Cache-Control"] == "no-store"


async def test_pages_of_other_origins_are_refused(server: Server) -> None:
    for path in ("/app", "/app/", "/app/peerjs/id", "/app/peerjs/peers"):
        response = await get(server, path, "https://evil.example.com")
        assert response.code == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_the_folder_says_what_it_is(server: Server) -> None:
    for path in ("/app", "/app/"):
        assert json.loads((await get(server, path)).body)["name"] == "PeerJS Server"


async def test_nobody_may_list_the_clients_unless_that_is_turned_on(server: Server) -> None:
    response = await get(server, "/app/peerjs/peers")
    assert response.code == 401
    assert b"MCP_ACTORS_PEERJS_DISCOVERY" in response.body


@pytest.mark.settings(peerjs_discovery=True, peerjs_key="k")
async def test_the_list_has_the_clients_of_all_processes(servers: list[Server]) -> None:
    async with Stand(servers[0].url("")) as one, Stand(servers[1].url("")) as other:
        for stand, name in ((one, "ada"), (other, "bob")):
            client = await stand.open(f"/app/peerjs?key=k&id={name}&token=t")
            assert await client.hear() == {"type": "OPEN"}
        assert sorted(json.loads((await get(servers[0], "/app/k/peers")).body)) == ["ada", "bob"]
