"""The ways of the official client of the Model Context Protocol to a server: HTTP, and a WebSocket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.client._transport import TransportStreams


@asynccontextmanager
async def over_http(url: str, **headers: str) -> AsyncIterator[TransportStreams]:
    """Streamable HTTP, with headers of every request."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        yield streams


@asynccontextmanager
async def over_websocket(url: str, **headers: str) -> AsyncIterator[TransportStreams]:
    """A WebSocket: one JSON-RPC message in each text frame. The SDK has had no such client since its version 2."""
    async with connect(
        url, subprotocols=[Subprotocol("mcp")], additional_headers=headers, proxy=None, close_timeout=1
    ) as socket:
        assert socket.subprotocol == "mcp"
        to_client: Any = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        from_client: Any = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, socket, to_client[0])
            tasks.start_soon(_write, socket, from_client[1])
            yield to_client[1], from_client[0]
            tasks.cancel_scope.cancel()


async def _read(socket: ClientConnection, inbound: Any) -> None:
    async with inbound:
        try:
            async for text in socket:
                await inbound.send(SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False)))
        except ConnectionClosed:
            return


async def _write(socket: ClientConnection, outbound: Any) -> None:
    async with outbound:
        async for message in outbound:
            await socket.send(message.message.model_dump_json(by_alias=True, exclude_unset=True))
