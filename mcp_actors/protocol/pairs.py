"""How the connection between two peers fares, as its clients tell the server."""

from __future__ import annotations

from enum import StrEnum


class PairOutcome(StrEnum):
    """The `pair` of a `report`: connected for the first time, connected again after a break, or not connected."""

    CONNECTED = "connected"
    HEALED = "healed"
    FAILED = "failed"


class PairFailure(StrEnum):
    """The `reason` of a `report` of a failed pair."""

    NO_CANDIDATES = "no-candidates"
    NO_TURN = "no-turn"
    TURN_REFUSED = "turn-refused"
    CHECKS_FAILED = "checks-failed"
    DTLS_FAILED = "dtls-failed"
    PEER_GONE = "peer-gone"
    REFUSED_BY_SERVER = "refused-by-server"
