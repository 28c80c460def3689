"""Servers that answer as Redis would, or as it would not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mcp_actors.broker.redis.connection import Address
from tests.support.loop import scheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Impostor:
    """A server that answers what it is told to, and remembers what it was sent. Without an answer it hangs up."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.answers = list(answers)
        self.received = b""
        self.writers: list[asyncio.StreamWriter] = []
        self.address = Address("127.0.0.1", 0)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.writers.append(writer)
        while data := await reader.read(65_536):
            self.received += data
            if not self.answers:
                break
            writer.write(self.answers.pop(0))
        writer.close()


@asynccontextmanager
async def impostor_of(answers: Sequence[bytes]) -> AsyncIterator[Impostor]:
    impostor = Impostor(answers)
    server = await asyncio.start_server(impostor, "127.0.0.1", 0)
    impostor.address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield impostor
    finally:
        server.close()
        for writer in impostor.writers:
            writer.close()
        await scheduler(5)


def bulk(text: str) -> bytes:
    """A string, as Redis replies it."""
    return f"${len(text.encode())}\r\n{text}\r\n".encode()
