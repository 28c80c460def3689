"""What nodes tell each other of a room, in the one order the broker gives: membership, and who was refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, UserId


class Kind(StrEnum):
    """Which roster a member is in, by the endpoint it came from."""

    PEER = "peer"
    USER = "user"


class LeaveReason(StrEnum):
    """The `reason` of `peer-left` and `user-left`."""

    LEFT = "left"
    DISCONNECTED = "disconnected"
    TIMEOUT = "timeout"


class Member(Struct, frozen=True):
    """One connection in one room, as every node knows it.

    `order` is the room's join counter, given by the broker: 0 until then, unique and rising in a room's life.
    """

    kind: Kind
    id: PeerId | UserId
    incarnation: Incarnation
    node: NodeId
    metadata: dict[str, Any]
    order: int = 0


class MemberJoined(Struct, frozen=True):
    """`member` is in the room from `version` on."""

    version: int
    member: Member


class MemberLeft(Struct, frozen=True):
    """The member with this incarnation is out of the room from `version` on."""

    version: int
    incarnation: Incarnation
    reason: LeaveReason


class JoinRefused(Struct, frozen=True):
    """The broker did not let this incarnation in; told to its own node alone."""

    incarnation: Incarnation
    code: ErrorCode


Event = MemberJoined | MemberLeft | JoinRefused
