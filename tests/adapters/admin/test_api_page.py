"""The pages of the admin API: who may ask, how, and what is logged of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.adapters.admin import api_page
from mcp_actors.broker.memory_administration import MemoryAdministration
from mcp_actors.protocol.errors import Unavailable
from tests.adapters.http.contract import ask as ask_http
from tests.support.admin import ask
from tests.support.asgi import AsgiServer
from tests.support.server import Server
from tests.support.tokens import OPTIONAL, bearer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from tests.conftest import ExpectedLogs

PROXIED = {"X-Real-IP": "192.0.2.1"}


def admin() -> dict[str, str]:
    return bearer("ops", can=["admin"])


@pytest.fixture(params=[Server, AsgiServer], ids=["tornado", "asgi"])
def serving(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server | AsgiServer]:
    """A server on each adapter."""
    marker = request.node.get_closest_marker("settings")
    server = request.param(tmp_path, **(marker.kwargs if marker else {}))
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


async def test_an_operator_on_this_machine_needs_no_token(serving: Server) -> None:
    assert (await ask(serving, "GET", "/rooms")).status == 200
    answer = await ask(serving, "POST", "/rooms/a%2Fb/messages", {"content": 1})
    assert answer.content == {"room": "a/b", "sent": False}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.settings(**OPTIONAL)
async def test_others_need_a_token_with_admin(serving: Server) -> None:
    for headers, status, code in (
        (PROXIED, 401, "unauthorized"),
        ({**PROXIED, **bearer("mo", can=["moderate"])}, 403, "forbidden"),
        ({**PROXIED, "Authorization": "Bearer nonsense"}, 401, "unauthorized"),
    ):
        answer = await ask(serving, "POST", "/rooms/r/lock", headers=headers)
        assert (answer.status, answer.content["error"]["code"]) == (status, code)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await ask(serving, "POST", "/rooms/r/lock", headers={**PROXIED, **admin()})).status == 200


@pytest.mark.settings(**OPTIONAL, cors_allowed_origins=["http://app.example"])
async def test_where_a_proxy_may_be_in_front_this_machine_needs_a_token_too(serving: Server) -> None:
    answer = await ask(serving, "GET", "/rooms")
    assert answer.status == 401
    assert "MCP_ACTORS_ADMIN_PORT" in answer.content["error"]["message"]
    assert (await ask(serving, "GET", "/rooms", headers=admin())).status == 200


@pytest.mark.settings(**OPTIONAL)
async def test_a_token_in_the_url_does_not_count(serving: Server) -> None:
    token = admin()["Authorization"].removeprefix("Bearer ")
    answer = await ask(serving, "GET", f"/rooms?token={token}", headers=PROXIED)
    assert answer.status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example"},
    ],
    ids=str,
)
async def test_a_page_of_another_origin_changes_nothing(serving: Server, headers: dict[str, str]) -> None:
    peer = await serving.peer()
    await peer.join("r", "a")
    for method, path in (("POST", "/rooms/r/close"), ("GET", "/rooms"), ("DELETE", "/rooms/r/bans/peer/a")):
        answer = await ask(serving, method, path, headers=headers)
        assert (answer.status, answer.content["error"]["code"]) == (403, "forbidden")
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert (await ask(serving, "GET", "/rooms/r")).content["members"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_body_that_is_not_called_json_is_refused(serving: Server, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await ask(serving, "POST", "/rooms/r/close", b"{}", headers)
    assert (answer.status, answer.content["error"]["code"]) == (415, "unsupported-media-type")


@pytest.mark.parametrize("body", [b"{", b'{"a": 1}', b"\xff", b"[" * 10_000])
async def test_a_body_that_cannot_be_used_is_refused(serving: Server, body: bytes) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await ask(serving, "POST", "/rooms/r/lock", body, headers)
    assert (answer.status, answer.content["error"]["code"]) == (400, "bad-request")


async def test_what_is_refused_before_is_answered_in_json_too(serving: Server) -> None:
    answer = await ask(serving, "DELETE", "/rooms")
    assert (answer.status, answer.content["error"]["code"]) == (405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
    for path in ("", "/", "/nothing", "/rooms/a/b/c", "/rooms/%FF"):
        answer = await ask(serving, "GET", path)
        assert (answer.status, answer.content["error"]["code"]) == (404, "not-found")
    head = await ask_http(serving, "/api/v1/rooms", "HEAD")
    assert (head.code, head.body) == (200, b"")


async def test_a_change_is_logged_with_the_one_who_made_it(serving: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for _ in range(30):
        await ask(serving, "POST", "/rooms/r/messages", {"content": "private"})
    await ask(serving, "GET", "/rooms/r")
    lines = [record.getMessage() for record in caplog.records if record.name == "mcp_actors.audit"]
    assert len(lines) == 30
    assert "announcement sent by operator" in lines[0]
    assert "by=operator on this machine address=127.0.0.1 room=r sent=False" in lines[0]
    assert "private" not in lines[0]


async def test_what_cannot_be_done_now_may_be_tried_again(serving: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise Unavailable("Redis cannot be asked now.")

    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(api_page, "TIMEOUT", 0.05)
    for behaviour in (fail, hang):
        monkeypatch.setattr(MemoryAdministration, "room", behaviour)
        answer = await ask(serving, "GET", "/rooms/r")
        assert (answer.status, answer.content["error"]["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"


async def test_a_bug_is_logged_and_tells_nothing(
    serving: Server, monkeypatch: pytest.MonkeyPatch, expected_logs: ExpectedLogs
) -> None:
    async def fail(*_: Any) -> None:
        raise KeyError("secret")

    expected_logs("mcp_actors.admin", "admin request failed")
    expected_logs.allow("mcp_actors", "status=500")
    monkeypatch.setattr(MemoryAdministration, "room", fail)
    answer = await ask(serving, "GET", "/rooms/r")
    assert (answer.status, answer.content["error"]["code"]) == (500, "internal")
    assert "secret" not in str(answer.content)
