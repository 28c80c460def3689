"""Token buckets, with the clock as argument.

A bucket is one number, which its owner keeps: the moment at which it is full again, its *due*. So one that nobody has
taken from costs nothing, and time fills it without anything being done.
"""

from __future__ import annotations

from math import inf


class Rate:
    """So many a second, and `burst` of them at once; 0 a second is no limit."""

    __slots__ = ("burst", "depth", "interval")

    def __init__(self, per_second: float, burst: float) -> None:
        self.burst = burst if per_second else inf
        self.interval = 1 / per_second if per_second else 0.0
        self.depth = burst / per_second if per_second else inf
        """Seconds in which an empty bucket is full again."""

    def spend(self, due: float, now: float, count: float) -> float:
        """The due of a bucket from which so many are taken, whether it has them or not."""
        return max(due, now) + count * self.interval

    def wait(self, due: float, now: float) -> float:
        """Seconds until what was taken too many is made up for; 0 or less where there was enough."""
        return due - now - self.depth
