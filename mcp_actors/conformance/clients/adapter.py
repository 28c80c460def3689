"""The client that is judged, in a process of its own that reads commands and writes events, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Hear = Callable[[dict[str, Any]], None]

MAX_LINE = 2**20
END_SECONDS = 5.0
"""Seconds for which a process may go on after its last command."""


class Adapter(Protocol):
    """Carries out commands with one client. Made with a function that it calls with each event."""

    async def tell(self, command: dict[str, Any]) -> None:
        """Begin a command."""

    async def end(self) -> None:
        """End the client."""


class ProcessAdapter:
    """See `Adapter`: `command` is started with the first command, and ended when its stdin ends."""

    def __init__(self, command: Sequence[str], hear: Hear, *, end_seconds: float = END_SECONDS) -> None:
        self._command, self._hear, self._end_seconds = command, hear, end_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def tell(self, command: dict[str, Any]) -> None:
        """See `Adapter`."""
        process = self._process or await self._start()
        assert process.stdin  # noqa: S101 - a pipe
        process.stdin.write(json.dumps(command).encode() + b"\n")
        with suppress(ConnectionError):  # it has ended, as the missing events will show
            await process.stdin.drain()

    async def end(self) -> None:
        """See `Adapter`."""
        if not self._process or not self._reading:
            return
        assert self._process.stdin  # noqa: S101 - a pipe
        self._process.stdin.close()
        try:
            async with asyncio.timeout(self._end_seconds):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, limit=MAX_LINE)
        self._reading = asyncio.create_task(self._read(self._process))
        return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout  # noqa: S101 - a pipe
        async for line in process.stdout:
            self._hear(json.loads(line))
