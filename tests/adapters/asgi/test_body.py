"""Bodies of requests, as ASGI servers pass them on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_actors.adapters.asgi.body import ClientGone, TooLong, read_body
from mcp_actors.adapters.http.site import BodyLimits

LIMITS = BodyLimits(8, 30.0)


async def read(*messages: dict[str, Any], limits: BodyLimits = LIMITS, length: str = "0") -> bytes:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    for message in messages:
        queue.put_nowait({"type": "http.request", **message})
    return await read_body(queue.get, {"Content-Length": length}, limits)


async def test_a_body_may_come_in_parts() -> None:
    assert await read({"body": b"ab", "more_body": True}, {"more_body": True}, {"body": b"cd"}) == b"abcd"
    assert await read({}) == b""


async def test_a_body_that_is_too_long_is_not_read_to_its_end() -> None:
    assert await read({"body": b"12345678"}) == b"12345678"
    with pytest.raises(TooLong):
        await read({"body": b"12345", "more_body": True}, {"body": b"6789", "more_body": True})


@pytest.mark.parametrize("length", ["9", "9" * 5000])
async def test_a_body_that_says_that_it_is_too_long_is_not_read(length: str) -> None:
    with pytest.raises(TooLong):
        await read(length=length)


async def test_a_body_that_stops_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await read({"body": b"a", "more_body": True}, limits=BodyLimits(8, 0.01))


async def test_a_client_that_goes_ends_its_body() -> None:
    with pytest.raises(ClientGone):
        await read({"body": b"a", "more_body": True}, {"type": "http.disconnect"})
