"""The pauses between attempts."""

from __future__ import annotations

import random


class Backoff:
    """Exponential backoff with jitter, in seconds, and no less than the server wants."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._attempts = 0
        self._not_before = 0.0

    def reset(self) -> None:
        """The last attempt was good."""
        self._attempts = 0

    def wait_until(self, moment: float) -> None:
        """The server wants to hear nothing before this moment."""
        self._not_before = max(self._not_before, moment)

    def next(self, now: float, at_once: float = 0.0) -> float:
        """Return the seconds to wait for the next attempt. The first one after a reset waits at most `at_once`."""
        delay = random.uniform(0, at_once) if self._attempts == 0 else self._exponential()  # noqa: S311 - jitter
        self._attempts += 1
        return self.least(now) + delay

    def least(self, now: float) -> float:
        """Return the seconds for which the server wants to hear nothing."""
        return max(0.0, self._not_before - now)

    def _exponential(self) -> float:
        most = min(self._most, self._first * 2.0 ** min(self._attempts - 1, 16))
        return random.uniform(0.5, 1) * most  # noqa: S311 - jitter
