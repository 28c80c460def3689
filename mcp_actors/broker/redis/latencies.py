"""How long Redis takes, and how old messages of other nodes are when they are read here.

Redis stamps each entry of a stream with the time of its own clock, which differs from the one here. A probe tells by
how much: this node writes it to its own inbox and reads it there. Redis stamped it between the request and the reply,
so the difference is known but for half of that time. Of the last probes, the one with the least doubt counts.
"""

from __future__ import annotations

from collections import deque

from mcp_actors.counters.histogram import SLOW, Histogram

PROBES = 16
"""Probes that are remembered: some half a minute, in which clocks do not drift apart."""

MIDDLE_OF_MS = 0.5
"""Stamps have whole milliseconds."""


class Latencies:
    """Measures one link. Times are seconds of a clock that never jumps, stamps milliseconds of the clock of Redis."""

    def __init__(self) -> None:
        self.round_trip = Histogram(SLOW)
        """From writing a batch of commands to the last of its replies."""
        self.probe = Histogram(SLOW)
        """From sending a probe to reading it in the inbox: the way of a message, measured with one clock."""
        self.delivery = Histogram(SLOW)
        """From the stamp of an entry with messages of other nodes to reading it, once a probe told the time."""
        self._sent_at = 0.0
        self._answered_at: float | None = None
        self._offsets: deque[tuple[float, float]] = deque(maxlen=PROBES)  # doubt, and difference of the clocks

    def probe_sent(self, now: float) -> None:
        """Note that a probe is about to be written."""
        self._sent_at, self._answered_at = now, None

    def probe_answered(self, now: float) -> None:
        """Note that Redis has acknowledged the probe."""
        self._answered_at = now

    def probe_read(self, stamp: int, now: float) -> None:
        """Note that the probe was read, maybe before the acknowledgement."""
        self.probe.observe(now - self._sent_at)
        until = now if self._answered_at is None else self._answered_at
        doubt = (until - self._sent_at) / 2
        self._offsets.append((doubt, _seconds(stamp) - self._sent_at - doubt))

    def entry_read(self, stamp: int, now: float) -> None:
        """Measure an entry with messages of other nodes."""
        if self._offsets:
            self.delivery.observe(max(0.0, now - _seconds(stamp) + min(self._offsets)[1]))

    def stamp(self, at: float) -> int | None:
        """Convert a time to the clock of Redis, in milliseconds, as the last probe found it; None before the first."""
        return int(1000 * (at + self._offsets[-1][1])) if self._offsets else None


def _seconds(stamp: int) -> float:
    return (stamp + MIDDLE_OF_MS) / 1000
