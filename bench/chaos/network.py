"""TCP proxies that behave as a bad network does: they hold data back, delay them, or cut connections when asked to."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from random import Random
    from types import TracebackType

Way = Literal["up", "down"]
"""The direction of data: up to the server behind a path, or down from it."""

BOTH: tuple[Way, ...] = ("up", "down")
CHUNK = 65536


class Path:
    """A proxy to a local port, with a port of its own.

    As with TCP over a network that drops packets, bytes are late, but never lost or reordered. Meanwhile new
    connections get no answer, and the end of a connection does not get through either. Methods may be called by any
    thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int, rng: Random) -> None:
        self.port = 0
        self._loop = loop
        self._target = target
        self._rng = rng
        self._clear: dict[Way, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._latency, self._stall, self._stalled_share = 0.0, 0.0, 0.0
        self._server: asyncio.Server
        self._sinks: set[asyncio.StreamWriter] = set()
        self.mend()

    async def listen(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Abort all connections and accept no more."""
        self._server.close()
        self.delay(0.0)
        self.mend()
        self._abort()

    def hold(self, *ways: Way) -> None:
        """Let nothing through in these directions until `mend`."""
        for way in ways:
            self._loop.call_soon_threadsafe(self._clear[way].clear)

    def mend(self) -> None:
        """Let everything through, beginning with what was held."""
        for event in self._clear.values():
            self._loop.call_soon_threadsafe(event.set)

    def delay(self, latency: float, stall: float = 0.0, share: float = 0.0) -> None:
        """Delay data by `latency` seconds, and a share of them by `stall` more, as if sent again after a loss."""
        self._latency, self._stall, self._stalled_share = latency, stall, share

    def cut(self) -> None:
        """Abort all connections; what was on its way is lost."""
        self._loop.call_soon_threadsafe(self._abort)

    def redirect(self, target: int) -> None:
        """Connect further connections to another local port, as a load balancer does when a server is gone."""
        self._target = target

    def _abort(self) -> None:
        for sink in list(self._sinks):
            sink.transport.abort()

    async def _accept(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        try:
            for way in BOTH:
                await self._cross(way)
            far, to_far = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            to_near.transport.abort()
            return
        if not self._server.is_serving():  # the path was closed meanwhile
            to_near.transport.abort()
            to_far.transport.abort()
            return
        await asyncio.gather(self._pump("up", near, to_far), self._pump("down", far, to_near))

    async def _pump(self, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._sinks.add(sink)
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await self._cross(way)
                if sink.is_closing():
                    break
                sink.write(data)
                await sink.drain()
        await self._cross(way)
        sink.close()
        self._sinks.discard(sink)

    async def _cross(self, way: Way) -> None:
        if self._latency:
            await asyncio.sleep(self._latency + self._stall * (self._rng.random() < self._stalled_share))
        await self._clear[way].wait()


class Network:
    """A thread that runs paths; a context. The thread has a loop of its own, so that a busy bench delays nothing."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._loop = asyncio.new_event_loop()
        self._paths: list[Path] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def path(self, target: int) -> Path:
        """Return a new path to a local port."""
        made = Path(self._loop, target, self._rng)
        asyncio.run_coroutine_threadsafe(made.listen(), self._loop).result()
        self._paths.append(made)
        return made

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        for path in self._paths:
            await path.close()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
