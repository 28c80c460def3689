"""An agent: the official client of the Model Context Protocol, in memory, and what it may do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp import Client

from mcp_actors.adapters.mcp.caller import Caller, current
from mcp_actors.auth.grants import DEFAULT_PERMISSIONS, Grant, Permission
from tests.support.tokens import token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

    from mcp.client.subscriptions import Subscription
    from mcp_types import CallToolResult

    from mcp_actors.adapters.mcp.application import Application

FAR = 4e9
"""A time at which no test runs any more."""


class Agent:
    """A client whose requests come from `caller`."""

    def __init__(self, client: Client, caller: Caller) -> None:
        self.client = client
        self.caller = caller

    async def result(self, tool: str, **arguments: Any) -> CallToolResult:
        """Call a tool and return everything that it answers."""
        current.set(self.caller)
        return await self.client.call_tool(tool, arguments)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that succeeds, and return its structured result."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """Call a tool that fails, and return what the model is told."""
        result = await self.result(tool, **arguments)
        assert result.is_error, result.structured_content
        return "".join(getattr(part, "text", "") for part in result.content)

    def listen(self, **wanted: Any) -> AbstractAsyncContextManager[Subscription]:
        """Open a stream of updates."""
        current.set(self.caller)
        return self.client.listen(**wanted)

    async def tools(self) -> list[str]:
        """Return the names of its tools."""
        current.set(self.caller)
        return [tool.name for tool in (await self.client.list_tools(cache_mode="bypass")).tools]


@asynccontextmanager
async def agent(
    application: Application | None, caller: Caller | None = None, mode: str = "auto"
) -> AsyncIterator[Agent]:
    """Connect an agent to an application, by default one without a token."""
    assert application is not None
    caller = Caller("127.0.0.1") if caller is None else caller
    before = current.set(caller)
    try:
        async with Client(application.server, mode=mode) as client:
            yield Agent(client, caller)
    finally:
        current.reset(before)


def holder(sub: str, *rooms: str, address: str = "127.0.0.1", can: Iterable[str] = DEFAULT_PERMISSIONS) -> Caller:
    """Return a caller with an access token, for all rooms if none are named."""
    grant = Grant(sub, rooms or None, frozenset(map(Permission, can)), FAR)
    text = token(sub, 3600, rooms=list(rooms) or None, can=list(can))
    return Caller(address, text, grant, is_operator=Permission.ADMIN in grant.can)
