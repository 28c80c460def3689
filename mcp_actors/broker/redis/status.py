"""Rooms, their members and nodes, read from Redis."""

from __future__ import annotations

import asyncio
import heapq
import re
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import ResponseError

from mcp_actors.broker.administration import RoomPage, RoomState, RoomSummary
from mcp_actors.broker.redis.connection import texts, unexpected
from mcp_actors.broker.redis.entries import StoredMember
from mcp_actors.broker.redis.keys import bucket_of
from mcp_actors.protocol.identifiers import NodeId, RoomId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mcp_actors.broker.redis.connection import Command, Reply
    from mcp_actors.broker.redis.executor import Executor
    from mcp_actors.broker.redis.keys import Keys

    Bucket = tuple[Executor, Keys]

SCANNED = 1000
"""Names that Redis looks at in one command, which takes it some 0.1 ms."""

_SPECIAL = re.compile(r"([*?\[\]\\])")


async def read_page(buckets: Sequence[Bucket], prefix: str, after: str, limit: int) -> RoomPage:
    """Read some rooms of all buckets in the order of their names; see `Administration.list_rooms`.

    All names are looked at, a few at a time, and no more are kept than are asked for.
    """
    found = await asyncio.gather(*(_names(bucket, prefix, after, limit + 1) for bucket in buckets))
    names = heapq.nsmallest(limit + 1, (name for of_bucket in found for name in of_bucket))
    page = [RoomId(name) for name in names[:limit]]
    states = await asyncio.gather(
        *(_states(bucket, page, number, len(buckets)) for number, bucket in enumerate(buckets))
    )
    by_name = {room: state for of_bucket in states for room, state in of_bucket.items()}
    rooms = [_summary(room, by_name[room]) for room in page if room in by_name]
    return RoomPage(rooms, page[-1] if len(names) > limit else None)


async def _names(bucket: Bucket, prefix: str, after: str, count: int) -> list[str]:
    """The first names of a bucket after one."""
    executor, keys = bucket
    (nodes,) = await _run(executor, [("ZRANGE", keys.nodes, 0, -1)])
    found: list[str] = []
    for node in map(NodeId, map(bytes.decode, texts(nodes))):
        for key in (keys.rooms_of(node), keys.left_by(node)):
            async for batch in _scan(executor, key, prefix):
                later = {name for name in map(bytes.decode, batch) if name > after}
                found = heapq.nsmallest(count, later.union(found))
    return found


async def _scan(executor: Executor, key: str, prefix: str) -> AsyncIterator[list[bytes]]:
    """The members of a set that begin with a prefix; some of them may come twice."""
    pattern, cursor = _SPECIAL.sub(r"\\\1", prefix) + "*", b"0"
    while True:
        (reply,) = await _run(executor, [("SSCAN", key, cursor, "MATCH", pattern, "COUNT", SCANNED)])
        if not (isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], bytes)):  # noqa: PLR2004
            raise unexpected(reply)
        cursor, names = reply
        yield texts(names)
        if cursor == b"0":
            return


async def _states(bucket: Bucket, rooms: Sequence[RoomId], number: int, buckets: int) -> dict[RoomId, dict[str, str]]:
    executor, keys = bucket
    here = [room for room in rooms if bucket_of(room, buckets) == number]
    replies = await _run(executor, [("HGETALL", keys.state(room)) for room in here])
    found = {room: _fields(reply) for room, reply in zip(here, replies, strict=True)}
    return {room: state for room, state in found.items() if state}


def _fields(reply: Reply) -> dict[str, str]:
    """The fields of a hash; none if something else wrote into its key."""
    flat = [] if isinstance(reply, ResponseError) else [one.decode() for one in texts(reply)]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _summary(room: RoomId, state: dict[str, str]) -> RoomSummary:
    nodes = {NodeId(field): int(value) for field, value in state.items() if not field.startswith("#")}
    peers, users = (int(state.get(f"#present:{kind}", 0)) for kind in ("peer", "user"))
    return RoomSummary(room, nodes, peers, users, _is_locked(state))


def _is_locked(state: dict[str, str]) -> bool:
    return int(state.get("#lock", 0)) > 0


async def read_room(executor: Executor, keys: Keys, room: RoomId) -> RoomState:
    """Read who is in a room. Raises `LinkLost`."""
    state, packed = await _run(executor, [("HGETALL", keys.state(room)), ("HVALS", keys.members(room))])
    members = [msgspec.msgpack.decode(one, type=StoredMember).restored() for one in texts(packed)]
    return RoomState(sorted(members, key=lambda member: (member.kind, member.order)), _is_locked(_fields(state)))


async def read_leases(executor: Executor, keys: Keys) -> dict[NodeId, float]:
    """Read in how many seconds the leases of the nodes end; less than 0 for those that are dead. Raises `LinkLost`."""
    found, clock = await _run(executor, [("ZRANGE", keys.nodes, 0, -1, "WITHSCORES"), ("TIME",)])
    flat, (seconds, micros) = texts(found), map(int, texts(clock))
    now = seconds + micros / 1_000_000
    return {
        NodeId(node.decode()): max(float(end) / 1000 - now, 0.0) if float(end) >= 0 else -1.0
        for node, end in zip(flat[::2], flat[1::2], strict=True)
    }


async def _run(executor: Executor, commands: list[Command]) -> list[Reply]:
    return await executor.run(commands) if commands else []
