"""The access log: one line for each connection and for each refused handshake of a real server, while it is on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs
from tornado.httpclient import AsyncHTTPClient
from websockets.exceptions import InvalidStatus

from mcp_actors.connection.counters import RefusalReason
from mcp_actors.protocol.errors import CloseCode
from tests.support.loop import until
from tests.support.tokens import REQUIRED, bearer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

ON = {"access_log": True}
LOGGER = "mcp_actors.access"


@contextmanager
def access_lines() -> Iterator[list[dict[str, Any]]]:
    """The lines that are logged inside, of all loggers; those of this log have an `endpoint`."""
    with capture_logs() as lines:
        yield lines  # type: ignore[misc]


def closed(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "connection closed"]


async def line_of(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The line about the one connection that was closed."""
    await until(lambda: closed(lines), "a line of the access log")
    (line,) = closed(lines)
    return line


async def refused(server: Server, lines: list[dict[str, Any]], **headers: str) -> dict[str, Any]:
    with pytest.raises(InvalidStatus):
        await server.peer(**headers)
    (line,) = [line for line in lines if line["event"] == "handshake refused" and "status" in line]
    return line


async def test_it_is_off_by_default(server: Server) -> None:
    with access_lines() as lines:
        peer = await server.peer()
        await peer.join("r", "ana")
        await peer.close()
        await until(lambda: not server.app.connections, "the end of the connection")
    assert not closed(lines)


@pytest.mark.settings(**ON)
async def test_a_connection_has_one_line_with_what_was_known_of_it(server: Server) -> None:
    with access_lines() as lines:
        a, b = await server.pair()
        for number in range(3):
            await a.say("signal", "r", {"target_peer_id": "b", "data": number})
            await b.expect("signal")
        await a.socket.ping()
        await a.say("ping")
        await a.expect("pong")
        await a.close()
        line = await line_of(lines)
    assert (line["endpoint"], line["address"], line["ids"]) == ("signaling", "127.0.0.1", "a")
    assert (line["code"], line["reason"], line["log_level"]) == (1000, "closed-by-client", "info")
    assert line["messages_received"] == 5  # a join, three signals and a ping, but no frame that is a ping or pong
    assert line["messages_sent"] == 3  # joined, peer-joined and pong
    assert line["bytes_received"] > 5 * 30
    assert line["bytes_sent"] > 3 * 30
    assert 0 <= line["seconds"] < 60


@pytest.mark.settings(**ON)
async def test_a_user_is_named_and_so_is_the_code_of_the_server(server: Server) -> None:
    with access_lines() as lines:
        user = await server.user()
        await user.say("connect", payload={"user_id": "ana"})
        await user.expect("connected")
        for connection in server.app.connections:
            connection.close(CloseCode.IDLE)
        line = await line_of(lines)
    assert (line["endpoint"], line["ids"], line["code"], line["reason"]) == ("messaging", "ana", 4510, "idle")


@pytest.mark.settings(**ON, **REQUIRED)
async def test_a_client_with_a_token_is_named_by_its_sub(server: Server) -> None:
    with access_lines() as lines:
        peer = await server.peer(**bearer("ana"))
        await peer.expect("authenticated")
        await peer.close()
        assert (await line_of(lines))["ids"] == "ana"


@pytest.mark.settings(**ON)
async def test_a_connection_that_breaks_has_no_code_of_either_side(server: Server) -> None:
    with access_lines() as lines:
        peer = await server.peer()
        peer.vanish()
        line = await line_of(lines)
    assert (line["code"], line["reason"], line["ids"]) == (1006, "lost", "")


@pytest.mark.settings(**ON)
async def test_a_connection_has_the_number_that_all_lines_about_it_have(server: Server) -> None:
    with access_lines() as lines:
        peer = await server.peer()
        await peer.say("leave", "r")
        await peer.expect("error")
        await peer.close()
        line = await line_of(lines)
    about = [one["event"] for one in lines if one.get("connection") == line["connection"]]
    assert about == ["opened", "error", "connection closed"]


@pytest.mark.settings(**ON, cors_allowed_origins=("https://app.example",))
async def test_a_refused_handshake_has_a_line_with_its_status(server: Server) -> None:
    with access_lines() as lines:
        line = await refused(server, lines, Origin="https://evil.example")
    assert (line["endpoint"], line["address"], line["status"]) == ("signaling", "127.0.0.1", 403)
    assert "https://evil.example" in line["reason"]


@pytest.mark.settings(**ON, max_url_bytes=100)
async def test_requests_that_are_no_handshakes_have_a_line_with_their_status(server: Server) -> None:
    with access_lines() as lines:
        for path, method, status in (("", "GET", 400), (f"?{'x' * 100}", "GET", 414), ("", "DELETE", 405)):
            url = server.url(f"/ws/mcp/{path}", "http")
            answer = await AsyncHTTPClient().fetch(
                url, method=method, raise_error=False, allow_nonstandard_methods=True
            )
            assert answer.code == status
    found = [(line["endpoint"], line["status"]) for line in lines if line["event"] == "handshake refused"]
    assert found == [("messaging", 400), ("messaging", 414), ("messaging", 405)]
    assert server.app.counters.refused == {RefusalReason.NO_HANDSHAKE: 3}


@pytest.mark.settings(**ON, max_connections=1)
async def test_a_full_server_is_named_as_the_reason_of_a_refusal(server: Server, expected_logs: Any) -> None:
    expected_logs.allow("mcp_actors.connection", "handshake refused")
    await server.peer()
    with access_lines() as lines:
        assert (await refused(server, lines))["status"] == 503


async def test_it_is_turned_on_while_connections_are_open(server: Server) -> None:
    peer = await server.peer()
    await peer.join("r", "ana")
    with access_lines() as lines:
        server.app.access_log.enabled = True
        await peer.close()
        assert (await line_of(lines))["ids"] == "ana"
