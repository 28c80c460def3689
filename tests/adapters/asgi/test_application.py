"""The ASGI application, called as a server calls it; the contract asks it in uvicorn."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.adapters.asgi import application as module
from mcp_actors.adapters.asgi.application import AsgiApp
from mcp_actors.app import App
from mcp_actors.environment import load

if TYPE_CHECKING:
    from pathlib import Path

HOST = (b"host", b"localhost")


def asgi_app(directory: Path) -> AsgiApp:
    return AsgiApp(App(load(environ={}, directory=directory)).site)


def scope_of(path: str, kind: str = "http", **fields: Any) -> dict[str, Any]:
    scope = {"type": kind, "method": "GET", "path": path, "query_string": b"", "headers": [HOST]}
    return {**scope, "client": ("127.0.0.1", 5), **fields}


async def respond(directory: Path, scope: dict[str, Any]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        raise AssertionError("the body of a request is not read")

    await asgi_app(directory).respond(scope, receive, send)
    return told


async def refuse(directory: Path, scope: dict[str, Any]) -> list[dict[str, Any]]:
    """What a server is told about a handshake."""
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    asked.put_nowait({"type": "websocket.connect"})
    told: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        told.append(message)

    await asgi_app(directory).serve(scope, asked.get, send)
    return told


async def test_a_response_has_a_start_and_one_body(tmp_path: Path) -> None:
    start, body = await respond(tmp_path, scope_of("/readyz"))
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert (b"content-length", b"15") in start["headers"]
    assert (body["type"], body["body"]) == ("http.response.body", b'{"ready": true}')


async def test_a_client_without_an_address_is_one_at_a_unix_socket(tmp_path: Path) -> None:
    _, body = await respond(tmp_path, scope_of("/healthz", client=None))
    assert b"rooms" in body["body"]
    through_proxy = [HOST, (b"x-forwarded-for", b"192.0.2.1")]
    _, body = await respond(tmp_path, scope_of("/healthz", client=None, headers=through_proxy))
    assert b"rooms" not in body["body"]


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/signal/readyz", "root_path": "/signal"},
        {"path": "/readyz", "root_path": "/signal"},
        {"path": "/readyz", "root_path": ""},
        {"path": "//readyz", "client": None},
        {"path": "http://localhost/readyz"},
    ],
    ids=str,
)
async def test_a_path_is_found_with_and_without_the_prefix(tmp_path: Path, fields: dict[str, Any]) -> None:
    start, _ = await respond(tmp_path, scope_of(**fields))
    assert start["status"] == 200


async def test_the_prefix_itself_leads_to_its_folder(tmp_path: Path) -> None:
    start, _ = await respond(tmp_path, scope_of("/signal", root_path="/signal", query_string=b"room=x"))
    assert start["status"] == 308
    assert (b"location", b"signal/?room=x") in start["headers"]


async def test_a_percent_sign_that_a_client_encoded_stays_one(tmp_path: Path) -> None:
    start, _ = await respond(tmp_path, scope_of("/demo/%61pp.js", raw_path=b"/demo/%2561pp.js"))
    assert start["status"] == 404


async def test_the_query_is_taken_so_that_the_server_logs_no_token(tmp_path: Path) -> None:
    scope = scope_of("/", query_string=b"token=secret")
    await respond(tmp_path, scope)
    assert scope["query_string"] == b""


async def test_a_handshake_elsewhere_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFUSED_TIMEOUT", 0.01)
    extensions: dict[str, Any] = {"websocket.http.response": {}}
    start, body = await refuse(tmp_path, scope_of("/demo/app.js", "websocket", extensions=extensions))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
    assert body["type"] == "websocket.http.response.body"


@pytest.mark.parametrize("extensions", [None, {}])
async def test_a_server_that_cannot_answer_a_handshake_closes_it(tmp_path: Path, extensions: Any) -> None:
    scope = scope_of("/ws/mcp/", "websocket", headers=[(b"host", b"evil.example")], extensions=extensions)
    assert [message["type"] for message in await refuse(tmp_path, scope)] == ["websocket.close"]


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/api/v1/rooms/a/b", "raw_path": b"/api/v1/rooms/a%2Fb"},
        {"path": "/signal/api/v1/rooms/a/b", "raw_path": b"/signal/api/v1/rooms/a%2Fb", "root_path": "/signal"},
        {"path": "/api/v1/rooms/a/b", "raw_path": b"/api/v1/rooms/a%2Fb", "root_path": "/signal"},
    ],
    ids=str,
)
async def test_a_slash_in_a_part_of_a_path_is_told_from_one_between_parts(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    start, body = await respond(tmp_path, scope_of(**fields))
    assert (start["status"], json.loads(body["body"])["room"]) == (200, "a/b")


async def test_a_server_that_does_not_tell_how_a_path_was_sent_knows_slashes_between_parts_alone(
    tmp_path: Path,
) -> None:
    start, body = await respond(tmp_path, scope_of("/api/v1/rooms/a é"))
    assert (start["status"], json.loads(body["body"])["room"]) == (200, "a é")
    start, _ = await respond(tmp_path, scope_of("/api/v1/rooms/a/b"))
    assert start["status"] == 404
