"""The broker over Redis: rooms span nodes. How it works is told in link.py, what lies in Redis in lua/common.lua."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from mcp_actors.broker import BrokerError
from mcp_actors.broker.redis.bucket import RedisSettings
from mcp_actors.broker.redis.connection import LinkLost, Unusable
from mcp_actors.broker.redis.keys import Keys, bucket_of
from mcp_actors.broker.redis.link import Link
from mcp_actors.broker.redis.topology import topology_of
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.identifiers import session_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from mcp_actors.broker import Listener, Note, Recovered, Taken
    from mcp_actors.broker.redis.bucket import Bucket
    from mcp_actors.broker.redis.notes import Notes
    from mcp_actors.protocol.events import Event, Kind, LeaveReason, Member, MemberMoved, Receipt, Step
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId
    from mcp_actors.redis_url import RedisUrl

__all__ = ["RedisBroker", "RedisSettings"]

log = structlog.get_logger("mcp_actors.redis")

PARTING = 2.0
"""Seconds that the leaves of the last members have to be written when a node stops."""


class RedisBroker:
    """See `Broker`.

    `prefix`: of all keys. `buckets`: 0 for what suits the topology. `timeout` and `ca_file` as in `Access`.
    """

    def __init__(
        self,
        url: RedisUrl,
        node: NodeId,
        *,
        prefix: str,
        buckets: int,
        timeout: float,
        settings: RedisSettings,
        ca_file: str = "",
    ) -> None:
        self._topology = topology_of(url, timeout, ca_file)
        buckets = buckets or self._topology.buckets
        self._listener: Listener
        self._links = [
            Link(Keys(prefix, bucket, buckets), buckets, node, self._topology, self._tell, settings, self._bury)
            for bucket in range(buckets)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    def listen(self, listener: Listener) -> None:
        """See `Broker`."""
        self._listener = listener

    def _tell(self, room: RoomId, event: Event) -> Awaitable[None] | None:
        return self._listener(room, event)

    def _bucket(self, room: RoomId) -> Bucket:
        links = self._links
        return links[0 if len(links) == 1 else bucket_of(room, len(links))].bucket

    # ------------------------------------------------------------------------------------------------- life of a node

    async def start(self) -> None:
        """See `Broker`."""
        try:
            servers = [await link.open() for link in self._links]
        except (LinkLost, Unusable) as error:
            await asyncio.gather(*(link.close() for link in self._links if link.bucket.up))
            help_ = ". Start it, or correct REDIS_URL, or REDIS_HOST and REDIS_PORT."
            raise BrokerError(f"{error}{help_}" if isinstance(error, LinkLost) else str(error)) from None
        policies = {server.policy for server in servers} - {"noeviction", ""}
        if policies:
            text = "redis may drop what it holds when its memory is full; set its maxmemory-policy to noeviction"
            log.warning(text, policy=", ".join(sorted(policies)))
        self._tasks = [asyncio.create_task(link.run()) for link in self._links]
        log.info("attached to redis", buckets=len(self._links), server=servers[0].name)

    async def stop(self) -> None:
        """See `Broker`."""
        try:
            async with asyncio.timeout(PARTING):
                while self._tasks and not all(link.idle for link in self._links):  # noqa: ASYNC110 - once in a life
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log.warning("stopped before all members had left; the other nodes will see to it")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self._links))
        self._tasks = []

    @property
    def shared(self) -> bool:
        """See `Broker`."""
        return True

    @property
    def ready(self) -> bool:
        """See `Broker`."""
        return all(link.bucket.up for link in self._links)

    def health(self) -> Mapping[str, Any]:
        """See `Broker`."""
        return {"broker": "redis", "buckets": [link.health() for link in self._links]}

    # ----------------------------------------------------------------------------------------------------- membership

    def join(self, room: RoomId, member: Member, capacity: int, *, moderator: bool = False) -> None:
        """See `Broker`."""
        self._bucket(room).join(room, member, capacity, moderator=moderator)

    def kick(self, room: RoomId, by: Incarnation, kind: Kind, whom: PeerId | UserId) -> None:
        """See `Broker`."""
        self._bucket(room).kick(room, by, kind, whom)

    def lock(self, room: RoomId, by: Incarnation, *, locked: bool) -> None:
        """See `Broker`."""
        self._bucket(room).lock(room, by, locked=locked)

    def close(self, room: RoomId, by: Incarnation) -> None:
        """See `Broker`."""
        self._bucket(room).close(room, by)

    def claim(self, room: RoomId, member: Member) -> None:
        """See `Broker`."""
        self._bucket(room).claim(room, member)

    def switch(self, room: RoomId, move: MemberMoved) -> None:
        """See `Broker`."""
        self._bucket(room).switch(room, move)

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        """See `Broker`."""
        self._bucket(room).hand_over(room, member, body)

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        """See `Broker`."""
        self._bucket(room).release(room, incarnation)

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        """See `Broker`."""
        self._bucket(room).leave(room, incarnation, reason)

    def mark(self, room: RoomId, incarnation: Incarnation, *, away: bool) -> None:
        """See `Broker`."""
        self._bucket(room).mark(room, incarnation, away=away)

    def abandon(self, room: RoomId) -> None:
        """See `Broker`."""
        self._bucket(room).abandon(room)

    # --------------------------------------------------------------------------------------------------------- frames

    def relay(
        self, room: RoomId, sender: Member, target: Member, frame: bytes, ticket: int, step: Step | None = None
    ) -> None:
        """See `Broker`."""
        self._open_bucket(room).send(room, "s", sender, target, frame, ticket, step)

    def announce(self, room: RoomId, sender: Member, targets: Sequence[Member], frame: bytes, ticket: int) -> None:
        """See `Broker`."""
        bucket = self._open_bucket(room)
        for target in targets:
            bucket.send(room, "m", sender, target, frame, ticket)

    def _open_bucket(self, room: RoomId) -> Bucket:
        bucket = self._bucket(room)
        if bucket.outgoing.full:
            text = "The other servers are out of reach, and as much waits for them as may; try again in a moment."
            raise Unavailable(text)
        return bucket

    def confirm(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        """See `Broker`."""
        self._bucket(room).confirm(room, sender, receipt)

    # ------------------------------------------------------------------------------------------------------- sessions

    async def recover(self, room: RoomId, kind: Kind, move: MemberMoved, at: str, patience: float) -> Recovered:
        """See `Broker`."""
        return await self._bucket(room).recover(room, kind, move, at, patience)

    async def stop_reading(self) -> None:
        """See `Broker`."""
        await asyncio.gather(*(link.stop_reading() for link in self._links))

    def place(self, room: RoomId) -> str:
        """See `Broker`."""
        return self._links[bucket_of(room, len(self._links))].place

    def note(self, note: Note) -> None:
        """See `Broker`."""
        self._notes(note.session).note(note)

    def forget(self, session: str) -> None:
        """See `Broker`."""
        self._notes(session).forget(session)

    def drop(self, session: str) -> None:
        """See `Broker`."""
        self._notes(session).drop(session)

    async def take(self, session: str, generation: int, whose: str, patience: float) -> Taken | None:
        """See `Broker`."""
        return await self._notes(session).take(session, generation, whose, patience)

    def _bury(self, dead: NodeId, gone: list[Incarnation]) -> None:
        for session in {session_of(incarnation) for incarnation in gone}:
            self._notes(session).bury(session, dead)

    def _notes(self, session: str) -> Notes:
        return self._links[bucket_of(session, len(self._links))].bucket.notes
