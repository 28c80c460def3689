"""The members of a room."""

from __future__ import annotations

from typing import Any

import msgspec


class Peer(msgspec.Struct):
    """A peer. Of two peers the one with the higher `order` makes the offer. `away`: it has no connection now."""

    peer_id: str
    order: int
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    verified: bool = False
    away: bool = False


class User(msgspec.Struct):
    """A user, with all its connections."""

    user_id: str
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    verified: bool = False
