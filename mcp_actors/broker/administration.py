"""The part of the broker contract for operators: any room, whether it has members at this node or not."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mcp_actors.protocol.events import NO_NOTICE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp_actors.protocol.events import Ban, Kind, Member, Notice
    from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId, UserId


class Outcome(Enum):
    """How a request ended. It may be repeated after each of them."""

    DONE = auto()
    UNCHANGED = auto()
    """There was nothing to change, or nobody to remove or to tell."""

    FULL = auto()
    """The room has as many bans as it may, so that nobody was kicked."""


class RoomSummary(NamedTuple):
    """A room with members: their number by node, and by kind."""

    name: RoomId
    nodes: Mapping[NodeId, int]
    peers: int
    users: int
    locked: bool


class RoomPage(NamedTuple):
    """Some rooms in the order of their names. `next`: the name after which to go on; None if there are no more."""

    rooms: Sequence[RoomSummary]
    next: str | None = None


class RoomState(NamedTuple):
    """The members of a room over all nodes, by kind and order; none if nobody is there."""

    members: Sequence[Member]
    locked: bool


class NodeState(NamedTuple):
    """A node: in how many seconds its lease ends if it is not renewed; None once it is declared dead or has stopped."""

    node: NodeId
    lease_seconds: float | None


class Administration(Protocol):
    """Requests of operators, for rooms at any nodes.

    The requests of `Moderation`, by the `SERVER`: nodes with members hear of the changes in the order of all others.
    These return when that is decided, and the nodes may hear of it a moment later. A room may be empty: bans are kept
    for it, and there is nothing else to change.

    All raise `Unavailable`. A request may have been carried out all the same then, and can be repeated.
    """

    async def list_rooms(self, prefix: str, after: str, limit: int) -> RoomPage:
        """Return up to `limit` rooms whose names begin with a prefix, and come after a name."""

    async def room(self, room: RoomId) -> RoomState:
        """Return who is in a room."""

    async def nodes(self) -> Sequence[NodeState]:
        """Return the nodes that share rooms, this one among them; none if the broker is of one process."""

    async def kick(self, room: RoomId, kind: Kind, whom: PeerId | UserId, notice: Notice = NO_NOTICE) -> Outcome:
        """Remove a peer, or all connections of a user, and ban it if the notice says so."""

    async def bans(self, room: RoomId) -> Sequence[Ban]:
        """Return the bans of a room, those that end first before others."""

    async def unban(self, room: RoomId, kind: Kind, whom: PeerId | UserId) -> Outcome:
        """Lift a ban."""

    async def lock(self, room: RoomId, *, locked: bool) -> Outcome:
        """Lock or unlock a room."""

    async def close(self, room: RoomId, notice: Notice = NO_NOTICE) -> Outcome:
        """Remove all members."""

    async def announce(self, room: RoomId, content: Any, to: tuple[Kind, PeerId | UserId] | None = None) -> Outcome:
        """Tell all members something that JSON can hold, or one peer, or all connections of one user."""
