"""Comparing the rooms of this node with what Redis holds of them, a few at a time.

They differ if somebody deleted or changed keys by hand, or if Redis dropped entries that this node had not read.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING

from mcp_actors.broker.redis.entries import field_of, pack
from mcp_actors.broker.redis.scripts import AUDIT
from mcp_actors.protocol.events import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.broker.redis.connection import Command
    from mcp_actors.broker.redis.entries import AuditedRoom
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.replica import Replica
    from mcp_actors.broker.redis.room import Room
    from mcp_actors.broker.redis.settings import RedisSettings
    from mcp_actors.protocol.identifiers import NodeId, RoomId

ROUND = 1.0
"""Seconds between rounds, or the interval if that is shorter."""

ROOMS_PER_COMMAND = 20
"""Few enough that Redis, which does nothing else meanwhile, takes about a millisecond."""

COMMANDS_PER_ROUND = 20
"""A node with more rooms than fit takes longer than the interval to compare all of them."""


class Auditor:
    """Picks the rooms to compare: each once per `audit_interval`, never if that is 0. Times are seconds."""

    def __init__(self, node: NodeId, keys: Keys, rooms: Mapping[RoomId, Room], settings: RedisSettings) -> None:
        self._node = node
        self._keys = keys
        self._rooms = rooms
        self._settings = settings
        self._next_round = self._next_cycle = 0.0
        self._waiting: deque[RoomId] = deque()
        self._per_round = 0

    def due(self, now: float) -> list[Command]:
        """The commands of this round, if one is due."""
        interval = self._settings.audit_interval
        if not interval or now < self._next_round:
            return []
        self._next_round = now + min(ROUND, interval)
        if not self._waiting and now >= self._next_cycle:
            self._next_cycle = now + interval
            self._waiting.extend(self._rooms)
            share = ceil(len(self._waiting) * min(ROUND, interval) / interval)
            self._per_round = min(share, ROOMS_PER_COMMAND * COMMANDS_PER_ROUND)
        names = [self._waiting.popleft() for _ in range(min(self._per_round, len(self._waiting)))]
        rooms = [room for room in map(self._rooms.get, names) if room is not None and comparable(room.replica)]
        return [self._command(rooms[i : i + ROOMS_PER_COMMAND]) for i in range(0, len(rooms), ROOMS_PER_COMMAND)]

    def postpone(self, now: float) -> None:
        """Compare nothing for an interval: Redis refused it."""
        self._next_round = now + self._settings.audit_interval

    def _command(self, rooms: list[Room]) -> Command:
        keys = self._keys
        named = [keys.nodes, keys.inbox(self._node), keys.rooms_of(self._node)]
        named += [key for room in rooms for key in (keys.members(room.id), keys.state(room.id))]
        asked = [{"room": room.id, "own": _own(room.replica)} for room in rooms]
        return AUDIT.call(named, (self._node, self._settings.max_inbox_entries, pack(asked)))


def comparable(replica: Replica) -> bool:
    """Whether Redis should hold what this node knows of a room."""
    settled = replica.settled and not replica.provisional and not replica.suspects
    return settled and replica.node in replica.table.nodes


def _own(replica: Replica) -> dict[str, str]:
    here = [replica.members[one] for one in replica.local if replica.is_here(one)]
    return {field_of(member): member.incarnation for member in here}


def difference(replica: Replica, stored: AuditedRoom) -> str:
    """How a room differs from what Redis held when it appended that to the inbox; empty if it does not, or may."""
    if not comparable(replica):
        return ""
    if stored.version != replica.version:
        return "version"
    if any(replica.is_here(one) for one in stored.lost) or stored.members != len(replica.members):
        return "members"
    last = dict.fromkeys(Kind, 0)
    for member in replica.members.values():
        last[member.kind] = max(last[member.kind], member.order)
    if not stored.sound or stored.last_peer < last[Kind.PEER] or stored.last_user < last[Kind.USER]:
        return "counts"
    return ""
