"""`/ws/mcp/` with the subprotocol `mcp`, over real sockets, on Tornado and in uvicorn: who is let in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client
from websockets.exceptions import InvalidStatus

from mcp_actors.adapters.http.proxy_headers import TrustedProxies
from mcp_actors.protocol.errors import CloseCode
from tests.support.agent_socket import agent_socket, ask, close_code
from tests.support.client import DEADLINE
from tests.support.mcp_transports import over_websocket
from tests.support.tokens import REQUIRED, bearer, token
from tests.support.waiting_tool import WaitingTool, call, serve_tool

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server

ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}
DISCOVER = call(method="server/discover")


async def refused(door: Any, *subprotocols: str, path: str = "/ws/mcp/", **headers: str) -> tuple[int, Any]:
    """The status and the headers with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as error:
        async with agent_socket(door, *subprotocols, path=path, **headers):
            pass
    return error.value.response.status_code, error.value.response.headers


@pytest.mark.parametrize("mode", ERAS)
async def test_the_official_client_lists_and_calls_tools(door: Any, mode: str) -> None:
    async with Client(over_websocket(door.url("/ws/mcp/")), mode=mode) as client:
        assert client.session.protocol_version == ERAS[mode]
        assert "list_rooms" in [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("list_rooms", {})
    assert result.structured_content is not None
    assert result.structured_content["rooms"] == []


async def test_updates_come_over_the_websocket_too(door: Any) -> None:
    async with (
        Client(over_websocket(door.url("/ws/mcp/"))) as client,
        client.listen(resource_subscriptions=["room://r/roster"]) as updates,
    ):
        await (await door.user()).enter("r", "u")
        async with asyncio.timeout(DEADLINE):
            await anext(aiter(updates))


async def test_without_the_subprotocol_the_path_is_that_of_users(door: Any) -> None:
    await (await door.user()).enter("r", "u")
    for offered in ("mcp-actors", "mcp.other"):
        async with agent_socket(door, offered) as socket:
            answer = await ask(socket, {"type": "connect", "payload": {"user_id": "v"}})
            assert answer["type"] == "connected"
            assert socket.subprotocol == (offered if offered == "mcp-actors" else None)


async def test_the_subprotocol_is_chosen_among_others(door: Any) -> None:
    for path in ("/ws/mcp/", "/ws/mcp"):
        async with agent_socket(door, "mcp-actors", "mcp", path=path) as socket:
            assert socket.subprotocol == "mcp"
            assert "result" in await ask(socket, DISCOVER)


async def test_where_agents_are_off_the_subprotocol_means_nothing(server: Server) -> None:
    async with agent_socket(server) as socket:
        assert socket.subprotocol is None
        assert (await ask(socket, {"type": "connect", "payload": {"user_id": "u"}}))["type"] == "connected"


@pytest.mark.settings(**REQUIRED)
async def test_a_handshake_without_a_good_token_is_refused(door: Any) -> None:
    status, headers = await refused(door)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    status, headers = await refused(door, Authorization="Bearer nonsense")
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert (await refused(door, "mcp", "mcp-actors.token.nonsense"))[0] == 401


@pytest.mark.settings(**REQUIRED)
async def test_a_token_may_be_where_other_clients_have_it(door: Any) -> None:
    tool = WaitingTool()
    serve_tool(door.app, tool)
    tool.may_answer.set()
    ways: list[tuple[tuple[str, ...], str, dict[str, str]]] = [
        (("mcp",), "/ws/mcp/", bearer("ann")),
        (("mcp", f"mcp-actors.token.{token('ann')}"), "/ws/mcp/", {}),
        (("mcp",), f"/ws/mcp/?token={token('ann')}", {}),
    ]
    for subprotocols, path, headers in ways:
        async with agent_socket(door, *subprotocols, path=path, **headers) as socket:
            assert "result" in await ask(socket, call())
    assert [caller.user for caller in tool.callers] == ["ann"] * 3


@pytest.mark.settings(refuse_with_close=True, **REQUIRED)
async def test_a_handshake_may_be_refused_with_a_close_frame(door: Any) -> None:
    async with agent_socket(door) as socket:
        assert await close_code(socket) == CloseCode.UNAUTHORIZED


async def test_pages_of_other_origins_and_agents_of_other_machines_are_refused(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await refused(door, Origin="https://evil.example"))[0] == 403
    monkeypatch.setattr(TrustedProxies, "client", lambda *_: "192.0.2.1")
    assert (await refused(door))[0] == 403


@pytest.mark.settings(max_connections=1)
async def test_the_limit_of_connections_applies(door: Any, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "as many connections as it may")
    async with agent_socket(door):
        assert (await refused(door))[0] == 503
