"""One scrape: of this process, and of its siblings if it is one of several workers.

Counts are read in the event loop. Text is made of them in a thread, as that takes milliseconds for each process.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from mcp_actors.metrics.exposition import Snapshot, expose, read_library
from mcp_actors.metrics.readings import Reading, read

if TYPE_CHECKING:
    from mcp_actors.metrics.exposition import Exposition
    from mcp_actors.metrics.readings import Sources
    from mcp_actors.metrics.siblings import Siblings

LIBRARY = "prometheus_client"

_decode = msgspec.msgpack.Decoder(Snapshot).decode
_encode = msgspec.msgpack.Encoder().encode


class Scrapes:
    """Answers scrapes of a process. With `siblings`, it asks them, too, and each series has the label `process`."""

    def __init__(self, sources: Sources, siblings: Siblings | None = None) -> None:
        self.sources = sources
        self._siblings = siblings

    async def start(self) -> None:
        """Answer the siblings."""
        if self._siblings is not None:
            await self._siblings.listen(self._answer)

    async def stop(self) -> None:
        """Answer them no more."""
        if self._siblings is not None:
            await self._siblings.stop()

    async def scrape(self, accept: str = "") -> Exposition:
        """Return the metrics of all processes. `accept`: the header of the request."""
        await _import_library()
        if self._siblings is None:
            return await asyncio.to_thread(expose, {"": self._snapshot()}, accept)
        answers = await self._siblings.ask()
        found = {self._siblings.number: self._snapshot()}
        for number, answer in answers.items():
            with suppress(msgspec.DecodeError):  # it died while it answered
                found[number] = _decode(answer)
        missing = self._siblings.count - len(found)
        found[self._siblings.number].readings.append(Reading("scrape_missing_processes", missing))
        return await asyncio.to_thread(expose, {str(number): found[number] for number in sorted(found)}, accept)

    async def _answer(self) -> bytes:
        await _import_library()
        return _encode(self._snapshot())

    def _snapshot(self) -> Snapshot:
        return Snapshot(read(self.sources), read_library())


async def _import_library() -> None:
    """Import prometheus_client, the first time."""
    if LIBRARY not in sys.modules:
        await asyncio.to_thread(import_module, LIBRARY)
