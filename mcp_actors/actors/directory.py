"""The rooms of this process, and the actor of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import structlog

from mcp_actors.actors.observers import Observers
from mcp_actors.actors.room import RoomActor
from mcp_actors.counters.traffic import Traffic
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.room.room import Room
from mcp_actors.room.rules import RuleBook

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.actors.loop import ActorRef, Inbox
    from mcp_actors.broker import Broker
    from mcp_actors.protocol.events import Event, Kind, Member
    from mcp_actors.protocol.identifiers import PeerId, RoomId

log = structlog.get_logger("mcp_actors.room")


class _Entry(NamedTuple):
    room: Room
    ref: ActorRef[RoomActor]


class Directory:
    """Rooms start when they are first asked for, and are forgotten when they retire or fail.

    `capacity`, `max_pending_acks` and `max_pending_messages` are as in `Room`. At most `max_rooms` rooms are open. The
    broker waits for a room whose inbox holds more than `max_inbox` mails. `traffic` measures relayed messages. `rules`:
    of the rooms that are not like others.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        capacity: int,
        max_rooms: int,
        max_pending_acks: int,
        max_inbox: int,
        max_pending_messages: int = 64,
        traffic: Traffic | None = None,
        rules: RuleBook | None = None,
    ) -> None:
        self.rules = RuleBook() if rules is None else rules
        self.observers = Observers()
        self._latency = (Traffic() if traffic is None else traffic).latency
        self._broker = broker
        self._capacity = capacity
        self._max_rooms = max_rooms
        self._max_pending_acks = max_pending_acks
        self._max_pending_messages = max_pending_messages
        self._max_inbox = max_inbox
        self._rooms: dict[RoomId, _Entry] = {}
        broker.listen(self._tell)

    def __len__(self) -> int:
        return len(self._rooms)

    def ids(self) -> list[RoomId]:
        """The ids of the open rooms."""
        return list(self._rooms)

    def roster(self, room_id: RoomId) -> list[Member]:
        """The members of a room on all nodes; empty if the room is not open here."""
        entry = self._rooms.get(room_id)
        return [] if entry is None else list(entry.room.roster.members())

    def peer(self, room_id: RoomId, peer: PeerId) -> Member | None:
        """The peer with an id in a room, at any node; None if there is none, or the room is not open here."""
        entry = self._rooms.get(room_id)
        return None if entry is None else entry.room.roster.peer(peer)

    def audience_size(self, room_id: RoomId, kind: Kind) -> int:
        """The number of members of a room that hear another peer, or user; 0 if the room is not open here."""
        entry = self._rooms.get(room_id)
        return 0 if entry is None else entry.room.roster.audience_size(kind)

    def holders(self, room_id: RoomId, name: str) -> int:
        """The number of members of a room with a name; 0 if the room is not open here, or its members have none."""
        entry = self._rooms.get(room_id)
        names = None if entry is None else entry.room.roster.names
        return 0 if names is None else len(names.holders(name))

    def watchers(self, room_id: RoomId) -> int:
        """The number of members that are told when a peer is detached and attached."""
        entry = self._rooms.get(room_id)
        return 0 if entry is None else len(entry.room.roster.watching)

    def find(self, room_id: RoomId) -> ActorRef[RoomActor] | None:
        """The actor of a room; None if it is not open here."""
        entry = self._rooms.get(room_id)
        return None if entry is None else entry.ref

    def room(self, room_id: RoomId) -> ActorRef[RoomActor]:
        """The actor of a room, started if necessary. Raises `Unavailable` if too many rooms are open."""
        entry = self._rooms.get(room_id)
        if entry is None:
            if len(self._rooms) >= self._max_rooms:
                raise Unavailable(f"This server holds {self._max_rooms} rooms, as many as it may; try again later.")
            room = Room(
                room_id,
                capacity=self._capacity,
                max_pending_acks=self._max_pending_acks,
                max_pending_messages=self._max_pending_messages,
                rules=self.rules.find(room_id),
            )
            entry = _Entry(room, RoomActor.start(room, self._broker, self.observers, self._forget, self._latency))
            self._rooms[room_id] = entry
            log.debug("room started", room=room_id)
            self.observers.notify(lambda observer: observer.room_opened(room_id))
        return entry.ref

    def _tell(self, room_id: RoomId, event: Event) -> Awaitable[None] | None:
        """Pass an event of the broker on. A room that is not open has no members to tell."""
        entry = self._rooms.get(room_id)
        if entry is None:
            return None
        entry.ref.tell(event)
        inbox = cast("Inbox", entry.ref.actor_inbox)
        return inbox.drained() if len(inbox.envelopes) > self._max_inbox else None

    def _forget(self, room_id: RoomId) -> None:
        del self._rooms[room_id]
        log.debug("room stopped", room=room_id)
        self.observers.notify(lambda observer: observer.room_closed(room_id))
