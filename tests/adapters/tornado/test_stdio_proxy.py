"""`mcp-actors mcp`: the official client starts it as hosts do, against a running server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client, StdioServerParameters

from mcp_actors.adapters.tornado.stdio_proxy import ProxyError, StdioProxy, websocket_url
from tests.support.client import DEADLINE
from tests.support.loop import until
from tests.support.tokens import REQUIRED, bearer, token
from tests.support.waiting_tool import WaitingTool, call, serve_tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "i",
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Host:
    """A host in this process, which writes and reads lines."""

    def __init__(self, server: Server, **headers: str) -> None:
        self.lines = asyncio.StreamReader()
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        proxy = StdioProxy(
            server.url("/ws/mcp/"), token, self.lines, lambda line: self.heard.put_nowait(json.loads(line))
        )
        self.running = asyncio.create_task(proxy.run())

    def write(self, *messages: Any) -> None:
        """Write lines."""
        for message in messages:
            self.lines.feed_data((message if isinstance(message, str) else json.dumps(message)).encode() + b"\n")

    async def hear(self) -> Any:
        """Return the next line."""
        return await asyncio.wait_for(self.heard.get(), DEADLINE)

    async def end(self) -> None:
        """End the input, and wait for the proxy."""
        self.lines.feed_eof()
        await asyncio.wait_for(self.running, DEADLINE)


@pytest.mark.parametrize(
    ("url", "websocket"),
    [
        ("http://localhost:8000", "ws://localhost:8000/ws/mcp/"),
        ("localhost:8000", "ws://localhost:8000/ws/mcp/"),
        ("https://example.com/", "wss://example.com/ws/mcp/"),
        ("https://example.com/mcp", "wss://example.com/ws/mcp/"),
        ("https://example.com/signal/mcp", "wss://example.com/signal/ws/mcp/"),
        ("wss://example.com/ws/mcp", "wss://example.com/ws/mcp/"),
        ("ws://[::1]:8000/ws/mcp/?a=b", "ws://[::1]:8000/ws/mcp/?a=b"),
    ],
)
def test_a_server_is_named_by_any_of_its_urls(url: str, websocket: str) -> None:
    assert websocket_url(url) == websocket


@pytest.mark.parametrize("url", ["ftp://example.com", "http://", ""])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ProxyError, match="http://localhost:8000"):
        websocket_url(url)


@pytest.mark.settings(**REQUIRED)
async def test_a_host_starts_it_as_a_command(server: Server, tmp_path: Path) -> None:
    environ = {**os.environ, "MCP_ACTORS_TOKEN": token("ann")}
    arguments = ["-m", "mcp_actors", "mcp", f"http://127.0.0.1:{server.port}"]
    command = StdioServerParameters(command=sys.executable, args=arguments, env=environ, cwd=tmp_path)
    async with Client(command) as client:
        result = await client.call_tool("list_rooms", {})
    assert result.structured_content is not None
    assert result.structured_content["rooms"] == []


@pytest.mark.settings(**REQUIRED)
async def test_it_says_why_the_server_refuses_it(server: Server, tmp_path: Path) -> None:
    status, told = await _start(tmp_path, f"http://127.0.0.1:{server.port}", "--token", "nonsense")
    assert status == 1
    assert told.startswith(f"mcp-actors: ws://127.0.0.1:{server.port}/ws/mcp/ refuses this agent: ")
    with pytest.raises(ProxyError, match="Send an access token"):
        await Host(server).running


@pytest.mark.settings(mcp=False)
async def test_it_says_so_where_agents_are_not_served(server: Server) -> None:
    with pytest.raises(ProxyError, match="MCP_ACTORS_MCP=true"):
        await Host(server).running


async def test_it_says_that_there_is_no_server() -> None:
    proxy = StdioProxy("ws://127.0.0.1:1/ws/mcp/", "", asyncio.StreamReader(), lambda _line: None)
    with pytest.raises(ProxyError, match="cannot connect to ws://127"):
        await proxy.run()


async def test_what_is_under_way_at_the_end_of_the_input_is_answered(server: Server) -> None:
    host = Host(server)
    host.write("nonsense")
    assert (await host.hear())["error"]["code"] == -32700
    host.write("", call(3, "server/discover"))
    await host.end()
    assert (await host.hear())["id"] == 3


async def test_a_lost_connection_is_made_again_as_the_host_had_begun(server: Server) -> None:
    tool = WaitingTool()
    serve_tool(server.app, tool)
    host = Host(server)
    host.write(INITIALIZE, INITIALIZED)
    assert (await host.hear())["id"] == "i"
    host.write(call(7, modern=False))
    await tool.called()
    for connection in server.app.connections:
        connection.drop()
    lost = await host.hear()
    assert (lost["id"], lost["error"]["code"]) == (7, -32000)
    tool.may_answer.set()
    host.write(call(8, modern=False))
    answer = await host.hear()
    assert (answer["id"], "result" in answer) == (8, True)
    await host.end()


async def test_a_cancelled_call_is_not_waited_for(server: Server) -> None:
    tool = WaitingTool()
    serve_tool(server.app, tool)
    host = Host(server)
    host.write(call(1))
    await tool.called()
    host.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    await host.end()
    await tool.left()
    assert host.heard.empty()


@pytest.mark.settings(auth_leeway=0, **REQUIRED)
async def test_it_ends_when_its_token_is_not_good_any_more(server: Server) -> None:
    host = Host(server, **bearer("ann", 1))
    with pytest.raises(ProxyError, match="refuses this agent"):
        await asyncio.wait_for(host.running, DEADLINE)
    await until(lambda: len(server.app.connections) == 0, "no connection is left")


async def test_standard_input_that_is_no_pipe_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert await _start(tmp_path, "http://localhost:1", stdin=asyncio.subprocess.DEVNULL) == (
        1,
        "mcp-actors: standard input must be a pipe: hosts start this command, and talk to it there\n",
    )


async def _start(directory: Path, *arguments: str, stdin: int = asyncio.subprocess.PIPE) -> tuple[int | None, str]:
    """Start the command, and return its exit status and what it says to people."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mcp_actors", "mcp", *arguments),
        cwd=directory,
        stdin=stdin,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await asyncio.wait_for(process.communicate(), DEADLINE)
    return process.returncode, told.decode()
