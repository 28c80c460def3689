"""How long messages take through this process, measured on every sixteenth of each type.

Nothing is added to a message: the request that is measured is known by its identity, and one is measured at a time.
"""

from __future__ import annotations

import time

from mcp_actors.counters.histogram import FAST, Histogram

NOT_SAMPLED = 15
"""Messages of a type whose count has any of these bits are not measured."""

INBOX = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
"""Bounds for the mails that wait for a room."""


class RelayLatency:
    """Seconds from decoding a message until its last receiver at this process has it in its outbox or replay buffer.

    A message that waits for a join, or goes to another process alone, is not measured.
    """

    __slots__ = ("_began", "broadcasts", "inbox", "request", "signals")

    def __init__(self) -> None:
        self.signals = Histogram(FAST)
        """Of messages from peer to peer."""
        self.broadcasts = Histogram(FAST)
        """Of messages from a user to all others."""
        self.inbox = Histogram(INBOX)
        """The mails that waited for the room behind a measured message."""
        self.request: object = None
        """The request that is measured now."""
        self._began = 0.0

    def begin(self, request: object) -> None:
        """Measure a request, and give up the one before if it has not arrived."""
        self.request = request
        self._began = time.perf_counter()

    def end(self, request: object, latency: Histogram, waiting: int) -> None:
        """Note that a request has arrived, if it is still measured. `waiting`: mails behind it."""
        if request is self.request:
            self.request = None
            latency.observe(time.perf_counter() - self._began)
            self.inbox.observe(waiting)
