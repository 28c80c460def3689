"""The link of this node to one bucket of Redis: attached, or trying to be.

Two connections, one that writes and one that reads, live and die together. While they live, three tasks use them: one
writes what waits, one reads the inbox, one renews the lease, which proves that the other two work. When anything
breaks, both are closed, and after a pause the node attaches anew; what it finds then says what to mend:

    attached as before              what was not answered is written again
    another run of the server       it may have lost data: rooms are synchronized, what was sent lately is sent again
    declared dead meanwhile         the others saw this node's members leave: so do they; what waited is void
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import ResponseError

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.bucket import Bucket
from mcp_actors.broker.redis.connection import LinkLost, RedisConnection, Unusable
from mcp_actors.broker.redis.entries import Probe
from mcp_actors.broker.redis.estate import WHOLE, place
from mcp_actors.broker.redis.outgoing import Call
from mcp_actors.broker.redis.reaper import Execute, Reaper
from mcp_actors.broker.redis.scripts import ATTACH, BEAT, BYE, RETIRE, SCRIPTS
from mcp_actors.protocol.events import LeaveReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcp_actors.broker import Listener
    from mcp_actors.broker.redis.bucket import RedisSettings
    from mcp_actors.broker.redis.connection import Command, Reply, Server
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.topology import Topology
    from mcp_actors.protocol.identifiers import Incarnation, NodeId

log = structlog.get_logger("mcp_actors.redis")

PROTOCOL = "3"
"""The version of what lies in Redis: nodes of different ones do not work together."""

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between attempts to attach that fail, doubled each time, times a random factor between 0.5 and 1.5."""

READ_GRAIN = 100
"""Milliseconds of an inbox that are counted as one."""

READ_ENTRIES = 200
"""Entries read in one go."""

TEND = 0.1
"""Seconds between looks at what waits for time to pass."""

BEATS = 3
"""Renewals of the lease in its time: the second may fail, and a dead node is found within 1.4 leases."""

RECOVERY = 1000
"""Milliseconds after a restart of the server in which joins wait, so that all nodes have announced their members."""

INBOX_LIFE = 10
"""Leases after which an inbox that nobody renews is gone, but a minute at least."""


class Link:
    """See the module's docstring. `bury` is told of each node that is lost for good, and whom it took along."""

    def __init__(
        self,
        keys: Keys,
        buckets: int,
        node: NodeId,
        topology: Topology,
        tell: Listener,
        settings: RedisSettings,
        bury: Callable[[NodeId, list[Incarnation]], None],
    ) -> None:
        self._wake = asyncio.Event()
        self.bucket = Bucket(keys, node, tell, settings, self._wake.set, time.monotonic)
        self._keys = keys
        self._buckets = buckets
        self._node = node
        self._inbox = keys.inbox(node)
        self._topology = topology
        self._settings = settings
        self._lease = settings.lease
        self._connections: tuple[RedisConnection, RedisConnection] | None = None
        self._run_id = ""
        self._cursor = b"0-0"
        self._read_at = self._lost_at = self._judges_from = 0.0
        self._probe = 0
        self._lag = 0
        self._away_said = False
        self._is_reading = True
        self._taking = asyncio.Lock()
        self._history: deque[tuple[int, int]] = deque()  # of what was read and not cut: milliseconds and bytes
        self._history_bytes = 0
        self._bury = bury

    # --------------------------------------------------------------------------------------------------- life of a link

    async def open(self) -> Server:
        """Attach for the first time. Raises `LinkLost` and `Unusable`."""
        try:
            return await self._attach()
        except BaseException:
            self.hang_up()
            raise

    async def run(self) -> None:
        """Keep the link, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tend())
            pause = FIRST_PAUSE
            while True:
                try:
                    if self._connections is None:
                        await self._attach()
                    pause = 0.0
                    await self._serve()
                except* (LinkLost, Unusable) as lost:
                    self._say_away(lost.exceptions[0])
                except* Exception:
                    pause = LONGEST_PAUSE
                    log.exception("the link to redis failed", bucket=self._keys.bucket)
                finally:
                    self.hang_up()
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                pause = min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)

    async def close(self) -> None:
        """Say good-bye, if that is possible, and hang up; `run` was cancelled before."""
        keys, node = self._keys, self._node
        self.hang_up()
        named = (keys.nodes, keys.rooms_of(node), keys.inbox(node), keys.config)
        try:
            connection = await RedisConnection.open(await self._topology.primary(keys.slot), self._topology.access)
        except (LinkLost, Unusable):
            return
        try:
            if not await connection.one("EVAL", BYE.text, len(named), *named, node):
                window = int(self._settings.resume_window * 1000)
                await connection.one("EVAL", RETIRE.text, 1, keys.nodes, node, window)
        except (LinkLost, ResponseError):
            return
        finally:
            connection.close()

    @property
    def idle(self) -> bool:
        """Whether this node has nothing left to ask or to say."""
        return self.bucket.idle

    async def _serve(self) -> None:
        connections = self._connections
        if connections is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(connections[0]))
            group.create_task(self._read(connections[1]))
            group.create_task(self._beat(group))

    def hang_up(self) -> None:
        """Close the connections, if there are any; what was asked over them will be asked again."""
        connections, self._connections = self._connections, None
        for connection in connections or ():
            connection.close()
        if self.bucket.up:
            self._lost_at = time.monotonic()
            self.bucket.detached()

    def _say_away(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not self._away_said:
            self._away_said = True
            log.warning("redis is away", bucket=self._keys.bucket, reason=str(error))

    # ---------------------------------------------------------------------------------------------------------- attach

    async def _attach(self) -> Server:
        access = self._topology.access
        address = await self._topology.primary(self._keys.slot)
        writer = await RedisConnection.open(address, access)
        try:
            reader = await RedisConnection.open(address, access)
        except BaseException:
            writer.close()
            raise
        self._connections = (writer, reader)
        server = await writer.server()
        for reply in await writer.send([("SCRIPT", "LOAD", script.text) for script in SCRIPTS]):
            if isinstance(reply, ResponseError):
                raise Unusable(f"Redis at {address} refuses SCRIPT LOAD, which this server needs: {reply}.")
        if (await reader.server()).run_id != server.run_id:
            raise LinkLost(f"Redis at {address} restarted just now")
        word, fenced = await self._register(writer, server.run_id)
        self._attached(server, word, fenced=fenced)
        return server

    async def _register(self, writer: RedisConnection, run_id: str) -> tuple[bytes, bool]:
        """The word that `attach` replied at last, and whether this node was declared dead."""
        word = await self._try_to_register(writer, run_id, anew=False)
        if word not in (b"WAIT", b"GONE"):
            return word, False
        if word == b"WAIT":
            await self._reaper(writer.send, run_id).reap(self._node)
        return await self._try_to_register(writer, run_id, anew=True), True

    async def _try_to_register(self, writer: RedisConnection, run_id: str, *, anew: bool) -> bytes:
        keys = self._keys
        named = (keys.nodes, self._inbox, keys.config, keys.tombstone(self._node))
        who = (self._node, self._lease_ms, self._inbox_ms, PROTOCOL, self._buckets, "1" if anew else "")
        known = bool(self._run_id)
        how = (run_id, "1" if known and run_id != self._run_id else "", "1" if known else "", RECOVERY)
        try:
            reply = await writer.one("EVALSHA", ATTACH.digest, len(named), *named, *who, *how)
        except ResponseError as error:
            raise LinkLost(f"Redis refuses to register this node: {error}") from None
        word: bytes = reply[0]
        if word == b"CONFIG":
            raise Unusable(_misfit(reply[1].decode(), reply[2].decode(), self._buckets))
        return word

    @property
    def _lease_ms(self) -> int:
        return int(self._lease * 1000)

    @property
    def _inbox_ms(self) -> int:
        return max(60_000, INBOX_LIFE * self._lease_ms, int(2000 * self._settings.resume_window))

    def _attached(self, server: Server, word: bytes, *, fenced: bool) -> None:
        same = server.run_id == self._run_id
        if word == b"NEW" or not same:
            self._cursor = b"0-0"
        self._run_id = server.run_id
        now = self._read_at = time.monotonic()
        if now - self._lost_at > self._lease / BEATS:
            self._judges_from = now + self._lease  # Redis may have been away: all nodes look dead, and need time
        if fenced:
            log.warning("this node was declared dead; its members are told to join again", node=self._node)
        self.bucket.attached(server.run_id, fenced=fenced, lost=same and word == b"NEW" and not fenced)
        if self._away_said:
            self._away_said = False
            log.info("redis is back", bucket=self._keys.bucket, same_run=same, with_its_data=word == b"OK")

    # ------------------------------------------------------------------------------------------------- while it is up

    async def _write(self, connection: RedisConnection) -> None:
        outgoing = self.bucket.outgoing
        while True:
            if not outgoing:
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(0)  # what else this turn of the loop has to say goes along
            batch = outgoing.take()
            try:
                replies = await connection.send(batch.commands)
            except BaseException:
                outgoing.give_back(batch)
                raise
            outgoing.settle(batch, replies, time.monotonic())

    async def _read(self, connection: RedisConnection) -> None:
        block, bucket = self._lease_ms, self.bucket
        while True:
            command = ("XREAD", "COUNT", READ_ENTRIES, "BLOCK", block, "STREAMS", self._inbox, self._cursor)
            (reply,) = await connection.send([command], wait=self._lease)
            if not self._is_reading:
                await asyncio.Event().wait()  # until the node has stopped
            if isinstance(reply, ResponseError):
                raise LinkLost(f"Redis refuses to read the inbox: {reply}")
            async with self._taking:
                for name, flat in reply[0][1] if reply else ():
                    self._cursor = name
                    self._note_read(name, flat)
                    self._take(name, flat)
                    if bucket.slow:
                        slow, bucket.slow = bucket.slow, []
                        await asyncio.gather(*slow)

    def _take(self, name: bytes, flat: list[bytes]) -> None:
        try:
            news = entries.read(flat)
        except Exception as error:
            entry = name.decode()
            log.error("an entry of the inbox cannot be read", entry=entry, error=repr(error))  # noqa: TRY400 - one line
            return
        if not isinstance(news, Probe):
            self.bucket.take(news, name)
        elif news.number == self._probe:
            self._read_at = time.monotonic()

    async def _beat(self, group: asyncio.TaskGroup) -> None:
        reaping: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(self._lease / BEATS * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
            now = time.monotonic()
            if now - self._read_at > self._lease:
                raise LinkLost("the inbox is not being read")
            self._probe += 1
            named = (self._keys.nodes, self._inbox, self._keys.config)
            arguments = (self._node, self._lease_ms, self._inbox_ms, self._probe, self._cut())
            (reply,) = await self._execute([("EVALSHA", BEAT.digest, len(named), *named, *arguments)])
            if reply[0] != b"OK":
                raise LinkLost("this node was declared dead")
            self._note_lag(reply[2])
            if reply[1] and now > self._judges_from and (reaping is None or reaping.done()):
                reaping = group.create_task(self._reap())

    def _cut(self) -> int:
        """Where to cut the inbox (ms): what was read stays while one may want it who takes over, unless it is much."""
        cut = int(self._cursor.partition(b"-")[0]) - int(self._settings.resume_window * 1000)
        while self._history and (self._history[0][0] < cut or self._history_bytes > self._settings.max_inbox_bytes):
            milliseconds, size = self._history.popleft()
            self._history_bytes -= size
            cut = max(cut, milliseconds + 1)
        return cut

    def _note_read(self, name: bytes, flat: list[bytes]) -> None:
        size = sum(map(len, flat))
        milliseconds = int(name.partition(b"-")[0])
        self._history_bytes += size
        if self._history and milliseconds - self._history[-1][0] < READ_GRAIN:
            size += self._history.pop()[1]
        self._history.append((milliseconds, size))

    @property
    def place(self) -> str:
        """The place in the inbox up to which all was read."""
        return place(self._cursor, WHOLE, self._node).decode()

    async def stop_reading(self) -> None:
        """Read no more of the inbox, from the end of what is being read on."""
        self._is_reading = False
        async with self._taking:
            return

    def _note_lag(self, lag: int) -> None:
        """How many entries lie in the inbox: those of a beat, unless this node does not keep up."""
        limit = self._settings.max_inbox_entries // 2
        if lag > limit >= self._lag:
            log.warning("this node does not keep up with what the others send", entries=lag, bucket=self._keys.bucket)
        self._lag = lag

    async def _reap(self) -> None:
        reaper = self._reaper(self._execute, self._run_id)
        window = self._settings.resume_window
        for dead, over, just_now in await reaper.condemn():
            if dead == self._node:
                continue
            if just_now:
                log.warning("a node is lost", node=dead)
            if window and not over:
                await reaper.set_away(dead)
                continue
            rooms, gone = await reaper.reap(dead, LeaveReason.TIMEOUT if window else LeaveReason.NODE_LOST)
            self.bucket.counters.reaped += 1
            log.info("a node is forgotten", node=dead, rooms=rooms)
            self._bury(dead, gone)

    def _reaper(self, execute: Execute, run_id: str) -> Reaper:
        settings = self._settings
        return Reaper(execute, self._keys, run_id, settings.max_inbox_entries, settings.resume_window)

    async def _execute(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands among all others, and wait for their replies. Raises `LinkLost` if one is refused."""
        loop = asyncio.get_running_loop()
        replies = [loop.create_future() for _ in commands]
        for command, reply in zip(commands, replies, strict=True):
            self.bucket.outgoing.call(Call(command, lambda value, reply=reply: reply.done() or reply.set_result(value)))  # type: ignore[misc]
        self._wake.set()
        values: list[Any] = await asyncio.gather(*replies)
        for value in values:
            if isinstance(value, ResponseError):
                raise LinkLost(f"Redis refuses a command: {value}")
        return values

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND)
            try:
                self.bucket.tend()
            except Exception:
                log.exception("looking after rooms failed", bucket=self._keys.bucket)

    def health(self) -> dict[str, Any]:
        """What an operator may want to know of this link."""
        age = time.monotonic() - self._read_at if self._read_at else None
        return {
            "up": self.bucket.up,
            "proved_seconds_ago": None if age is None else round(age, 3),
            "rooms": len(self.bucket),
            "waiting": self.bucket.outgoing.frames,
            "unread": self._lag,
            **asdict(self.bucket.counters),
        }


def _misfit(version: str, buckets: str, ours: int) -> str:
    if version != PROTOCOL:
        return (
            f"The nodes on this Redis speak version {version} of what lies in it, this one {PROTOCOL}. Stop them first,"
            " or set another MCP_ACTORS_REDIS_PREFIX."
        )
    return (
        f"MCP_ACTORS_REDIS_BUCKETS is {ours} here, but {buckets} at the nodes that run on this Redis already. Set it to"
        f" {buckets}, or stop them all first; another deployment takes another MCP_ACTORS_REDIS_PREFIX."
    )
