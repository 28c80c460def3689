"""What becomes of pairs."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from mcp_actors.client.aiortc.diagnosis import Reason


class PairConnected(Struct, frozen=True, kw_only=True):
    """The connection to a peer is there for the first time. `milliseconds`: since it was wanted."""

    peer_id: str
    milliseconds: int


class PairHealed(Struct, frozen=True, kw_only=True):
    """The connection to a peer is back. `milliseconds`: since it broke."""

    peer_id: str
    milliseconds: int


class PairFailed(Struct, frozen=True, kw_only=True):
    """There is no connection to a peer, and why; it is tried again and again. It comes again if the reason changes."""

    peer_id: str
    reason: Reason
    milliseconds: int


PairEvent: TypeAlias = PairConnected | PairHealed | PairFailed
