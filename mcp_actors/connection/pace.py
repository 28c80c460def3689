"""The pace of deliveries: what all clients of this process cause together is spread over time."""

from __future__ import annotations


class Pace:
    """Books deliveries one behind the other, `per_second` of them; 0 is no limit.

    A client that has sent a message to many is not read until it is made up for what was booked. So one that sends
    continuously waits for all others that do, and one that sends now and then is sent at once.
    """

    __slots__ = ("_due", "_interval")

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._due = 0.0

    def book(self, deliveries: int, now: float) -> float:
        """Book deliveries, and return the seconds until they are made up for."""
        self._due = max(self._due, now) + deliveries * self._interval
        return self._due - now


NO_PACE = Pace(0)
