"""Tells when a ping is due, and when a connection is dead."""

from __future__ import annotations

from typing import Final

DEAD: Final = -1.0
"""In place of a duration: nothing has arrived for two intervals."""

LATE = 1.0
"""Seconds: a check that comes later than this was held up, as is all that may have arrived meanwhile."""


class Heartbeat:
    """Decides by times on one clock, in seconds. `interval`: the silence before a ping."""

    def __init__(self, now: float) -> None:
        self.interval = 0.0
        self.ping_due = False
        """Whether the last check asks for a ping."""
        self._heard = self._due = now
        self._pinged = now
        self._unanswered = 0

    def heard(self, now: float) -> None:
        """Note that something has arrived."""
        self._heard = now

    def check(self, now: float) -> float:
        """Return the seconds until the next check, or DEAD; set `ping_due`."""
        if self._heard > self._pinged:
            self._unanswered = 0
        # After a late check the answer may still wait to be read: a second ping makes sure.
        allowed = 1 if now - self._due > LATE else 0
        silence = now - self._heard
        self.ping_due = silence >= self.interval and self._unanswered <= allowed
        if self.ping_due:
            self._unanswered += 1
            self._pinged = now
            return self._wait(now, self.interval)
        return self._wait(now, self.interval - silence) if silence < self.interval else DEAD

    def _wait(self, now: float, seconds: float) -> float:
        self._due = now + seconds
        return seconds
