"""Counts of the connections of this process, and of how the limits slowed or refused them."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum

from mcp_actors.counters.histogram import Histogram
from mcp_actors.protocol.errors import CloseCode

NO_CODE, LOST = 1005, 1006
"""How RFC 6455 numbers a close frame without a code, and a connection that ends without a close frame."""

KNOWN_CODES = frozenset({1000, 1001, NO_CODE, LOST, *CloseCode})
"""Close codes that are counted by themselves: clients may send any."""

OTHER = 0
"""Stands for all other codes."""

DURATIONS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Bounds for the seconds for which connections are open."""


class RefusalReason(StrEnum):
    """Why a handshake was refused."""

    ADDRESS_LIMIT = "address-limit"
    FULL = "full"
    STOPPING = "stopping"
    ORIGIN = "origin"
    APPLICATION = "application"
    APPLICATION_UNAVAILABLE = "application-unavailable"
    NO_HANDSHAKE = "no-handshake"
    AGENT = "agent"
    """The token of an agent does not admit it, or it has none."""


class ConnectionCounters:
    """Connections by endpoint, their ends by close code, and refused handshakes by reason.

    Bytes are those of frames, headers included. They are counted at the heartbeat of each connection and at its end.
    """

    __slots__ = ("closed", "last_id", "open", "opened", "received_bytes", "refused", "seconds", "sent_bytes")

    def __init__(self) -> None:
        self.last_id = 0
        """The id of the latest connection."""
        self.open: dict[str, int] = defaultdict(int)
        self.opened: dict[str, int] = defaultdict(int)
        self.closed: dict[int, int] = defaultdict(int)
        self.refused: dict[RefusalReason, int] = defaultdict(int)
        self.received_bytes = self.sent_bytes = 0
        self.seconds = Histogram(DURATIONS)

    def count_opened(self, endpoint: str) -> int:
        """Count a new connection, and return its id."""
        self.open[endpoint] += 1
        self.opened[endpoint] += 1
        self.last_id += 1
        return self.last_id

    def count_closed(self, endpoint: str, code: int, seconds: float) -> None:
        """Count the end of a connection."""
        self.open[endpoint] -= 1
        self.closed[code if code in KNOWN_CODES else OTHER] += 1
        self.seconds.observe(seconds)


class LimitCounters:
    """How often connections were slowed, and for how many seconds; refused a message; and closed for sending on."""

    __slots__ = ("closed", "refused", "slowed", "slowed_seconds")

    def __init__(self) -> None:
        self.slowed = self.refused = self.closed = 0
        self.slowed_seconds = 0.0
