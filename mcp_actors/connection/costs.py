"""The costs of one client's requests beyond their reading: it is charged for them, and slowed if they are too high."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.connection.connection_limits import ConnectionLimits
    from mcp_actors.connection.reading import Reading

LONG_MESSAGE = 64
"""Deliveries of one message, about a third of a millisecond, after which a client is read on in its next turn."""


class Costs:
    """Charges the limits of a client, and pauses its reading until that is made up for."""

    __slots__ = ("_limits", "_now", "_reading")

    def __init__(self, limits: ConnectionLimits, reading: Reading, now: Callable[[], float]) -> None:
        self._limits = limits
        self._reading = reading
        self._now = now

    def charge_delivery(self, receivers: int, size: int) -> None:
        """Charge a message of so many bytes to so many receivers. After a long one, others have their turns first."""
        limits, now = self._limits, self._now()
        deliveries = limits.deliver(receivers, size)
        delay = self._charge(now)
        if deliveries >= LONG_MESSAGE:
            self._reading.pause_for(max(delay, limits.book(deliveries, now)))
        elif delay:
            self._reading.pause_for(delay)

    def charge_reply(self, size: int, members: int = 0) -> None:
        """Charge a reply of so many bytes, which names so many members."""
        deliveries = self._limits.deliver(1, size) + self._limits.deliver(members, 0)
        delay = self._charge(self._now())
        if delay or deliveries >= LONG_MESSAGE:
            self._reading.pause_for(delay)

    def _charge(self, now: float) -> float:
        """Charge the limits if it is time to; return the seconds for which the client is to be slowed."""
        if self._limits.deliveries >= 0:
            return 0.0
        self._limits.charge(now)
        return self._limits.delay

    def charge_waiting(self, size: int) -> None:
        """Charge a message of so many bytes that waits for a receiver that does not keep up."""
        self._limits.charge_waiting(size, self._now())
        self._reading.pause_for(self._limits.delay)
