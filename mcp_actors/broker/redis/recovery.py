"""The announcement of this node's members after Redis may have lost data. Joins of all nodes wait for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.broker.redis.write_queue import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp_actors.broker.redis.connection import Reply
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.replica import Replica
    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.identifiers import NodeId, RoomId


class Recovery:
    """Tells Redis, with `call`, once all rooms are announced."""

    def __init__(self, keys: Keys, node: NodeId, call: Callable[[Call], None]) -> None:
        self._command = ("HDEL", keys.config, f"announcing:{node}")
        self._call = call
        self._rooms: dict[RoomId, None] | None = None  # None once Redis has acknowledged the end

    def begin(self, rooms: Iterable[RoomId]) -> None:
        """These rooms have to be announced."""
        self._rooms = dict.fromkeys(rooms)

    def cancel(self) -> None:
        """Nothing has to be announced any more: this node was fenced."""
        self._rooms = None

    def announced(self, room: RoomId) -> None:
        """A room was announced, or is not needed any more."""
        if self._rooms:
            self._rooms.pop(room, None)
            self.tell()

    def tell(self) -> None:
        """Tell Redis if all rooms are announced and it has not acknowledged that."""
        if self._rooms is not None and not self._rooms:
            self._call(Call(self._command, self._told))

    def _told(self, _reply: Reply) -> None:
        self._rooms = None


def departed_before(replica: Replica, run_id: str) -> list[Member]:
    """The members that moved away, of which only this node may know, as Redis may have lost that before this run."""
    is_same = replica.run_id in ("", run_id)
    return [] if is_same else [replica.members[one] for one in replica.departing if one in replica.members]
