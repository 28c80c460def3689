"""Taking dead nodes out of their rooms. Any node may do it, several at once too: each step is done once.

Where sessions may be gone on with, there are two steps: members are away at once, and leave when their time is over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.broker.redis.connection import Command, Reply
from mcp_actors.broker.redis.scripts import CONDEMN, REAP_NODE, REAP_ROOM
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId

if TYPE_CHECKING:
    from mcp_actors.broker.redis.keys import Keys

Execute = Callable[[Sequence[Command]], Awaitable[list[Reply]]]
"""Sends commands in one go and returns their replies."""

AT_ONCE = 100
"""Nodes condemned at once, and rooms reaped in one go."""

TOMBSTONE_LIFE = 600_000
"""Milliseconds in which a node that was declared dead is told so, should it come back to a server that restarted."""


class Condemned(NamedTuple):
    """A node that was declared dead, just now or before, or has stopped.

    `over`: so is the time in which its members may go on at other nodes.
    """

    node: NodeId
    over: bool
    just_now: bool


class Reaper(NamedTuple):
    """What it takes: a way to the server, whose run has this id, and how many entries an inbox may hold.

    `window`: seconds that the members of a dead node have to go on at other nodes.
    """

    execute: Execute
    keys: Keys
    run_id: str
    max_entries: int
    window: float

    async def condemn(self) -> list[Condemned]:
        """Condemn the nodes whose lease has run out, and return all that are condemned."""
        milliseconds = int(self.window * 1000)
        (flat,) = await self.execute([("EVALSHA", CONDEMN.digest, 1, self.keys.nodes, AT_ONCE, milliseconds)])
        nodes = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return [Condemned(NodeId(node.decode()), over == b"1", now == b"1") for node, over, now in nodes]

    async def set_away(self, dead: NodeId) -> int:
        """Let the members of a condemned node be away; return in how many rooms they were."""
        rooms = await self._rooms(self.keys.rooms_of(dead))
        await self._reap_rooms(dead, rooms, "")
        return len(rooms)

    async def reap(self, dead: NodeId, reason: LeaveReason = LeaveReason.NODE_LOST) -> tuple[int, list[Incarnation]]:
        """Take a condemned node out of all its rooms, and forget it; return how many rooms that were, and who left."""
        keys = self.keys
        rooms = await self._rooms(keys.rooms_of(dead), keys.left_by(dead))
        gone = await self._reap_rooms(dead, rooms, reason)
        forget = (keys.nodes, keys.rooms_of(dead), keys.inbox(dead), keys.tombstone(dead), keys.left_by(dead))
        await self.execute([("EVALSHA", REAP_NODE.digest, len(forget), *forget, dead, TOMBSTONE_LIFE)])
        return len(rooms), gone

    async def _rooms(self, *sets: str) -> list[RoomId]:
        replies = await self.execute([("SMEMBERS", name) for name in sets])
        return [RoomId(name) for name in sorted({name.decode() for reply in replies for name in reply})]

    async def _reap_rooms(self, dead: NodeId, rooms: list[RoomId], reason: str) -> list[Incarnation]:
        gone: list[Incarnation] = []
        for start in range(0, len(rooms), AT_ONCE):
            gone += await self._reap_some(dead, rooms[start : start + AT_ONCE], reason)
        return gone

    async def _reap_some(self, dead: NodeId, rooms: list[RoomId], reason: str) -> list[Incarnation]:
        """Reap each room; one with members of other nodes says of which, and is asked again with their inboxes."""
        gone: list[Incarnation] = []
        inboxes: dict[RoomId, set[str]] = {room: set() if reason else {self.keys.inbox(dead)} for room in rooms}
        while inboxes:
            commands = [self._reap_room(dead, room, sorted(declared), reason) for room, declared in inboxes.items()]
            for room, reply in zip(list(inboxes), await self.execute(commands), strict=True):
                if reply[0] == b"KEYS":
                    inboxes[room].update(self.keys.inbox(NodeId(node.decode())) for node in reply[1:])
                else:
                    gone += [Incarnation(one.decode()) for one in reply[1:]]
                    del inboxes[room]
        return gone

    def _reap_room(self, dead: NodeId, room: RoomId, inboxes: list[str], reason: str) -> Command:
        keys = self.keys
        left = keys.left_by(dead)
        named = (keys.nodes, keys.room(room), keys.nodes_of(room), keys.rooms_of(dead), *inboxes, left)
        common = (dead, room, keys.inboxes, self.max_entries, self.run_id)
        return ("EVALSHA", REAP_ROOM.digest, len(named), *named, *common, reason)
