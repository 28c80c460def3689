"""The directory: which actor is which room."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import structlog

from mcp_actors.actors.mail import Heard
from mcp_actors.actors.room import RoomActor
from mcp_actors.protocol.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import pykka

    from mcp_actors.actors.loop import Inbox
    from mcp_actors.broker import Broker
    from mcp_actors.protocol.events import Event
    from mcp_actors.protocol.identifiers import RoomId

log = structlog.get_logger("mcp_actors.room")


class Directory:
    """The rooms of this node: started when first asked for, forgotten when they retire or fail."""

    def __init__(self, broker: Broker, *, capacity: int, max_rooms: int, max_unanswered: int, max_inbox: int) -> None:
        self._broker = broker
        self._capacity = capacity
        self._max_rooms = max_rooms
        self._max_unanswered = max_unanswered
        self._max_inbox = max_inbox
        self._rooms: dict[RoomId, pykka.ActorRef[RoomActor]] = {}
        broker.listen(self._tell)

    def __len__(self) -> int:
        return len(self._rooms)

    def room(self, room_id: RoomId) -> pykka.ActorRef[RoomActor]:
        """The actor of a room, started if need be. Raises `Unavailable` when this node has as many as it may."""
        ref = self._rooms.get(room_id)
        if ref is None:
            if len(self._rooms) >= self._max_rooms:
                raise Unavailable(f"This server holds {self._max_rooms} rooms, as many as it may; try again later.")
            ref = RoomActor.start(room_id, self._broker, self._capacity, self._max_unanswered, self._forget)
            self._rooms[room_id] = ref
            log.debug("room started", room=room_id)
        return ref

    def _tell(self, room_id: RoomId, event: Event) -> Awaitable[None] | None:
        """Pass on what the broker says; of a room that is not here nobody is left to hear it."""
        ref = self._rooms.get(room_id)
        if ref is None:
            return None
        ref.tell(Heard(event))
        inbox = cast("Inbox", ref.actor_inbox)
        return inbox.drained() if len(inbox.envelopes) > self._max_inbox else None

    def _forget(self, room_id: RoomId) -> None:
        del self._rooms[room_id]
        log.debug("room stopped", room=room_id)
