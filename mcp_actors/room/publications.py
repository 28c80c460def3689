"""Publications: in rooms that are `named`, a message to all others, or to those with a name that they gave themselves.

A member takes a name by publishing under it, and other nodes learn it from what they are sent. A message for a name
that nobody is known to have goes to all, so that it reaches whoever has it. `sender` is the name in such rooms, and
empty until there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from msgspec import Raw

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.codec import relayed
from mcp_actors.room.effects import Publish, Send
from mcp_actors.room.pending import Held

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mcp_actors.protocol.events import Member, RemoteBroadcast, RemoteSignal
    from mcp_actors.protocol.identifiers import Incarnation, RoomId
    from mcp_actors.room.delivery import Delivery
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.names import Names
    from mcp_actors.room.pending import PendingRequests
    from mcp_actors.room.roster import Roster

_START = len(b'{"sender":"')


class Publications:
    """The publications of one room. Its members are users, and their `names` are those of the roster."""

    __slots__ = ("_delivery", "_everybody", "_names", "_pending", "_roster")

    def __init__(self, room: RoomId, roster: Roster, delivery: Delivery, pending: PendingRequests) -> None:
        self._roster = roster
        self._names = cast("Names", roster.names)
        self._delivery = delivery
        self._pending = pending
        self._everybody = wire.Message(room=room, payload=wire.MessagePayload(Raw(b"null")))

    def send(self, sender: Incarnation, name: str, to: wire.Signal | None, frame: bytes) -> Sequence[Effect]:
        """Send a member's message under a name, if it has one; `to`: whom it is for, None for all.

        It waits if its sender is still joining. Raises `NotInRoom` and `Unavailable`.
        """
        stamp = self._roster.local.get(sender)
        if stamp is None:
            self._pending.hold(sender, Held(self._everybody if to is None else to, frame, name=name))
        if not stamp:
            return ()
        if name and name != self._names.of(sender):
            self._roster.rename(sender, name)
        holders = () if to is None else self._names.holders(to.payload.target_peer_id)
        if to is None or not holders:
            return self._delivery.broadcast(sender, self._everybody, frame)
        return self._send_to(holders, sender, to, frame)

    def resume(self, sender: Incarnation, held: Held) -> Sequence[Effect]:
        """Send a message that has waited for its sender's join; see `send`."""
        to = held.request if isinstance(held.request, wire.Signal) else None
        return self.send(sender, held.name, to, held.frame)

    def remote_signal(self, event: RemoteSignal) -> Sequence[Effect]:
        """See `Delivery`."""
        self._learn(event)
        return self._delivery.remote_signal(event)

    def remote_broadcast(self, event: RemoteBroadcast) -> Sequence[Effect]:
        """See `Delivery`."""
        self._learn(event)
        return self._delivery.remote_broadcast(event)

    def _learn(self, event: RemoteSignal | RemoteBroadcast) -> None:
        """Note under which name a member of another node publishes."""
        sender, frame = event.sender, event.frame
        name = frame[_START : frame.index(b'"', _START)].decode()
        if name and name != self._names.of(sender) and sender in self._roster:
            self._roster.rename(sender, name)

    def _send_to(
        self, holders: Collection[Incarnation], sender: Incarnation, to: wire.Signal, frame: bytes
    ) -> list[Effect]:
        roster, local = self._roster, self._roster.local
        message = relayed(local[sender], frame, to)
        here = [one for one in holders if one != sender and local.get(one)]
        there = [roster.member(one) for one in holders if one not in local and one not in roster.let_go]
        by = cast("Member", roster.member(sender))
        effects: list[Effect] = [Send(here, message)] if here else []
        effects += [Publish(by, (member,), message, 0) for member in there if member is not None]
        return effects
