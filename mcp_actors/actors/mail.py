"""The mail of a room, and the port through which a room reaches a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from mcp_actors.protocol.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.errors import CloseCode
    from mcp_actors.protocol.events import Removal
    from mcp_actors.protocol.handover import Handover
    from mcp_actors.protocol.identifiers import Incarnation, RoomId
    from mcp_actors.protocol.messages import Message, Targeted
    from mcp_actors.protocol.messages import Signal as SignalRequest
    from mcp_actors.protocol.outgoing import Outgoing, Relayed
    from mcp_actors.room.effects import Welcome


class ClientPort(Protocol):
    """One client, as its rooms see it. No method waits or fails."""

    @property
    def detached(self) -> bool:
        """Whether the client has no connection, and messages wait until it reconnects."""

    @property
    def congested(self) -> bool:
        """Whether the client does not keep up with what it is sent, so that much waits for it."""

    def send(self, message: Outgoing | Relayed, bulk: bool = False) -> bool:
        """Send a message, or keep it until the client reconnects; False if it will never be delivered.

        `bulk`: it is sent to many clients at once, and should hold up nothing that is not.
        """

    def has_room(self, message: Relayed) -> bool:
        """Whether another peer's message can wait until the client reconnects, or reads on."""

    def charge_waiting(self, size: int) -> None:
        """Charge the client for a message of so many bytes that waits for a congested client."""

    def welcome(self, room: RoomId, welcome: Welcome) -> None:
        """The client is in a room: send it the reply to its join."""

    def close(self, code: CloseCode) -> None:
        """Close the client's connection and end its session."""

    def removed(self, room: RoomId, removal: Removal) -> None:
        """A moderator has removed the client from a room, to which it may not come back."""

    def moved(self, room: RoomId) -> bool:
        """The client is at another node as a member of a room; False if its session has ended here."""

    def cutover_complete(self, room: RoomId) -> None:
        """Everything that other nodes sent to the member here has arrived."""

    def recovered(self, message: Outgoing | Relayed) -> None:
        """Send a message in front of everything that arrived since the client is at this node."""

    def handed_over(self, room: RoomId, state: Handover | None) -> None:
        """The client's old node has handed over the member; None if that node is dead."""


class Signal(Struct, frozen=True, gc=False):
    """A peer's message to another peer; `frame` is its own text."""

    sender: Incarnation
    request: Targeted
    frame: bytes


class Broadcast(Struct, frozen=True, gc=False):
    """A user's message to the users of the room; `frame` is its own text."""

    sender: Incarnation
    request: Message
    frame: bytes


class Publication(Struct, frozen=True, gc=False):
    """A message in a room whose members have names: under the name of its sender, empty if it has none.

    `to`: whom it is for, None for all. `frame`: the text that receivers are sent.
    """

    sender: Incarnation
    name: str
    to: SignalRequest | None
    frame: bytes


class Call(Struct, frozen=True, gc=False):
    """A call of a method of the actor, for requests that are not frequent. The answer is the result."""

    method: Callable[..., Any]
    args: tuple[Any, ...]


Mail = Signal | Broadcast | Publication | Call | Event
