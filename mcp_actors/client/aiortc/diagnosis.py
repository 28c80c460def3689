"""Why a pair is not connected."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a pair is not connected, as PROTOCOL.md explains."""

    REFUSED_BY_SERVER = "refused-by-server"
    PEER_GONE = "peer-gone"
    NO_CANDIDATES = "no-candidates"
    TURN_REFUSED = "turn-refused"
    NO_TURN = "no-turn"
    CHECKS_FAILED = "checks-failed"
    DTLS_FAILED = "dtls-failed"


class Findings(NamedTuple):
    """What is known of a pair that is not connected."""

    is_refused: bool = False
    """The server has refused the last offer or answer of one side."""
    is_away: bool = False
    """The other peer is away or has left."""
    is_unanswered: bool = False
    """It has not offered, or not answered."""
    local: frozenset[str] | None = None
    """The types of the own candidates; None while they are not known."""
    remote: frozenset[str] = frozenset()
    is_turn_refused: bool = False
    """A TURN server has refused this side."""
    was_connected: bool = False
    is_ice_connected: bool = False
    is_dtls_connected: bool = False


def diagnose(found: Findings) -> Reason:
    """Return the first reason that applies."""
    if found.is_refused:
        return Reason.REFUSED_BY_SERVER
    if found.is_away or found.is_unanswered:
        return Reason.PEER_GONE
    if found.is_ice_connected:
        return Reason.CHECKS_FAILED if found.is_dtls_connected else Reason.DTLS_FAILED
    local = found.local or frozenset()
    if found.is_turn_refused and "relay" not in local:
        return Reason.TURN_REFUSED
    if found.local is not None and not found.local:
        return Reason.NO_CANDIDATES
    if not found.was_connected and "relay" not in local | found.remote:
        return Reason.NO_TURN
    return Reason.CHECKS_FAILED
