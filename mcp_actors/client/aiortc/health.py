"""Whether a pair is well, when to heal it, and when it has failed."""

from __future__ import annotations

from enum import StrEnum

FAILED_AFTER = 5.0
"""Seconds without a connection after which the application is told."""

PAUSES = (2.0, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Seconds between attempts to heal; the last one is repeated."""


class PairState(StrEnum):
    """How a pair is."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    HEALING = "healing"


class PairHealth:
    """Decides by times in seconds. A pair that is not connected in time has failed, but goes on trying."""

    def __init__(self, now: float) -> None:
        self.state = PairState.CONNECTING
        self.has_failed = False
        """Whether it was told that the pair does not work, since it began to connect or broke."""
        self._since = now
        self._attempts = 0
        self._next_attempt = now + FAILED_AFTER

    @property
    def is_well(self) -> bool:
        """Whether it is connected."""
        return self.state == PairState.CONNECTED

    def lasts(self, now: float) -> float:
        """The seconds since it began to connect, or broke."""
        return max(0.0, now - self._since)

    def connect(self) -> None:
        """It is connected."""
        self.state, self.has_failed = PairState.CONNECTED, False

    def break_(self, now: float, since: float) -> bool:
        """It is broken, and was since then; return whether that is new."""
        if not self.is_well:
            return False
        self.state, self._since = PairState.HEALING, since
        self._attempts, self._next_attempt = 0, now
        return True

    def give_up_first(self, now: float) -> None:
        """The first connection cannot come about: try another one now."""
        if self.state == PairState.CONNECTING and not self._attempts:
            self._next_attempt = min(self._next_attempt, now)

    def hurry(self, now: float) -> None:
        """The next attempt is due now, as something has changed."""
        if not self.is_well:
            self._next_attempt = min(self._next_attempt, now)

    def is_attempt_due(self, now: float) -> bool:
        """Whether to try to heal it."""
        return not self.is_well and now >= self._next_attempt

    def attempt(self, now: float) -> None:
        """An attempt has begun."""
        self._next_attempt = now + PAUSES[min(self._attempts, len(PAUSES) - 1)]
        self._attempts += 1

    def fail(self, now: float) -> bool:
        """Return whether it has just failed."""
        if self.is_well or self.has_failed or self.lasts(now) < FAILED_AFTER:
            return False
        self.has_failed = True
        return True
