"""The broker over Redis: rooms span nodes. See link.py for how it works, and lua/common.lua for the data in Redis."""
# ruff: noqa: D102 - the protocols in mcp_actors.broker document the methods

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from mcp_actors.broker import BrokerError
from mcp_actors.broker.redis.administration import RedisAdministration
from mcp_actors.broker.redis.connection import LinkLost, Tls, Unusable
from mcp_actors.broker.redis.entries import pack_metadata, pack_notice
from mcp_actors.broker.redis.event_log import RedisEventLog
from mcp_actors.broker.redis.keys import Keys, bucket_of
from mcp_actors.broker.redis.link import Link
from mcp_actors.broker.redis.requests import Operation
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.broker.redis.topology import NO_FILES, topology_of
from mcp_actors.protocol.events import NO_NOTICE, Moderated
from mcp_actors.protocol.identifiers import SERVER, session_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from mcp_actors.broker import AcquiredSession, Listener, Recovered, SessionRecord
    from mcp_actors.broker.event_log import EventLog
    from mcp_actors.broker.figures import LinkFigures
    from mcp_actors.broker.redis.bucket import Bucket
    from mcp_actors.broker.redis.revocations import RedisRevocations
    from mcp_actors.broker.redis.room import Room
    from mcp_actors.broker.redis.session_directory import SessionDirectory
    from mcp_actors.protocol.events import (
        Event,
        Kind,
        LeaveReason,
        Member,
        MemberMoved,
        NegotiationStep,
        Notice,
        Receipt,
    )
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId
    from mcp_actors.redis_url import RedisUrl

__all__ = ["RedisBroker", "RedisSettings", "Tls"]

log = structlog.get_logger("mcp_actors.redis")

STOP_SECONDS = 2.0
"""How long the last leaves may take to be written when a node stops."""


class _Rooms:
    """Membership and relay: each room has its bucket."""

    _links: Sequence[Link]

    def _bucket(self, room: RoomId) -> Bucket:
        links = self._links
        return links[0 if len(links) == 1 else bucket_of(room, len(links))].bucket

    def _room(self, room: RoomId) -> Room | None:
        return self._bucket(room).rooms.get(room)

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        self._bucket(room).open_room(room).join(member, capacity, moderator=moderator)

    def claim(self, room: RoomId, member: Member) -> None:
        self._bucket(room).open_room(room).claim(member)

    def fence_owner(self, room: RoomId, incarnation: Incarnation) -> None:
        found = self._room(room)
        if found is not None:
            found.fence_owner(incarnation)

    def end_recovery(self, room: RoomId, incarnation: Incarnation, epoch: int) -> None:
        found = self._room(room)
        if found is not None:
            found.end_recovery(incarnation, epoch)

    async def is_gone(self, room: RoomId, node: NodeId) -> bool:
        link = self._links[bucket_of(room, len(self._links))]
        return await link.connected.is_gone(node) and await link.inbox.is_read(link.bucket.executor)

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        found = self._room(room)
        if found is not None:
            found.leave(incarnation, reason)

    def set_presence(self, room: RoomId, incarnation: Incarnation, *, detached: bool, address: str = "") -> None:
        found = self._room(room)
        if found is not None:
            found.set_presence(incarnation, detached=detached, address=address)

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        found = self._room(room)
        if found is not None:
            self._bucket(room).deliver(found, found.replica.release(incarnation))

    def abandon(self, room: RoomId) -> None:
        self._bucket(room).abandon(room)

    def relay(
        self,
        room: RoomId,
        sender: Member,
        target: Member,
        frame: bytes,
        delivery_id: int,
        step: NegotiationStep | None = None,
    ) -> None:
        self._bucket(room).sender.send(room, "signal", sender, [target], frame, delivery_id, step)

    def broadcast(
        self, room: RoomId, sender: Member, targets: Sequence[Member], frame: bytes, delivery_id: int
    ) -> None:
        self._bucket(room).sender.send(room, "broadcast", sender, targets, frame, delivery_id)

    def send_receipt(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        self._bucket(room).sender.send_receipt(room, sender, receipt)

    def ack_cutover(self, room: RoomId, move: MemberMoved) -> None:
        self._bucket(room).sender.ack_cutover(room, move)

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        self._bucket(room).sender.hand_over(room, member, body)

    async def recover(self, room: RoomId, kind: Kind, move: MemberMoved, offset: str, patience: float) -> Recovered:
        found = self._room(room)
        members = {} if found is None else found.replica.members
        inbox = self._bucket(room).dead_inbox(move.old)
        return await inbox.recover(room, kind, move, offset, patience, members)

    def offset(self, room: RoomId) -> str:
        return self._links[bucket_of(room, len(self._links))].inbox.offset


class _ModeratedRooms(_Rooms):
    """Requests of moderators and of the application."""

    def update(self, room: RoomId, by: Incarnation, metadata: dict[str, Any]) -> None:
        self._moderate(room, by, Operation.UPDATE, pack_metadata(metadata))

    def kick(
        self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId, notice: Notice = NO_NOTICE
    ) -> None:
        self._moderate(room, by, Operation.KICK, kind, whom, pack_notice(notice), notice.ban_seconds * 1000)

    def list_bans(self, room: RoomId, by: Incarnation) -> None:
        self._moderate(room, by, Operation.LIST_BANS)

    def unban(self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId) -> None:
        self._moderate(room, by, Operation.UNBAN, kind, whom)

    def lock(self, room: RoomId, by: Incarnation, *, locked: bool) -> None:
        self._moderate(room, by, Operation.LOCK if locked else Operation.UNLOCK)

    def close(self, room: RoomId, by: Incarnation, notice: Notice = NO_NOTICE) -> None:
        self._moderate(room, by, Operation.CLOSE, pack_notice(notice))

    def announce(self, room: RoomId, content: Any) -> None:
        text = msgspec.json.encode(content).decode()
        self._moderate(room, SERVER, Operation.ANNOUNCE, secrets.token_hex(8), text, "", "")

    def _moderate(self, room: RoomId, by: Incarnation, operation: Operation, *arguments: str | int) -> None:
        found = self._room(room)
        if found is None or not found.moderate(by, operation, arguments):
            self._bucket(room).emit(room, Moderated(by, done=False))


class RedisBroker(_ModeratedRooms):
    """A `Broker` whose nodes share a Redis.

    `prefix` is that of all keys. `buckets`: 0 for what suits the topology. `timeout` is as in `Access`, and `files` are
    those of TLS that the URL does not name.
    """

    shared = True

    def __init__(
        self,
        url: RedisUrl,
        node: NodeId,
        *,
        prefix: str,
        buckets: int,
        timeout: float,
        settings: RedisSettings,
        files: Tls = NO_FILES,
    ) -> None:
        topology = topology_of(url, timeout, files)
        buckets = buckets or topology.buckets
        self._listener: Listener
        self._keys = [Keys(prefix, bucket, buckets) for bucket in range(buckets)]
        self._links = [
            Link(keys, buckets, node, topology, self._tell, settings, self._on_node_reaped) for keys in self._keys
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self.administration = RedisAdministration(self._links, self._keys, node, settings)
        self.event_logs: Sequence[EventLog] = [
            RedisEventLog(keys, node, link.bucket.executor, settings)
            for keys, link in zip(self._keys if settings.max_reported_events else (), self._links, strict=False)
        ]

    @property
    def revocations(self) -> RedisRevocations:
        return self._links[0].bucket.revocations

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def _tell(self, room: RoomId, event: Event) -> Awaitable[None] | None:
        return self._listener(room, event)

    async def start(self) -> None:
        try:
            servers = [await link.open() for link in self._links]
        except (LinkLost, Unusable) as error:
            await asyncio.gather(*(link.close() for link in self._links if link.bucket.up))
            hint = ". Start it, or correct REDIS_URL, or REDIS_HOST and REDIS_PORT."
            raise BrokerError(f"{error}{hint}" if isinstance(error, LinkLost) else str(error)) from None
        policies = {server.policy for server in servers} - {"noeviction", ""}
        if policies:
            text = "redis may evict data when its memory is full, set its maxmemory-policy to noeviction"
            log.warning(text, policy=", ".join(sorted(policies)))
        self.resume()
        log.info("redis attached", buckets=len(self._links), server=servers[0].name)

    def resume(self) -> None:
        """Run the links, from the start or after `halt`."""
        self._tasks = [asyncio.create_task(link.run()) for link in self._links]

    async def halt(self) -> None:
        """Stop the links without a word to the other nodes, as if the process died."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for link in self._links:
            link.disconnect()

    async def stop_reading(self) -> None:
        await asyncio.gather(*(link.inbox.stop() for link in self._links))

    async def stop(self) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while self._tasks and not self.idle:  # noqa: ASYNC110 - once per process
                    await asyncio.sleep(0.01)
        except TimeoutError:
            unsaved = sum(link.bucket.sessions.unwritten for link in self._links)
            log.warning(
                "stopped before everything was written, other nodes will remove what is left", unsaved_sessions=unsaved
            )
        await self.halt()
        await asyncio.gather(*(link.close() for link in self._links))

    @property
    def idle(self) -> bool:
        """Whether Redis has acknowledged everything."""
        return all(link.bucket.idle for link in self._links)

    @property
    def ready(self) -> bool:
        return all(link.bucket.up for link in self._links)

    def is_settled(self, room: RoomId) -> bool:
        found = self._room(room)
        if found is None:
            return True
        return self._bucket(room).up and found.replica.settled and not found.replica.suspects

    def health(self) -> Mapping[str, Any]:
        return {"broker": "redis", "buckets": [link.health() for link in self._links]}

    def links(self) -> Sequence[LinkFigures]:
        return [link.figures() for link in self._links]

    def save_session(self, note: SessionRecord) -> None:
        self._sessions(note.session).save(note)

    def delete_session(self, session: str) -> None:
        self._sessions(session).delete(session)

    def disown_session(self, session: str) -> None:
        self._sessions(session).disown(session)

    async def acquire_session(
        self, session: str, generation: int, whose: str, patience: float, asked_at: float = 0.0
    ) -> AcquiredSession | None:
        return await self._sessions(session).acquire(session, generation, whose, patience, asked_at)

    def _on_node_reaped(self, dead: NodeId, gone: list[Incarnation]) -> None:
        for session in {session_of(incarnation) for incarnation in gone}:
            self._sessions(session).on_node_reaped(session, dead)

    def _sessions(self, session: str) -> SessionDirectory:
        return self._links[bucket_of(session, len(self._links))].bucket.sessions
