"""The broker: it puts the joins and leaves of each room into one order for all nodes, and carries frames between them.

The contract, which every implementation keeps and refers to:

Membership

* A room asks with `join` and `leave`; neither answers. What comes of it is *heard*, by every node that has members in
  the room, the asking one included: `MemberJoined` and `MemberLeft` in one order, each exactly once. `JoinRefused` is
  heard by the asking node alone.
* A node hears of a room while it has members in it. With its first, it hears of all that are there, the first last;
  after its last has left, it hears `Vacated`, and begins anew.
* `version` rises with each change of a room; members that leave together do so in one version. Versions never repeat: a
  room that was emptied begins anew above where it ended.
* A peer id is unique in its room, over all nodes. A room holds at most `capacity` members of each kind.
* Of one node's requests for one room, the earlier comes first. Asking twice for one incarnation is asking once.
* `leave` removes that incarnation and no other, however late it comes.
* `mark` says that a member is away, or back: `MemberMarked`, in the same order as all else. A peer that joins under the
  id of one that yields to it (`Member.yields_to`) replaces it, in one version.
* `order` counts the joins of each kind in a room's life, which begins with its first member and ends with its last.
* The members of a node that is lost are heard to leave. A node that was taken for lost hears its own members leave,
  without having asked for it.

Frames

* What `relay` and `announce` take is heard as `Signalled` and `Announced` by the node they are for, once, in the order
  in which one member sent to another; after the sender's join was heard there, and never after its leave. The `step`
  of a signal comes with it.
* It may be lost only with a node, or when a node is so slow that its inbox overflows: it then hears `FramesLost`.
* While the other nodes are out of reach, frames wait; when too much waits, `relay` and `announce` raise `Unavailable`.

A listener may be called at any time from the request on, within the call too: it only puts mail into an inbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp_actors.protocol.events import Event, LeaveReason, Member, Receipt, Step
    from mcp_actors.protocol.identifiers import Incarnation, RoomId

Listener = Callable[["RoomId", "Event"], Awaitable[None] | None]
"""How a node hears of its rooms; it must not fail; what it returns is to be awaited before it is told more."""


class BrokerError(Exception):
    """The broker cannot start; `str(error)` says why and what to do."""


class Broker(Protocol):
    """See the module's docstring for what is promised."""

    def listen(self, listener: Listener) -> None:
        """Name the one listener of this node, before anything else."""

    async def start(self) -> None:
        """Reach the other nodes. Raises `BrokerError`."""

    async def stop(self) -> None:
        """Let what was asked be done, for a moment, and leave the other nodes."""

    @property
    def ready(self) -> bool:
        """Whether joins can be done now."""

    def health(self) -> Mapping[str, Any]:
        """What an operator may want to know, as JSON."""

    def join(self, room: RoomId, member: Member, capacity: int) -> None:
        """Ask for a member to be let into a room."""

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        """Ask for a member to be removed from a room; no member, no effect."""

    def mark(self, room: RoomId, incarnation: Incarnation, *, away: bool) -> None:
        """Say that a member of this node is away, or back; no member, no effect."""

    def abandon(self, room: RoomId) -> None:
        """Remove all members of this node from a room that failed; should it be joined again, it is told all anew."""

    def relay(
        self, room: RoomId, sender: Incarnation, target: Member, frame: bytes, ticket: int, step: Step | None = None
    ) -> None:
        """Send a frame to a member on another node. Raises `Unavailable`."""

    def announce(self, room: RoomId, sender: Incarnation, targets: Sequence[Member], frame: bytes, ticket: int) -> None:
        """Send a frame to the users of other nodes, of each of which `targets` names one. Raises `Unavailable`."""

    def confirm(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        """Send the node of `sender` the receipt for what was `Signalled` or `Announced`. Never fails."""
