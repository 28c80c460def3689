"""`/mcp` over real sockets, on Tornado and in uvicorn: the official client, and who is let in."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client

from mcp_actors.adapters.http.proxy_headers import TrustedProxies
from tests.adapters.http.contract import ask
from tests.support.asgi import signaling_server
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.mcp_transports import over_http, over_websocket
from tests.support.mounted import InTornado
from tests.support.tokens import OPTIONAL, REQUIRED, bearer
from tests.support.waiting_tool import WaitingTool, call, call_headers, serve_tool
from tests.test_signaling_server import in_fastapi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tornado.httpclient import HTTPResponse

ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}
DISCOVER = call_headers("server/discover")


async def post(door: Any, method: Any = "server/discover", *, modern: Any = True, **headers: str) -> HTTPResponse:
    """The response to a request."""
    named = {
        **call_headers(method, modern=modern),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await ask(door, "/mcp", "POST", json.dumps(call(method=method, modern=modern)).encode(), **named)


@asynccontextmanager
async def tool_behind(door: Any, *limits: int) -> AsyncIterator[WaitingTool]:
    """The tool that waits, behind the page."""
    tool = WaitingTool()
    page, slots = serve_tool(door.app, tool, *limits)
    await page.start()
    try:
        yield tool
    finally:
        await page.stop()
    assert len(slots) == 0


async def posted(door: Any, *, modern: bool = True) -> asyncio.StreamWriter:
    """A connection that has sent a call of the tool."""
    _, writer = await asyncio.open_connection("127.0.0.1", door.port)
    body = json.dumps(call(modern=modern)).encode()
    headers = {**call_headers(modern=modern), "Host": "localhost", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return writer


@pytest.mark.parametrize("mode", ERAS)
async def test_the_official_client_lists_and_calls_tools(door: Any, mode: str) -> None:
    async with Client(over_http(door.url("/mcp", "http")), mode=mode) as client:
        assert client.session.protocol_version == ERAS[mode]
        assert "list_rooms" in [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("list_rooms", {})
    assert result.structured_content is not None
    assert result.structured_content["rooms"] == []


async def test_a_stream_of_updates_lasts_as_long_as_the_client(door: Any) -> None:
    async with Client(over_http(door.url("/mcp", "http"))) as client:
        async with client.listen(resource_subscriptions=["room://r/roster"]) as updates:
            await (await door.user()).enter("r", "u")
            async with asyncio.timeout(DEADLINE):
                await anext(aiter(updates))
        await until(lambda: not door.app.mcp_page._under_way, "the stream is over")


@pytest.mark.parametrize("host", ["tornado", "fastapi"])
async def test_agents_come_in_below_the_prefix_of_an_application(host: str, tmp_path: Path) -> None:
    signaling = signaling_server(tmp_path, mcp=True)
    serving: Any = InTornado(signaling) if host == "tornado" else in_fastapi(signaling)
    await serving.start()
    async with Client(over_http(serving.url("/mcp", "http"))) as client:
        assert (await client.list_tools()).tools
    async with Client(over_websocket(serving.url("/ws/mcp/"))) as client:
        assert (await client.list_tools()).tools
    await serving.stop()


@pytest.mark.settings(mcp=False)
async def test_where_agents_are_off_they_are_told_what_it_takes(door: Any) -> None:
    refused = await post(door)
    assert refused.code == 404
    assert b"MCP_ACTORS_MCP=true" in refused.body


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_session_cannot_be_read_or_ended_as_there_is_none(door: Any, method: str) -> None:
    response = await ask(door, "/mcp", method)
    assert (response.code, response.headers["Allow"]) == (405, "POST, OPTIONS")


@pytest.mark.settings(allowed_hosts=["signaling.example"], **REQUIRED)
async def test_another_host_is_misdirected_and_another_origin_forbidden(door: Any) -> None:
    async def status(host: str, **headers: str) -> int:
        return (await post(door, Host=host, **bearer("ann"), **headers)).code

    assert await status("signaling.example") == 200
    assert await status("evil.example") == 421
    assert await status("signaling.example", Origin="https://evil.example") == 403
    assert await status("signaling.example", Origin="http://signaling.example") == 200


@pytest.mark.settings(cors_allowed_origins=["https://page.example"])
async def test_an_allowed_page_may_ask_and_read_the_answer(door: Any) -> None:
    page: dict[str, Any] = {"Origin": "https://page.example"}
    asked = await ask(door, "/mcp", "OPTIONS", **page, Access_Control_Request_Method="POST")
    assert asked.code == 204
    assert "MCP-Protocol-Version" in asked.headers["Access-Control-Allow-Headers"]
    for answer in (asked, await post(door, **page)):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert (await ask(door, "/mcp", "OPTIONS", Origin="https://evil.example")).code == 403


@pytest.mark.settings(**REQUIRED)
async def test_a_token_is_needed_and_no_other_way_to_get_one_is_named(door: Any) -> None:
    for headers, challenge in (
        ({}, "Bearer"),
        ({"Authorization": "Basic YTpi"}, "Bearer"),
        ({"Authorization": "Bearer nonsense"}, 'Bearer error="invalid_token"'),
        (bearer("ann", -60), 'Bearer error="invalid_token"'),
    ):
        refused = await post(door, **headers)
        assert (refused.code, refused.headers["WWW-Authenticate"]) == (401, challenge)
    assert (await post(door, **bearer("ann"))).code == 200
    assert (await ask(door, "/.well-known/oauth-protected-resource")).code == 404
    assert (await ask(door, "/.well-known/oauth-protected-resource/mcp")).code == 404


@pytest.mark.settings(**REQUIRED)
async def test_a_tool_is_told_who_calls_it_but_not_the_header_with_the_token(door: Any) -> None:
    async with tool_behind(door) as tool:
        tool.may_answer.set()
        for modern in (True, False):
            token = bearer("ann", can=["message", "admin"], rooms=["team-*"])
            assert (await post(door, "tools/call", modern=modern, **token)).code == 200
            caller = tool.callers[-1]
            assert caller.grant is not None
            assert (caller.user, caller.grant.rooms, caller.address) == ("ann", ("team-*",), "127.0.0.1")
            assert caller.is_operator
            assert "mcp-protocol-version" in tool.headers[-1]
            assert "authorization" not in tool.headers[-1]
        await post(door, "tools/call", **bearer("bob"))
        assert not tool.callers[-1].is_operator


async def test_without_tokens_an_agent_on_this_machine_is_an_operator_and_others_are_refused(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tool_behind(door) as tool:
        tool.may_answer.set()
        assert (await post(door, "tools/call")).code == 200
        assert (await post(door, "tools/call", Origin="http://localhost:3000")).code == 200
        assert [caller.is_operator for caller in tool.callers] == [True, False]
        assert (await post(door, X_Forwarded_For="192.0.2.1")).code == 403
        monkeypatch.setattr(TrustedProxies, "client", lambda *_: "192.0.2.1")
        refused = await post(door, "tools/call")
        assert refused.code == 403
        assert b"MCP_ACTORS_AUTH" in refused.body
        assert len(tool.callers) == 2


@pytest.mark.settings(**OPTIONAL)
async def test_where_tokens_are_optional_agents_of_other_machines_need_one(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await post(door)).code == 200
    monkeypatch.setattr(TrustedProxies, "client", lambda *_: "192.0.2.1")
    refused = await post(door)
    assert (refused.code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert (await post(door, **bearer("ann"))).code == 200


@pytest.mark.settings(max_request_bytes=1024)
async def test_a_body_that_is_too_long_is_refused(door: Any) -> None:
    named = {name.replace("-", "_"): value for name, value in DISCOVER.items()}
    assert (await ask(door, "/mcp", "POST", b"x" * 1025, **named)).code == 413


@pytest.mark.settings(address_request_rate=0.5, address_request_burst=2)
async def test_requests_of_an_address_are_limited_as_those_of_pages(door: Any) -> None:
    assert [(await post(door)).code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
async def test_a_call_ends_with_its_client(door: Any, *, modern: bool) -> None:
    async with tool_behind(door) as tool:
        writer = await posted(door, modern=modern)
        await tool.called()
        writer.transport.abort()
        await tool.left()
        assert tool.cancelled == 1


@pytest.mark.parametrize("limits", [(2, 0), (100, 2)], ids=["in all", "of an address"])
async def test_too_many_calls_at_a_time_are_refused(door: Any, limits: tuple[int, int]) -> None:
    async with tool_behind(door, *limits) as tool:
        calls = [asyncio.create_task(post(door, "tools/call")) for _ in range(2)]
        await tool.called(2)
        refused = await post(door, "tools/call")
        assert (refused.code, refused.headers["Retry-After"]) == (503, "1")
        assert "MCP_ACTORS_MAX_MCP_REQUESTS" in json.loads(refused.body)["error"]["message"]
        tool.may_answer.set()
        assert [(await each).code for each in calls] == [200, 200]
        assert (await post(door, "tools/call")).code == 200


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
async def test_a_call_that_waits_is_answered_when_the_server_stops(door: Any, *, modern: bool) -> None:
    tool = WaitingTool()
    page, _ = serve_tool(door.app, tool)
    await page.start()
    waiting = asyncio.create_task(post(door, "tools/call", modern=modern))
    await tool.called()
    await page.stop()
    assert (await waiting).code == 503
    assert (await post(door)).code == 503


@pytest.mark.settings(access_log=True)
async def test_requests_and_refusals_are_in_the_access_log(door: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mcp_actors.access")
    await post(door, "tools/list")
    await post(door, Host="evil.example")

    def lines_now() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "mcp_actors.access"]

    await until(lambda: len(lines_now()) == 2, "two lines")
    lines = lines_now()
    assert "endpoint=mcp" in lines[0]
    assert "method=tools/list status=200" in lines[0]
    assert "status=421" in lines[1]


async def test_many_clients_that_are_cut_off_leave_nothing(door: Any) -> None:
    async with tool_behind(door) as tool:
        writers = [await posted(door, modern=number % 2 == 0) for number in range(40)]
        for turns, writer in enumerate(writers):
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            writer.transport.abort()
        async with asyncio.timeout(DEADLINE):
            assert (await post(door)).code == 200
        await tool.left()
