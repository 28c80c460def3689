"""Rooms and their members over all nodes, read from Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mcp_actors.broker.redis.connection import LinkLost, texts
from mcp_actors.broker.redis.entries import StoredMember
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.identifiers import NodeId, RoomId

if TYPE_CHECKING:
    from mcp_actors.broker.redis.connection import Command
    from mcp_actors.broker.redis.executor import Executor
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.protocol.events import Member

BATCH = 500
"""Rooms read at once."""


async def read_rooms(executor: Executor, keys: Keys) -> dict[RoomId, dict[NodeId, int]]:
    """The number of members per node of each room of a bucket. Raises `Unavailable`."""
    (nodes,) = await _run(executor, [("ZRANGE", keys.nodes, 0, -1)])
    sets = [key for node in map(NodeId, map(bytes.decode, nodes)) for key in (keys.rooms_of(node), keys.left_by(node))]
    names = {name for reply in await _run(executor, [("SMEMBERS", key) for key in sets]) for name in reply}
    rooms = [RoomId(name.decode()) for name in sorted(names)]
    found: dict[RoomId, dict[NodeId, int]] = {}
    for start in range(0, len(rooms), BATCH):
        batch = rooms[start : start + BATCH]
        states = await _run(executor, [("HGETALL", keys.state(room)) for room in batch])
        found |= {room: _count(state) for room, state in zip(batch, states, strict=True) if state}
    return found


def _count(state: list[bytes]) -> dict[NodeId, int]:
    fields = zip(state[::2], state[1::2], strict=True)
    return {NodeId(field.decode()): int(value) for field, value in fields if not field.startswith(b"#")}


async def read_roster(executor: Executor, keys: Keys, room: RoomId) -> list[Member]:
    """The members of a room, by kind and order. Raises `Unavailable`."""
    (packed,) = await _run(executor, [("HVALS", keys.members(room))])
    members = [msgspec.msgpack.decode(one, type=StoredMember).restored() for one in packed]
    return sorted(members, key=lambda member: (member.kind, member.order))


async def _run(executor: Executor, commands: list[Command]) -> list[list[bytes]]:
    try:
        return [texts(reply) for reply in await executor.run(commands)]
    except LinkLost as error:
        raise Unavailable(f"The rooms cannot be read from Redis now: {error}.") from None
