"""The link of this node to one bucket of Redis: attached, or trying to be.

Two connections, for writing and for reading, live and die together. Three tasks use them: one writes the queue, one
reads the inbox, one renews the lease, which proves that the other two work. When anything breaks, both connections are
closed, and after a pause the node attaches again; the pauses grow until a link has read an entry. The state that
the node finds says what to repair:

    attached as before             unacknowledged frames are written again
    another run of the server      it may have lost data: rooms are synchronized, and frames sent lately are sent again
    fenced meanwhile               the other nodes saw its members leave, so its rooms do too; what waited is void
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import ResponseError

from mcp_actors.broker.figures import LinkFigures
from mcp_actors.broker.redis.bucket import Bucket
from mcp_actors.broker.redis.connected_nodes import PREFIX, ConnectedNodes
from mcp_actors.broker.redis.connection import (
    AccessDenied,
    ConnectionBroken,
    LinkLost,
    RedisConnection,
    Unusable,
    words,
)
from mcp_actors.broker.redis.former_connections import FormerConnections
from mcp_actors.broker.redis.inbox import BEGINNING, InboxReader
from mcp_actors.broker.redis.log_limit import LogLimit
from mcp_actors.broker.redis.reaper import Reaper
from mcp_actors.broker.redis.scripts import ATTACH, HEARTBEAT, UNREGISTER
from mcp_actors.broker.redis.server_check import identify, prepare
from mcp_actors.protocol.events import LeaveReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.broker import Listener
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.reaper import Execute
    from mcp_actors.broker.redis.server_check import Server
    from mcp_actors.broker.redis.settings import RedisSettings
    from mcp_actors.broker.redis.topology import Topology
    from mcp_actors.protocol.identifiers import Incarnation, NodeId

log = structlog.get_logger("mcp_actors.redis")

PROTOCOL = "6"
"""The version of the data in Redis; nodes of different versions do not work together."""

FIRST_ATTEMPTS = 5
"""Attempts to attach at the start, if a connection breaks in one of them, as when Redis is restarted just then."""

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between attempts to attach, doubled each time, times a random factor between 0.5 and 1.5."""

HOUSEKEEPING = 0.1
"""Seconds between looks at what waits for time to pass."""

HEARTBEATS = 3
"""Renewals per lease: the second may fail, and a dead node is found within 1.4 leases."""

JOIN_HOLD_MS = 1000
"""How long joins wait after a restart of the server, so that all nodes announce their members. If the server lost its
data without a restart, they wait until all nodes have tried to renew their leases, should that be longer."""

INBOX_LEASES = 10
"""Leases after which an inbox that nobody renews is deleted, but at least a minute."""


class Link:
    """`on_node_reaped` is called with each node that is lost for good, and the members that left with it."""

    def __init__(
        self,
        keys: Keys,
        buckets: int,
        node: NodeId,
        topology: Topology,
        listener: Listener,
        settings: RedisSettings,
        on_node_reaped: Callable[[NodeId, list[Incarnation]], None],
    ) -> None:
        self._wake = asyncio.Event()
        self.bucket = Bucket(keys, node, listener, settings, self._wake.set, time.monotonic)
        self.connected = ConnectedNodes(node, self.bucket.executor)
        self.inbox = InboxReader(keys.inbox(node), node, self.bucket, settings)
        self._keys = keys
        self._buckets = buckets
        self._node = node
        self._topology = topology
        self._settings = settings
        self._on_node_reaped = on_node_reaped
        self._connections: tuple[RedisConnection, RedisConnection] | None = None
        self._former = FormerConnections()
        self._run_id = self._data = ""
        self._fenced = False
        self._lost_at = self._judges_from = 0.0
        self._limited_log = LogLimit(time.monotonic)
        self._checked = ""  # the run of the server whose permissions were tried
        self._attached_as: dict[str, Any] = {}  # what to log once the link works
        self._logged: set[str] = set()  # the kinds of failures of this outage

    async def open(self) -> Server:
        """Attach for the first time, at a later attempt if the connection breaks. Raises `LinkLost` and `Unusable`."""
        attempts_left, was_broken = FIRST_ATTEMPTS, False
        while True:
            attempts_left -= 1
            try:
                return await self._attach()
            except LinkLost as lost:
                self.disconnect()
                was_broken = was_broken or isinstance(lost, ConnectionBroken)
                if not (was_broken and attempts_left):
                    raise
            except BaseException:
                self.disconnect()
                raise
            await asyncio.sleep(LONGEST_PAUSE)

    async def run(self) -> None:
        """Keep the link up, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._housekeeping())
            pause = FIRST_PAUSE
            while True:
                try:
                    if self._connections is None:
                        await self._attach()
                    await self._serve()
                except* (LinkLost, Unusable) as lost:
                    self._note_failure(lost)
                except* Exception as bug:
                    self._note_failure(bug)
                    self.inbox.works.clear()
                    pause = LONGEST_PAUSE
                finally:
                    self.disconnect()
                pause = FIRST_PAUSE if self.inbox.works.is_set() else min(2 * pause, LONGEST_PAUSE)
                self.inbox.works.clear()
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret

    async def close(self) -> None:
        """Unregister the node, if possible, and disconnect; `run` was cancelled before."""
        keys, node = self._keys, self._node
        self.disconnect()
        with suppress(LinkLost, Unusable, ResponseError):
            address = await self._topology.primary(keys.slot)
            connection = await RedisConnection.open(address, self._topology.access)
            try:
                named = (keys.nodes, keys.rooms_of(node), keys.inbox(node), keys.config)
                await connection.one("SCRIPT", "LOAD", UNREGISTER.text)
                await connection.one(*UNREGISTER.call(named, (node, self._settings.window_ms)))
            finally:
                connection.close()

    async def _serve(self) -> None:
        if self._connections is None:
            return
        writer, reader = self._connections
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(writer))
            group.create_task(self.inbox.run(reader))
            group.create_task(self._heartbeat(group))
            group.create_task(self._log_recovery())

    def disconnect(self) -> None:
        """Close the connections, if there are any; unanswered requests are repeated over the next ones."""
        connections, self._connections = self._connections, None
        for connection in connections or ():
            connection.close()
        if self.bucket.up:
            self._lost_at = time.monotonic()
            self.bucket.link_down()

    def _note_failure(self, error: BaseException) -> None:
        """Log each kind of failure once per outage, and everything that an operator has to change."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, AccessDenied):
            self._checked = ""
        kind = str(error) if isinstance(error, Unusable) else type(error).__name__
        if kind in self._logged:
            return
        self._logged.add(kind)
        if isinstance(error, LinkLost):
            log.warning("redis link lost", bucket=self._keys.bucket, reason=str(error))
        elif isinstance(error, Unusable):
            log.error("redis cannot be used", bucket=self._keys.bucket, reason=str(error))
        else:
            log.error("redis link failed", bucket=self._keys.bucket, exc_info=error)

    async def _log_recovery(self) -> None:
        await self.inbox.works.wait()
        if self._logged:
            self._logged.clear()
            log.info("redis link restored", bucket=self._keys.bucket, **self._attached_as)

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
        hello = [("CLIENT", "SETNAME", f"{PREFIX}{self._node}"), ("CLIENT", "ID")]  # Redis may refuse both
        numbers = [(await connection.send(hello))[1] for connection in self._connections]
        server = await identify(writer, self._keys.pattern)
        known = server.run_id == self._checked
        await prepare(writer, self._keys.scratch(self._node), self._keys.pattern, known=known)
        self._checked = server.run_id
        if (await identify(reader, self._keys.pattern)).run_id != server.run_id:
            raise LinkLost(f"{reader} restarted just now")
        await self._former.end(writer, server.run_id)
        self._former.add(server.run_id, numbers)
        self._attached(server, await self._register(writer, server.run_id))
        return server

    async def _register(self, writer: RedisConnection, run_id: str) -> list[bytes]:
        """The last reply of attach.lua. Once this node is found to be fenced, it is until this succeeds."""
        reply = await self._try_to_register(writer, run_id)
        if reply[0] not in (b"WAIT", b"GONE"):
            return reply
        self._fenced = True
        if reply[0] == b"WAIT":
            await self._reaper(writer.send, run_id).reap(self._node, keep_inbox=True)
        reply = await self._try_to_register(writer, run_id)
        if reply[0] not in (b"OK", b"NEW"):
            raise LinkLost("this node is fenced, and still in its rooms")
        return reply

    async def _try_to_register(self, writer: RedisConnection, run_id: str) -> list[bytes]:
        keys, other_run = self._keys, self._run_id not in ("", run_id)
        named = (keys.nodes, keys.inbox(self._node), keys.config, keys.tombstone(self._node))
        new = "1" if self._fenced else ""
        who = (self._node, self._settings.lease_ms, self._inbox_ms, PROTOCOL, self._buckets, new)
        hold = JOIN_HOLD_MS if other_run else max(JOIN_HOLD_MS, int(1.2 * self._settings.lease_ms / HEARTBEATS))
        how = (run_id, "1" if other_run else "", self._data, hold)
        try:
            reply = words(await writer.one(*ATTACH.call(named, (*who, *how))))
        except ResponseError as error:
            raise LinkLost(f"Redis refused to register this node: {error}") from None
        if reply[0] == b"CONFIG":
            version, buckets = (part.decode() for part in reply[1:])
            raise Unusable(_misfit(version, buckets, self._buckets))
        return reply

    @property
    def _inbox_ms(self) -> int:
        return max(60_000, INBOX_LEASES * self._settings.lease_ms, 2 * self._settings.window_ms)

    def _attached(self, server: Server, reply: list[bytes]) -> None:
        (word, packed, *first), fenced = reply, self._fenced
        data = packed.decode()
        same, kept = server.run_id == self._run_id, word == b"OK" and data == self._data
        if first:
            self.inbox.rewind(first[0])
        elif not (same and kept):
            self.inbox.rewind(None if data == self._data else BEGINNING)
        self._run_id, self._data, self._fenced = server.run_id, data, False
        self.inbox.attached()
        now = time.monotonic()
        if not (same and kept) or now - self._lost_at > self._settings.lease / HEARTBEATS:
            self._judges_from = now + self._settings.lease  # after an outage or a loss of data all leases look expired
        if fenced:
            log.warning("node was fenced, its members have to join again", node=self._node)
        self.bucket.link_up(server.run_id, fenced=fenced, lost=same and not kept and not fenced)
        if self._keys.bucket == 0:  # which has them for all
            self.bucket.revocations.link_up(lost=not (same and kept))
        self._attached_as = {"same_run": same, "data_kept": kept}

    async def _write(self, connection: RedisConnection) -> None:
        queue, counters, latencies = self.bucket.queue, self.bucket.counters, self.bucket.latencies
        while True:
            if not queue:
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(0)  # gather what else this turn of the loop writes
            batch, began = queue.take(), time.monotonic()
            try:
                replies = await connection.send(batch.commands)
            except BaseException:
                queue.give_back(batch)
                raise
            counters.commands += len(batch.commands)
            latencies.round_trip.observe(time.monotonic() - began)
            queue.settle(batch, replies, self.bucket.up_time.seconds)

    async def _heartbeat(self, group: asyncio.TaskGroup) -> None:
        inbox, settings, latencies = self.inbox, self._settings, self.bucket.latencies
        reaping: asyncio.Task[None] | None = None
        while True:
            now = time.monotonic()
            if now - inbox.proved_at > settings.lease:
                raise LinkLost("the inbox is not being read")
            inbox.probe += 1
            named = (self._keys.nodes, self._keys.inbox(self._node), self._keys.config)
            arguments = (self._node, settings.lease_ms, self._inbox_ms, inbox.probe, inbox.trim())
            latencies.probe_sent(time.monotonic())
            (reply,) = await self.bucket.executor.run([HEARTBEAT.call(named, arguments)])
            latencies.probe_answered(time.monotonic())
            word, *rest = words(reply)
            if word != b"OK":
                raise LinkLost("this node was fenced")
            expired, lag = rest
            inbox.note_lag(lag)
            if expired and now > self._judges_from and (reaping is None or reaping.done()):
                reaping = group.create_task(self._reap())
            await asyncio.sleep(settings.lease / HEARTBEATS * random.uniform(0.9, 1.1))  # noqa: S311 - no secret

    async def _reap(self) -> None:
        reaper = self._reaper(self.bucket.executor.run, self._run_id)
        window = self._settings.resume_window
        for dead, over, just_now in await reaper.fence():
            if dead == self._node:
                continue
            if just_now:
                log.warning("node lease expired", node=dead)
            if window and not over:
                await reaper.detach_members(dead)
                continue
            rooms, gone = await reaper.reap(dead, LeaveReason.TIMEOUT if window else LeaveReason.NODE_LOST)
            self.bucket.counters.reaped += 1
            log.info("node reaped", node=dead, rooms=rooms)
            self._on_node_reaped(dead, gone)

    def _reaper(self, execute: Execute, run_id: str) -> Reaper:
        return Reaper(execute, self._keys, run_id, self._settings, self._limited_log)

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING)
            try:
                self.bucket.housekeeping()
            except Exception:
                log.exception("housekeeping failed", bucket=self._keys.bucket)

    def health(self) -> dict[str, Any]:
        """Figures for an operator."""
        found = self.figures()
        return {
            "up": found.up,
            "proved_seconds_ago": None if found.probe_age is None else round(found.probe_age, 3),
            "rooms": len(self.bucket.rooms),
            "waiting": found.waiting,
            "unread": found.unread,
            "unsaved_sessions": found.unsaved_sessions,
            **found.events,
        }

    def figures(self) -> LinkFigures:
        """Figures for metrics."""
        bucket, inbox, latencies = self.bucket, self.inbox, self.bucket.latencies
        return LinkFigures(
            up=bucket.up,
            probe_age=time.monotonic() - inbox.proved_at if inbox.proved_at else None,
            waiting=bucket.queue.frames,
            waiting_bytes=bucket.queue.bytes,
            replay_bytes=bucket.queue.replay_bytes,
            unread=inbox.lag,
            unsaved_sessions=bucket.sessions.refused,
            events=asdict(bucket.counters),
            round_trip=latencies.round_trip,
            probe=latencies.probe,
            delivery=latencies.delivery,
        )


def _misfit(version: str, buckets: str, ours: int) -> str:
    if version != PROTOCOL:
        return (
            f"The nodes on this Redis use version {version} of its data, this one uses {PROTOCOL}. Stop them first,"
            " or set another MCP_ACTORS_REDIS_PREFIX."
        )
    return (
        f"MCP_ACTORS_REDIS_BUCKETS is {ours} here, but {buckets} at the nodes that run on this Redis already. Set it to"
        f" {buckets}, or stop them all first; another deployment needs another MCP_ACTORS_REDIS_PREFIX."
    )
