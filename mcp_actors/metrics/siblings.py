"""The other worker processes of a server, which are asked for their metrics through sockets in a private directory."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger("mcp_actors.metrics")

DEADLINE = 1.0
"""Seconds in which the others have to answer, all at once."""


class Siblings:
    """The workers 1 to `count`, of which this one is `number`. Each listens on a socket in the directory."""

    def __init__(self, directory: str, number: int, count: int) -> None:
        self.number = number
        self.count = count
        self._directory = Path(directory)
        self._others = [other for other in range(1, count + 1) if other != number]
        self._server: asyncio.Server | None = None

    async def listen(self, answer: Callable[[], Awaitable[bytes]]) -> None:
        """Answer each connection. A directory that is gone or cannot be used is logged: then nobody can ask here."""

        async def answered(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                writer.write(await answer())
                await writer.drain()
            writer.close()

        path = self._path(self.number)
        try:
            path.unlink(missing_ok=True)  # of the process before this one
            self._server = await asyncio.start_unix_server(answered, path)
        except OSError as error:
            log.warning("metrics of this process cannot be asked for by the others", path=str(path), reason=str(error))

    async def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    async def ask(self) -> dict[int, bytes]:
        """Return the answers of the others that came in time."""
        answers = await asyncio.gather(*map(self._ask, self._others))
        return {number: answer for number, answer in zip(self._others, answers, strict=True) if answer}

    async def _ask(self, number: int) -> bytes:
        """Return the answer of one; empty if it does not answer."""
        writer = None
        try:
            async with asyncio.timeout(DEADLINE):
                reader, writer = await asyncio.open_unix_connection(self._path(number))
                return await reader.read()
        except (OSError, TimeoutError):
            return b""
        finally:
            if writer is not None:
                writer.close()

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.sock"
