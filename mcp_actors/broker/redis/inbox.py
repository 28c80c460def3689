"""Reading the inbox of this node, and trimming what was read from it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import structlog

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.connection import LinkLost, pairs
from mcp_actors.broker.redis.entries import Probe, Revoked
from mcp_actors.broker.redis.offsets import END_OF_ENTRY, format_offset

if TYPE_CHECKING:
    from mcp_actors.broker.redis.bucket import Bucket
    from mcp_actors.broker.redis.connection import RedisConnection
    from mcp_actors.broker.redis.executor import Executor
    from mcp_actors.broker.redis.settings import RedisSettings
    from mcp_actors.protocol.identifiers import NodeId

log = structlog.get_logger("mcp_actors.redis")

READ_ENTRIES = 200
"""Entries read at once, unless Redis breaks the connection over a reply of that size."""

BEGINNING = b"0-0"
"""Before the first entry of an inbox."""

READ_MORE_AFTER = 60.0
"""Seconds after which twice as many entries are read at once again."""

LOOK, LOOKS = 0.005, 10
"""Seconds between looks at whether the inbox was read to its end, and how many there are at most."""

GRAIN_MS = 100
"""Entries within this time are counted as one."""


class InboxHistory:
    """The sizes of the entries that were read and not trimmed: they stay while a node that takes over may want them."""

    def __init__(self, settings: RedisSettings) -> None:
        self.bytes = 0
        self._settings = settings
        self._sizes: deque[tuple[int, int]] = deque()  # milliseconds and bytes

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, milliseconds: int, size: int) -> None:
        """Note an entry that was read."""
        self.bytes += size
        if self._sizes and milliseconds - self._sizes[-1][0] < GRAIN_MS:
            size += self._sizes.pop()[1]
        self._sizes.append((milliseconds, size))

    def trim(self, read_until: int) -> int:
        """The id (ms) before which the inbox is to be trimmed: by age, and by size if that is too much."""
        before = max(0, read_until - self._settings.window_ms)
        while self._sizes and (self._sizes[0][0] < before or self.bytes > self._settings.max_inbox_bytes):
            milliseconds, size = self._sizes.popleft()
            self.bytes -= size
            before = max(before, milliseconds + 1)
        return before


class InboxReader:
    """Reads entries into the bucket, one after another, and awaits what the listener returns for them."""

    def __init__(self, inbox: str, node: NodeId, bucket: Bucket, settings: RedisSettings) -> None:
        self.proved_at = 0.0
        """When the latest probe was read."""
        self.lag = 0
        """Entries in the inbox."""
        self.probe = 0
        self.works = asyncio.Event()
        """Set once an entry was read over the present link."""
        self.batch = READ_ENTRIES
        """Entries read at once."""
        self._batch_changed_at = 0.0
        self._inbox = inbox
        self._node = node
        self._bucket = bucket
        self._settings = settings
        self._history = InboxHistory(settings)
        self._cursor = self._start = BEGINNING
        self._stopped = False
        self._processing = asyncio.Lock()

    def rewind(self, start: bytes | None) -> None:
        """Read an inbox that is new, or on another server, from behind the entry `start`; None for the last `start`.

        Earlier entries came before this node was fenced.
        """
        self._cursor = self._start = self._start if start is None else start

    def attached(self) -> None:
        """The link is up."""
        self.proved_at = time.monotonic()

    async def run(self, connection: RedisConnection) -> None:
        """Read for ever. Raises `LinkLost`."""
        try:
            while True:
                found = await self._read(connection)
                async with self._processing:
                    await self._process_all(found)
        except LinkLost:
            if not self.works.is_set():  # Redis has a limit of its own for a reply
                self._resize_batch(max(1, self.batch // 2))
            raise

    async def _read(self, connection: RedisConnection) -> list[tuple[bytes, list[bytes]]]:
        block = self._settings.lease_ms
        if time.monotonic() - self._batch_changed_at > READ_MORE_AFTER:
            self._resize_batch(min(READ_ENTRIES, 2 * self.batch))
        command = ("XREAD", "COUNT", self.batch, "BLOCK", block, "STREAMS", self._inbox, self._cursor)
        (reply,) = await connection.send([command], wait=self._settings.lease)
        if self._stopped:
            await asyncio.Event().wait()  # until the task is cancelled
        return [entry for _, found in pairs(reply) for entry in pairs(found)]

    def _resize_batch(self, size: int) -> None:
        self.batch, self._batch_changed_at = size, time.monotonic()

    async def _process_all(self, found: list[tuple[bytes, list[bytes]]]) -> None:
        bucket = self._bucket
        for name, flat in found:
            self._process(name, flat)
            self.works.set()
            if bucket.slow:
                slow, bucket.slow = bucket.slow, []
                await asyncio.gather(*slow)

    def _process(self, name: bytes, flat: list[bytes]) -> None:
        self._cursor = name
        self._history.add(self._read_until, sum(map(len, flat)))
        try:
            news = entries.read(flat)
        except entries.UnreadableEntry as error:
            log.error("inbox entry unreadable", entry=name.decode(), error=str(error))  # noqa: TRY400 - one line
            return
        latencies, now = self._bucket.latencies, time.monotonic()
        if isinstance(news, Revoked):
            self._bucket.revocations.received(news)
        elif not isinstance(news, Probe):
            if isinstance(news, list):
                latencies.entry_read(self._read_until, now)
            self._bucket.receive(news, name)
        elif news.number == self.probe:
            self.proved_at = now
            latencies.probe_read(self._read_until, now)

    @property
    def _read_until(self) -> int:
        return int(self._cursor.partition(b"-")[0])

    async def is_read(self, executor: Executor) -> bool:
        """Whether everything is processed that the inbox held when this was called, after a moment's wait."""
        try:
            (reply,) = await executor.run([("XREVRANGE", self._inbox, "+", "-", "COUNT", 1)])
        except LinkLost:
            return False
        last = next((_id(name) for name, _ in pairs(reply)), (0, 0))
        for _ in range(LOOKS):
            if _id(self._cursor) >= last:
                break
            await asyncio.sleep(LOOK)
        return _id(self._cursor) >= last

    def trim(self) -> int:
        """The id (ms) before which the inbox is to be trimmed."""
        return self._history.trim(self._read_until)

    def note_lag(self, lag: int) -> None:
        """Note the number of entries in the inbox: few, unless this node does not keep up."""
        limit = self._settings.max_inbox_entries // 2
        if lag > limit >= self.lag:
            log.warning("inbox is filling up", entries=lag, inbox=self._inbox)
        self.lag = lag

    @property
    def offset(self) -> str:
        """The offset up to which everything was read."""
        return format_offset(self._cursor, END_OF_ENTRY, self._node).decode()

    async def stop(self) -> None:
        """Read nothing more, after the entries that are being processed."""
        self._stopped = True
        async with self._processing:
            return


def _id(name: bytes) -> tuple[int, int]:
    """The id of an entry as numbers."""
    milliseconds, _, sequence = name.partition(b"-")
    return int(milliseconds), int(sequence)
