"""What a room asks of the world. A frame is encoded once, however many members it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.identifiers import Incarnation
    from mcp_actors.protocol.messages import Targeted


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
