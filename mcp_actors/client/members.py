"""The members of a room."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Peer:
    """A peer. Of two peers the one with the higher `order` makes the offer. `away`: it has no connection now."""

    peer_id: str
    order: int
    metadata: dict[str, Any] = field(default_factory=dict)
    verified: bool = False
    away: bool = False


@dataclass(slots=True, kw_only=True)
class User:
    """A user, with all its connections."""

    user_id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    verified: bool = False
