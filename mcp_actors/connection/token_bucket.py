"""Token buckets, with the clock as argument.

The state of a bucket is one number, kept by its owner: when the bucket is full again (its *due*). A bucket that nobody
uses costs nothing, and refills without any work.
"""

from __future__ import annotations

from math import inf


class TokenBucket:
    """`per_second` tokens a second, at most `burst` at once. A rate of 0 is no limit."""

    __slots__ = ("burst", "interval", "refill_time")

    def __init__(self, per_second: float, burst: float) -> None:
        self.burst = burst if per_second else inf
        self.interval = 1 / per_second if per_second else 0.0
        self.refill_time = burst / per_second if per_second else inf
        """Seconds in which an empty bucket fills up."""

    def spend(self, due: float, now: float, count: float) -> float:
        """Return the due of a bucket after `count` tokens are taken, whether it holds them or not."""
        return max(due, now) + count * self.interval

    def wait(self, due: float, now: float) -> float:
        """Return the seconds until an overdrawn bucket is at 0 again; 0 or less if it is not overdrawn."""
        return due - now - self.refill_time


NO_LIMIT = TokenBucket(0, 1)
