"""The messages of this process by type, and the errors by code."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mcp_actors.counters.relay_latency import RelayLatency
from mcp_actors.protocol.messages import Error

if TYPE_CHECKING:
    from mcp_actors.protocol.errors import ErrorCode
    from mcp_actors.protocol.messages import Request, ServerMessage


class Traffic:
    """Counts of messages. `sent` has the requests of members that were relayed, too, by the type of the request.

    The type of a relayed message is `NoneType` if its sender is at another process: its text is not decoded here.
    """

    __slots__ = ("errors", "invalid", "latency", "received", "sent")

    def __init__(self) -> None:
        self.received: dict[type[Request], int] = defaultdict(int)
        self.invalid = 0
        """Messages that could not be decoded."""
        self.sent: dict[type, int] = defaultdict(int)
        self.errors: dict[ErrorCode, int] = defaultdict(int)
        self.latency = RelayLatency()

    def count_sent(self, message: ServerMessage) -> None:
        """Count a message of the server to one client."""
        self.sent[type(message)] += 1
        if type(message) is Error:
            self.errors[message.payload.code] += 1
