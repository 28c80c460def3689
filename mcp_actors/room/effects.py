"""What a room asks of the world. A frame is encoded once, however many members it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.events import Member, Step
    from mcp_actors.protocol.identifiers import Incarnation
    from mcp_actors.protocol.messages import Message, Targeted


class Send(Struct, frozen=True, gc=False):
    """Write a frame to each of these members."""

    to: Sequence[Incarnation]
    frame: bytes


class Relay(Struct, frozen=True, gc=False):
    """Write a frame to one member, and tell the sender of `message` what became of it."""

    sender: Incarnation
    to: Incarnation
    frame: bytes
    message: Targeted
    step: Step | None = None


class Publish(Struct, frozen=True, gc=False):
    """Send a frame to members on other nodes: to one peer, or to one user of each node for all of its users.

    `ticket` is what their receipts will name; 0 if the sender wants to hear of a failure alone.
    """

    sender: Incarnation
    to: Sequence[Member]
    frame: bytes
    message: Targeted | Message
    ticket: int
    step: Step | None = None
