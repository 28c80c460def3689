"""The log of membership events of one bucket in Redis. The scripts that change a room append to it (lua/common.lua)."""
# ruff: noqa: D102 - the protocol documents the methods

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec import Struct
from redis.exceptions import ResponseError

from mcp_actors.broker.event_log import EventType, Lease, Logged, LogUnavailable, MembershipEvent
from mcp_actors.broker.redis.connection import LinkLost, pairs, words
from mcp_actors.broker.redis.entries import pack, unpack_metadata
from mcp_actors.broker.redis.scripts import LEASE_EVENTS, SETTLE_EVENTS
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.broker.redis.connection import Command, Reply
    from mcp_actors.broker.redis.executor import Executor
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.settings import RedisSettings

log = structlog.get_logger("mcp_actors.redis")


class StoredEvent(Struct, frozen=True):
    """An event as lua/common.lua packs it; `metadata` is JSON."""

    type: EventType
    room: RoomId
    incarnation: Incarnation
    kind: Kind
    id: str
    verified: bool
    metadata: str
    reason: LeaveReason | None = None

    def restored(self) -> MembershipEvent:
        """Convert an event from Redis."""
        fields = msgspec.structs.asdict(self) | {"metadata": unpack_metadata(self.metadata)}
        return MembershipEvent(**fields)


_unpack = msgspec.msgpack.Decoder(StoredEvent).decode


class RedisEventLog:
    """An `EventLog` whose nodes share a Redis."""

    def __init__(self, keys: Keys, node: NodeId, executor: Executor, settings: RedisSettings) -> None:
        self._keys = (keys.nodes, *keys.reported)
        self._events = keys.reported[0]
        self._node = node
        self._executor = executor
        self._settings = settings
        self._id = secrets.token_hex(8)

    async def acquire(self) -> Lease | None:
        word, *rest = words(await self._run(self._lease(self._settings.lease_ms)))
        if word != b"OK":
            return None
        name, told, telling, length = (part.decode() for part in rest)
        return Lease(name, int(told), int(telling), int(length))

    async def release(self) -> None:
        await self._run(self._lease(0))

    async def read(self, after: str, count: int) -> Sequence[Logged]:
        first = f"({after}" if after else "-"
        try:
            found = pairs(await self._run(("XRANGE", self._events, first, "+", "COUNT", count)))
        except LinkLost as error:
            raise LogUnavailable(str(error)) from None
        events, damaged = [], []
        for name, flat in found:
            offset = name.decode()
            try:
                event = _unpack(flat[1]).restored()
            except (LookupError, msgspec.DecodeError) as error:
                log.error("event unreadable", entry=offset, error=str(error))  # noqa: TRY400 - one line
                damaged.append(offset)
            else:
                events.append(Logged(offset, int(offset.partition("-")[0]) / 1000, event))
        if damaged:
            await self.settle(damaged, given_up=len(damaged))
        return events

    async def settle(self, offsets: Sequence[str], *, given_up: int = 0, told: int | None = None) -> bool:
        arguments = (self._node, pack(list(offsets)), given_up, "" if told is None else told)
        return bool(words(await self._run(SETTLE_EVENTS.call(self._keys, arguments)))[0] == b"OK")

    def _lease(self, lease_ms: int) -> Command:
        return LEASE_EVENTS.call(self._keys, (self._node, lease_ms, self._settings.keep_events_ms, self._id))

    async def _run(self, command: Command) -> Reply:
        try:
            (reply,) = await self._executor.run([command])
        except LinkLost as error:
            raise LogUnavailable(str(error)) from None
        if isinstance(reply, ResponseError):
            raise LogUnavailable(str(reply))
        return reply
