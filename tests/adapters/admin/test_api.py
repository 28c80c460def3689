"""The table of the admin API, on the port for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.httpclient import AsyncHTTPClient

from bench.ports import free_ports
from tests.support.admin import get
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_api_is_on_the_admin_port_and_takes_a_token_or_this_machine(tmp_path: Path) -> None:
    server = Server(tmp_path, admin_port=free_ports(), cors_allowed_origins=["http://app.example"])
    await server.start()
    try:
        url = f"http://127.0.0.1:{server.admin_port}/api/v1/rooms"
        assert (await AsyncHTTPClient().fetch(url)).code == 200
        answer = await AsyncHTTPClient().fetch(url, headers={"X-Real-IP": "192.0.2.1"}, raise_error=False)
        assert answer.code == 403
        assert b"MCP_ACTORS_AUTH is off" in answer.body
        answer = await AsyncHTTPClient().fetch(server.url("/api/v1/rooms", "http"), raise_error=False)
        assert answer.code == 404
    finally:
        await server.stop()


async def test_the_document_names_every_path(server: Server) -> None:
    document = await get(server, "/openapi.json")
    assert document["openapi"] == "3.1.0"
    for path in document["paths"]:
        filled = path.format(room="r", kind="peer", id="a", claim="jti", value="t")
        if "get" in document["paths"][path]:
            await get(server, filled)
