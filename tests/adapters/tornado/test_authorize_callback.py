"""The application's own rules behind a URL, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from websockets.exceptions import InvalidStatus

from mcp_actors.adapters.tornado.authorize_callback import AuthorizeCallback, CallbackError, callback
from mcp_actors.auth.authorization import Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import DEFAULT_PERMISSIONS, Grant
from mcp_actors.settings import AuthSettings
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.conftest import ExpectedLogs

HANDSHAKE = Handshake("peer", {"Cookie": "session=abc"}, {"team": "7"}, "192.0.2.1")


class Backend:
    """An application that answers each question with `status` and `body`, and records what it is asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps({"identity": "alice"})
        self.asked: list[dict[str, Any]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        listening, port = bind_unused_port()
        self.url = f"http://127.0.0.1:{port}/authorize"
        self.server = HTTPServer(
            Application([("/authorize", _Question, {"backend": self})], log_function=lambda _: None)
        )
        self.server.add_socket(listening)

    async def ask(self, request: Handshake | JoinRequest) -> Grant | None:
        return await AuthorizeCallback(self.url, 5)(request)


class _Question(RequestHandler):
    def initialize(self, backend: Backend) -> None:
        self.backend = backend

    async def post(self) -> None:
        backend = self.backend
        backend.asked.append(json.loads(self.request.body))
        await backend.answers.wait()
        self.set_status(backend.status)
        if backend.status != 204:
            self.write(backend.body)


async def with_backend(test: Callable[[Backend], Awaitable[None]]) -> None:
    backend = Backend()
    try:
        await test(backend)
    finally:
        backend.answers.set()
        backend.server.stop()
        await backend.server.close_all_connections()


async def test_a_handshake_and_a_join_are_told_as_json() -> None:
    async def test(backend: Backend) -> None:
        grant = await backend.ask(HANDSHAKE)
        assert grant == Grant("alice", None, DEFAULT_PERMISSIONS)
        await backend.ask(JoinRequest("r", "al", {"x": 1}, grant, HANDSHAKE))
        told = {"kind": "peer", "address": "192.0.2.1", "headers": {"cookie": "session=abc"}, "query": {"team": "7"}}
        join = {"type": "join", "room": "r", "id": "al", "metadata": {"x": 1}, "identity": "alice"}
        assert backend.asked == [{"type": "handshake", **told}, {**told, **join}]

    await with_backend(test)


async def test_an_answer_is_a_whole_grant() -> None:
    async def test(backend: Backend) -> None:
        fields = {"rooms": ["team-*"], "can": ["moderate"], "metadata": {"name": "A"}, "own_metadata": True}
        backend.body = json.dumps({"identity": "a", **fields, "ice_servers": [{"urls": "stun:s"}], "expires_in": 60})
        grant = await backend.ask(HANDSHAKE)
        assert grant is not None
        assert (grant.rooms, grant.can, grant.metadata) == (["team-*"], ["moderate"], {"name": "A"})
        assert (grant.own_metadata, grant.ice_servers) == (True, [{"urls": "stun:s"}])
        assert abs(grant.expires - time.time() - 60) < 10

    await with_backend(test)


async def test_a_status_refuses_or_leaves_the_decision_to_the_joins() -> None:
    async def test(backend: Backend) -> None:
        backend.status, backend.body = 403, "Log in first.\n"
        with pytest.raises(Refused, match=r"^Log in first\.$"):
            await backend.ask(HANDSHAKE)
        backend.status = 204
        assert await backend.ask(HANDSHAKE) is None

    await with_backend(test)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, ""), (302, ""), (404, ""), (200, ""), (200, "{}"), (200, "[]"), (200, '{"identity": 7}')],
)
async def test_any_other_answer_is_a_failure(status: int, body: str) -> None:
    async def test(backend: Backend) -> None:
        backend.status, backend.body = status, body
        with pytest.raises(CallbackError, match=r"^http://127\.0\.0\.1:"):
            await backend.ask(HANDSHAKE)

    await with_backend(test)


def test_there_is_a_callback_if_there_is_a_url() -> None:
    assert callback(AuthSettings()) is None
    assert callback(AuthSettings(url="http://localhost/")) is not None


async def test_the_server_asks_the_application_of_its_settings(tmp_path: Path, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.auth", "authorize failed")

    async def test(backend: Backend) -> None:
        server = Server(tmp_path, auth_url=backend.url, authorize_timeout=2.0)
        await server.start()
        peer = await server.peer(Cookie="session=abc")
        await peer.join("r", "alice")
        assert [asked["type"] for asked in backend.asked] == ["handshake", "join"]
        for status, seen in ((403, 403), (500, 503)):
            backend.status, backend.body = status, "No."
            with pytest.raises(InvalidStatus) as refused:
                await server.peer()
            assert refused.value.response.status_code == seen
        backend.answers.clear()
        with pytest.raises(InvalidStatus) as refused:
            await server.peer()
        assert refused.value.response.status_code == 503
        assert await peer.drain("r") == []
        await server.stop()

    await with_backend(test)
