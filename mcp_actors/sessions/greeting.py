"""The reply to a join: composed from what the room says and from what the endpoint and the session know."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET, UnsetType

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import PeerId, RequestId, RoomId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp_actors.protocol.outgoing import Encoded
    from mcp_actors.room.effects import Welcome
    from mcp_actors.sessions.ports import ClientCosts


class Greeting(NamedTuple):
    """The part of the reply to a join that the room does not know: request id, ICE servers, session, and `terms`.

    `resume` is the token to come back with, empty if there is none. `resumed`: the client came back; `complete`: it has
    missed nothing. `terms` are fields that are the same for every client: its heartbeat and its limits.
    `ice_servers_expire_in`: the seconds until the credentials of the ICE servers end, unset if they do not.
    """

    request_id: RequestId | None = None
    ice_servers: Sequence[dict[str, Any]] = ()
    resume: str = ""
    resumed: bool = False
    complete: bool = False
    terms: Mapping[str, Any] = MappingProxyType({})
    ice_servers_expire_in: int | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """The fields about the session and the connection."""
        if not self.resume:
            return dict(self.terms)
        found: dict[str, Any] = {**self.terms, "resume": self.resume, "resumed": self.resumed}
        return found | {"complete": self.complete} if self.resumed else found


class Greetings(dict[RoomId, list[Greeting]]):
    """The greetings of one session that wait for the replies of rooms, in the order of the joins."""

    __slots__ = ()

    def add(self, room: RoomId, greeting: Greeting) -> None:
        """Let a greeting wait for the reply of a room."""
        self.setdefault(room, []).append(greeting)

    def take(self, room: RoomId) -> Greeting:
        """Remove and return the first greeting that waits for a room; an empty one if there is none."""
        waiting = self.get(room)
        greeting = waiting[0] if waiting else Greeting()
        self.discard(room, greeting)
        return greeting

    def discard(self, room: RoomId, greeting: Greeting) -> None:
        """Remove a greeting, if it still waits."""
        kept = [one for one in self.pop(room, ()) if one is not greeting]
        if kept:
            self[room] = kept


def charge_join(costs: ClientCosts, reply: Encoded, welcome: Welcome, *, held: int = 0) -> None:
    """Charge the bytes of the reply to a join, and each member: its entry there, and that it is told of the join.

    `held`: deliveries per user that the messages behind the join cost, which were not charged when they were sent.
    """
    costs.charge_reply(len(reply[1]), len(welcome.peers) + len(welcome.users))
    if held:
        costs.charge_delivery(held * (len(welcome.users) + welcome.unlisted), 0)


def join_reply(kind: Kind, room: RoomId, welcome: Welcome, greeting: Greeting) -> wire.ServerMessage:
    """`joined` for a peer, `room-joined` for a user."""
    request_id = UNSET if greeting.request_id is None else greeting.request_id
    locked = welcome.locked or UNSET
    if kind is Kind.USER:
        payload = wire.RoomJoinedPayload(welcome.users, welcome.peers, locked)
        return wire.RoomJoined(room=room, id=request_id, payload=payload)
    fields = greeting.fields() | {"locked": locked, "ice_servers_expire_in": greeting.ice_servers_expire_in}
    ice_servers = list(greeting.ice_servers)
    joined = wire.JoinedPayload(PeerId(welcome.member_id), welcome.order, welcome.peers, ice_servers, **fields)
    return wire.Joined(room=room, id=request_id, payload=joined)
