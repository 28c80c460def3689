"""Clients that come while a server is attacked: how long they take to connect and to join."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random
from typing import TYPE_CHECKING

from bench.attack.raw_client import RawClient, Target, frame

if TYPE_CHECKING:
    import ssl

ADDRESS = "127.8.8.8"
"""The source address of newcomers."""

PAUSE = 0.05
"""Seconds from one newcomer to the next."""

PATIENCE = 5.0
"""Seconds for a newcomer to join; one that does not counts as having taken as long."""

LEAVE = b"\x88\x82\0\0\0\0\x03\xe8"
"""A close frame with code 1000."""


class _FromOneAddress(Target):
    def source(self) -> str:
        """See `Target`."""
        return ADDRESS


class Newcomers:
    """Newcomers to one server, one after the other, each to a room of its own."""

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        self._target = _FromOneAddress((port,), Random(0), many=False, tls=tls)  # noqa: S311 - chooses nothing
        self._count = 0

    async def come(self, seconds: float) -> list[int]:
        """Let newcomers come for some seconds. Return how long each took to join, in nanoseconds."""
        times: list[int] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            times.append(await self._come())
            await asyncio.sleep(PAUSE)
        return times

    async def _come(self) -> int:
        began = time.monotonic_ns()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._join()
        except OSError:
            return int(PATIENCE * 1e9)
        return time.monotonic_ns() - began

    async def _join(self) -> None:
        self._count += 1
        client = await RawClient.upgrade(self._target)
        try:
            join = {"type": "join", "room": f"newcomer-{self._count}", "payload": {"peer_id": "newcomer"}}
            await client.send(frame(json.dumps(join).encode()))
            answer = b""
            while b'"joined"' not in answer:
                answer += (chunk := await client.receive())
                if not chunk or b'"error"' in answer:
                    raise ConnectionRefusedError("not joined")
            await client.send(LEAVE)
        finally:
            client.close()
