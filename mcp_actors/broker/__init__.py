"""The broker: it puts the joins and leaves of each room into one order for all nodes.

The contract, which every implementation keeps and refers to:

* A room asks with `join` and `leave`; neither answers. What comes of it is *heard*, by every node that has members in
  the room, the asking one included: `MemberJoined` and `MemberLeft` in one order, each exactly once. `JoinRefused` is
  heard by the asking node alone.
* `version` rises by one with each join and leave of a room. Versions never repeat: a room that was emptied begins anew
  above where it ended.
* A peer id is unique in its room, over all nodes. A room holds at most `capacity` members of each kind.
* Of one node's requests for one room, the earlier comes first. Asking twice for one incarnation is asking once.
* `leave` removes that incarnation and no other, however late it comes.
* `order` counts the joins of each kind in a room's life, which begins with its first member and ends with its last.
* A listener may be called at any time from the request on, within the call too: it only puts mail into an inbox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Event, LeaveReason, Member
    from mcp_actors.protocol.identifiers import Incarnation, RoomId

Listener = Callable[["RoomId", "Event"], None]
"""How a node hears of its rooms; it must not fail and not wait."""


class Broker(Protocol):
    """See the module's docstring for what is promised."""

    def listen(self, listener: Listener) -> None:
        """Name the one listener of this node, before anything else."""

    def join(self, room: RoomId, member: Member, capacity: int) -> None:
        """Ask for a member to be let into a room."""

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        """Ask for a member to be removed from a room; no member, no effect."""
