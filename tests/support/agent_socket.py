"""A WebSocket of an agent, and messages on it as JSON."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def agent_socket(
    door: Any, *subprotocols: str, path: str = "/ws/mcp/", **headers: str
) -> AsyncIterator[ClientConnection]:
    """A connection of an agent."""
    offered = [Subprotocol(name) for name in subprotocols or ("mcp",)]
    async with connect(
        door.url(path), subprotocols=offered, additional_headers=headers, proxy=None, close_timeout=1
    ) as socket:
        yield socket


async def ask(socket: ClientConnection, request: Any) -> Any:
    """Send a message, and return the next one that comes."""
    await socket.send(request if isinstance(request, str) else json.dumps(request))
    return json.loads(await asyncio.wait_for(socket.recv(), DEADLINE))


async def close_code(socket: ClientConnection) -> int | None:
    """Read until the server closes, and return the code."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(DEADLINE):
            async for _ in socket:
                pass
    return socket.close_code
