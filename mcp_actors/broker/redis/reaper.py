"""Removing dead nodes from their rooms. Any node may do it, also several at once: each step happens once.

Where sessions can resume at other nodes there are two steps: members are detached at once, and leave when their window
ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import NoPermissionError, ResponseError

from mcp_actors.broker.redis.connection import Command, Reply, texts, words
from mcp_actors.broker.redis.scripts import FENCE, REAP_NODE, REAP_ROOM, room_call
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.log_limit import LogLimit
    from mcp_actors.broker.redis.settings import RedisSettings

Execute = Callable[[Sequence[Command]], Awaitable[list[Reply]]]
"""Sends commands at once and returns their replies."""

BATCH = 100
"""How many nodes are fenced, and how many rooms reaped, at once."""

TOMBSTONE_MS = 600_000
"""How long a reaped node is told so, should it come back to a server that restarted."""


class FencedNode(NamedTuple):
    """A node that was declared dead, or has stopped. `over`: so is the time for its members to resume elsewhere."""

    node: NodeId
    over: bool
    just_now: bool


class Reaper(NamedTuple):
    """Reaps the nodes of one bucket, at the server run with this id."""

    execute: Execute
    keys: Keys
    run_id: str
    settings: RedisSettings
    log: LogLimit

    async def fence(self) -> list[FencedNode]:
        """Fence the nodes whose lease has expired, and return all that are fenced."""
        (reply,) = await self.execute([FENCE.call([self.keys.nodes], [BATCH, self.settings.window_ms])])
        flat = texts(reply)
        nodes = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return [FencedNode(NodeId(node.decode()), over == b"1", now == b"1") for node, over, now in nodes]

    async def detach_members(self, dead: NodeId) -> None:
        """Detach the members of a fenced node."""
        await self._reap_rooms(dead, await self._rooms(self.keys.rooms_of(dead)), "")

    async def reap(
        self, dead: NodeId, reason: LeaveReason = LeaveReason.NODE_LOST, *, keep_inbox: bool = False
    ) -> tuple[int, list[Incarnation]]:
        """Remove a fenced node from its rooms and delete it; return the number of rooms, and the members that left.

        `keep_inbox`: the node goes on, and other nodes may still need what is in its inbox.
        """
        keys = self.keys
        rooms = await self._rooms(keys.rooms_of(dead), keys.left_by(dead))
        gone = await self._reap_rooms(dead, rooms, reason)
        named = (keys.nodes, keys.rooms_of(dead), keys.inbox(dead), keys.tombstone(dead), keys.left_by(dead))
        (reply,) = await self.execute([REAP_NODE.call(named, [dead, TOMBSTONE_MS, "1" if keep_inbox else ""])])
        if not isinstance(reply, int):
            words(reply)
        return len(rooms), gone

    def _is_refused(self, reply: Reply, where: str) -> bool:
        """Whether something else wrote into a key, so that Redis refuses a command; the others are carried out."""
        if isinstance(reply, NoPermissionError) or not isinstance(reply, ResponseError):
            return False
        self.log.warning("dead node cannot be removed completely", where=where, reason=str(reply))
        return True

    async def _rooms(self, *sets: str) -> list[RoomId]:
        replies = zip(sets, await self.execute([("SMEMBERS", name) for name in sets]), strict=True)
        found = [texts(reply) for name, reply in replies if not self._is_refused(reply, name)]
        return [RoomId(name) for name in sorted({name.decode() for names in found for name in names})]

    async def _reap_rooms(self, dead: NodeId, rooms: list[RoomId], reason: str) -> list[Incarnation]:
        gone: list[Incarnation] = []
        for start in range(0, len(rooms), BATCH):
            gone += [one async for one in self._reap_batch(dead, rooms[start : start + BATCH], reason)]
        return gone

    async def _reap_batch(self, dead: NodeId, rooms: list[RoomId], reason: str) -> AsyncIterator[Incarnation]:
        """Reap rooms; one that names more nodes is tried again with their keys."""
        pending: dict[RoomId, list[NodeId]] = {room: [dead] for room in rooms}
        while pending:
            commands = [self._reap_room(dead, room, nodes, reason) for room, nodes in pending.items()]
            for room, reply in zip(list(pending), await self.execute(commands), strict=True):
                if self._is_refused(reply, room):
                    del pending[room]
                    continue
                word, *names = words(reply)
                if word == b"KEYS":
                    pending[room] += [NodeId(node.decode()) for node in names]
                    continue
                del pending[room]
                for one in names:
                    yield Incarnation(one.decode())

    def _reap_room(self, dead: NodeId, room: RoomId, nodes: list[NodeId], reason: str) -> Command:
        keys = self.keys
        named = keys.of_room(room, nodes, extra=(keys.left_by(dead),))
        arguments = (dead, room, keys.inboxes, self.settings.max_inbox_entries, self.run_id, reason)
        return room_call(REAP_ROOM, keys, self.settings, named, arguments)
