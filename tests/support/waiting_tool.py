"""A server of the SDK whose only tool waits until it is told to answer, and tells who has called it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcp.server.lowlevel import Server
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool

from mcp_actors.adapters.mcp.caller import Caller, current
from mcp_actors.adapters.mcp.http_page import McpPage
from mcp_actors.adapters.mcp.request_slots import RequestSlots
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp_actors.adapters.mcp.access import Access
    from mcp_actors.adapters.mcp.websocket_route import AgentRoute
    from mcp_actors.app import App

MODERN = "2026-07-28"
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


class WaitingTool:
    """`callers`: those of all calls. `waiting` calls have not been answered; `cancelled` ones never will be."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.headers: list[dict[str, str]] = []
        self.waiting = self.cancelled = 0
        self.may_answer = asyncio.Event()
        self.server: Server[Any] = Server("waiting", on_list_tools=self._list, on_call_tool=self._call)

    async def called(self, times: int = 1) -> None:
        """Wait until the tool was called so often."""
        await until(lambda: len(self.callers) >= times, f"{times} calls")

    async def left(self) -> None:
        """Wait until no call waits."""
        await until(lambda: not self.waiting, "no call waits")

    async def _list(self, _context: Any, _params: Any) -> ListToolsResult:
        return ListToolsResult(tools=[Tool(name="wait", input_schema={"type": "object"})])

    async def _call(self, context: Any, _params: Any) -> CallToolResult:
        self.callers.append(current.get())
        self.headers.append(dict(getattr(context.request, "headers", {})))
        self.waiting += 1
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return CallToolResult(content=[TextContent(text="done")])


def call(request_id: int = 1, method: str = "tools/call", *, modern: bool = True) -> dict[str, Any]:
    """A request, by default a call of the tool."""
    params: dict[str, Any] = {"_meta": ENVELOPE} if modern else {}
    if method == "tools/call":
        params |= {"name": "wait", "arguments": {}}
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def call_headers(method: str = "tools/call", *, modern: bool = True) -> dict[str, str]:
    """The headers of the request over HTTP."""
    if not modern:
        return {**ACCEPT, "MCP-Protocol-Version": "2025-11-25"}
    name = {"Mcp-Name": "wait"} if method == "tools/call" else {}
    return {**ACCEPT, "MCP-Protocol-Version": MODERN, "Mcp-Method": method, **name}


def serve_tool(app: App, tool: WaitingTool, limit: int = 100, address_limit: int = 100) -> tuple[McpPage, RequestSlots]:
    """Put the tool in place of what the ways in of a server lead to."""
    own = app.mcp_page
    assert own is not None
    access: Access = own._access
    slots = RequestSlots(limit, address_limit)
    page = McpPage(tool.server, access, app.policy, slots, app.access_log, max_body_bytes=16_384)
    app.site.add("/mcp", page)
    for path in ("/ws/mcp", "/ws/mcp/"):
        route: Any = app.site._routes[path]
        agents: AgentRoute = route.by_subprotocol["mcp"]
        agents._server, agents._slots = tool.server, slots
    return page, slots
