"""The body of a request, read from an ASGI server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.asgi.interface import Receive
    from mcp_actors.adapters.http.site import BodyLimits


class TooLong(Exception):
    """The body has more bytes than it may."""


class ClientGone(Exception):
    """The client has closed the connection."""


async def read_body(receive: Receive, headers: Mapping[str, str], limits: BodyLimits) -> bytes:
    """Return the body of a request. Raises `TooLong`, `TimeoutError` and `ClientGone`."""
    length = headers.get("Content-Length", "0")
    if length.isdecimal() and int(length[:20]) > limits.max_bytes:
        raise TooLong
    async with asyncio.timeout(limits.timeout):
        return await _read(receive, limits.max_bytes)


async def _read(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise TooLong
        if not message.get("more_body", False):
            return b"".join(parts)
