"""Taking dead nodes out of their rooms. Any node may do it, several at once too: each step is done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.broker.redis.connection import Command, Reply
from mcp_actors.broker.redis.scripts import CONDEMN, REAP_NODE, REAP_ROOM
from mcp_actors.protocol.identifiers import NodeId, RoomId

if TYPE_CHECKING:
    from mcp_actors.broker.redis.keys import Keys

Execute = Callable[[Sequence[Command]], Awaitable[list[Reply]]]
"""Sends commands in one go and returns their replies."""

AT_ONCE = 100
"""Nodes condemned at once, and rooms reaped in one go."""

TOMBSTONE_LIFE = 600_000
"""Milliseconds in which a node that was declared dead is told so, should it come back to a server that restarted."""


class Reaper(NamedTuple):
    """What it takes: a way to the server, whose run has this id, and how many entries an inbox may hold."""

    execute: Execute
    keys: Keys
    run_id: str
    max_entries: int

    async def condemn(self) -> list[NodeId]:
        """Condemn the nodes whose lease has run out, and return all that are condemned."""
        (nodes,) = await self.execute([("EVALSHA", CONDEMN.digest, 1, self.keys.nodes, AT_ONCE)])
        return [NodeId(node.decode()) for node in nodes]

    async def reap(self, dead: NodeId) -> int:
        """Take a condemned node out of all its rooms, and forget it; return how many rooms that were."""
        keys = self.keys
        (names,) = await self.execute([("SMEMBERS", keys.rooms_of(dead))])
        rooms = [RoomId(name.decode()) for name in names]
        for start in range(0, len(rooms), AT_ONCE):
            await self._reap_rooms(dead, rooms[start : start + AT_ONCE])
        forget = (keys.nodes, keys.rooms_of(dead), keys.inbox(dead), keys.tombstone(dead))
        await self.execute([("EVALSHA", REAP_NODE.digest, len(forget), *forget, dead, TOMBSTONE_LIFE)])
        return len(rooms)

    async def _reap_rooms(self, dead: NodeId, rooms: list[RoomId]) -> None:
        """Reap each room; one with members of other nodes says of which, and is asked again with their inboxes."""
        inboxes: dict[RoomId, set[str]] = {room: set() for room in rooms}
        while inboxes:
            commands = [self._reap_room(dead, room, sorted(declared)) for room, declared in inboxes.items()]
            for room, reply in zip(list(inboxes), await self.execute(commands), strict=True):
                if isinstance(reply, list) and reply[0] == b"KEYS":
                    inboxes[room].update(self.keys.inbox(NodeId(node.decode())) for node in reply[1:])
                else:
                    del inboxes[room]

    def _reap_room(self, dead: NodeId, room: RoomId, inboxes: list[str]) -> Command:
        keys = self.keys
        named = (keys.nodes, keys.room(room), keys.nodes_of(room), keys.rooms_of(dead), *inboxes)
        return (
            "EVALSHA",
            REAP_ROOM.digest,
            len(named),
            *named,
            dead,
            room,
            keys.inboxes,
            self.max_entries,
            self.run_id,
        )
