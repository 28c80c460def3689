"""The lifespan of an ASGI server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.adapters.asgi.lifespan import run_lifespan

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs


class Process:
    """Starts and stops, or fails to."""

    def __init__(self, failure: str = "") -> None:
        self.failure = failure
        self.did: list[str] = []

    async def start(self) -> None:
        await self._do("start")

    async def stop(self) -> None:
        await self._do("stop")

    async def _do(self, what: str) -> None:
        self.did.append(what)
        if self.failure == what:
            raise RuntimeError(f"cannot {what}")


async def run(process: Process) -> list[dict[str, Any]]:
    """What a server is told from start to stop."""
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: list[dict[str, Any]] = []
    for event in ("startup", "shutdown"):
        asked.put_nowait({"type": f"lifespan.{event}"})

    async def send(message: Any) -> None:
        told.append(message)

    await run_lifespan(process.start, process.stop, asked.get, send)
    return told


async def test_it_starts_and_stops_with_the_server() -> None:
    process = Process()
    told = await run(process)
    assert [message["type"] for message in told] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert process.did == ["start", "stop"]


@pytest.mark.parametrize("failure", ["start", "stop"])
async def test_the_server_is_told_why_it_failed(failure: str, expected_logs: ExpectedLogs) -> None:
    if failure == "stop":
        expected_logs("mcp_actors", "stopping failed")
    told = (await run(Process(failure)))[-1]
    step = {"start": "startup", "stop": "shutdown"}[failure]
    assert told == {"type": f"lifespan.{step}.failed", "message": f"cannot {failure}"}
