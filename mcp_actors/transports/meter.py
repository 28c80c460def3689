"""What one connection sends, measured: when it is to be read more slowly, and when it is answered `rate-limited`.

A message costs two subtractions and two comparisons: the connection has a slice of messages and of bytes, and is
charged for what it used when either is used up, and so is its address. Where that was more than the buckets hold,
nothing is read from it until they have made up for it. Who had to be slowed for too long is refused what it sends until
its buckets are full again, and who sends on all the same is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Self

from mcp_actors.protocol.errors import CloseCode, RateLimited

if TYPE_CHECKING:
    from mcp_actors.transports.addresses import Address
    from mcp_actors.transports.rates import Rate

SLICE, SLICE_BYTES = 32, 65_536
"""Messages and bytes that a connection sends between two looks at the clock, and at its address, at most."""

PARTS = 64
"""A slice is no more than such a part of the smallest bucket, so that small limits are kept as exactly."""

UNLIMITED = 2**62

REST = 0.05
"""Seconds for which a connection that is slowed is not read, at least: it then wakes 20 times a second, not for each of
its messages."""

LULL = 0.25
"""Seconds for which the buckets of a connection must have been full before it counts as rested: that it was not read
for a moment, or that the loop was busy, is no rest of its own."""

LONGEST_REST = 5.0
"""Seconds for which it is not read, at most: its pongs are not read either, and it must not be taken for dead."""


class Slice(NamedTuple):
    """What is taken in before it is charged."""

    messages: int
    bytes: int

    @classmethod
    def of(cls, messages: tuple[Rate, ...], sizes: tuple[Rate, ...]) -> Self:
        """The slice for these buckets."""
        return cls(_share(SLICE, messages), _share(SLICE_BYTES, sizes))


def _share(most: int, rates: tuple[Rate, ...]) -> int:
    limited = [rate.burst for rate in rates if rate.interval]
    return max(1, min(most, int(min(limited) / PARTS))) if limited else UNLIMITED


@dataclass(frozen=True, slots=True)
class ConnectionRates:
    """What may come from one connection.

    `patience`: seconds for which it is slowed, all in all, before it is refused; 0 is for ever. `refusals`: so many of
    these close it.
    """

    messages: Rate
    bytes: Rate
    joins: Rate
    refusals: Rate
    patience: float


class Meter:
    """One connection. Who takes in a message subtracts it from `messages` and `bytes`, and settles below 0."""

    __slots__ = (
        *("_byte_due", "_granted", "_granted_bytes", "_join_due", "_message_due", "_rates", "_refusal_due"),
        *("_slice", "_slowed", "address", "bytes", "messages", "owed"),
    )

    def __init__(self, rates: ConnectionRates, slice_: Slice, address: Address) -> None:
        self.address = address
        self.owed = 0.0
        """Seconds for which nothing is to be read, from when it was settled."""
        self._rates = rates
        self._slice = slice_
        self._message_due = self._byte_due = self._join_due = self._refusal_due = self._slowed = 0.0
        self.messages = self._granted = slice_.messages
        self.bytes = self._granted_bytes = slice_.bytes

    def settle(self, now: float) -> bool:
        """Charge what was taken in; whether it is to be refused. See `owed`."""
        if self._rested_at <= now:
            self._slowed = 0.0
        wait = self._charge(now)
        self.owed = min(max(wait, REST), LONGEST_REST) if wait > 0 else 0.0
        self._slowed += self.owed
        refused = 0 < self._rates.patience < self._slowed
        self.messages, self.bytes = self._slice if wait <= 0 and not refused else (0, 0)
        self._granted, self._granted_bytes = self.messages, self.bytes
        return refused

    def end(self, now: float) -> None:
        """The connection is gone; charge what is left to charge."""
        self.address.charge(self._granted - self.messages, self._granted_bytes - self.bytes, now)

    def join(self, now: float) -> None:
        """Take one join. Raises `RateLimited`, and takes none then."""
        joins, address = self._rates.joins, self.address
        due = joins.spend(self._join_due, now, 1)
        wait = max(joins.wait(due, now), address.join_wait(now))
        if wait > 0:
            raise self._refusal("You join rooms too often", wait, now)
        self._join_due = due
        address.joined(now)

    def refusal(self, now: float) -> RateLimited:
        """The answer to a message that is refused."""
        wait = max(self._rested_at - now, self.owed)
        return self._refusal("You send too much", wait, now)

    @property
    def _rested_at(self) -> float:
        return max(self._message_due, self._byte_due) + LULL

    def _charge(self, now: float) -> float:
        rates = self._rates
        messages, size = self._granted - self.messages, self._granted_bytes - self.bytes
        self._message_due = rates.messages.spend(self._message_due, now, messages)
        self._byte_due = rates.bytes.spend(self._byte_due, now, size)
        own = max(rates.messages.wait(self._message_due, now), rates.bytes.wait(self._byte_due, now))
        return max(own, self.address.charge(messages, size, now))

    def _refusal(self, what: str, wait: float, now: float) -> RateLimited:
        refusals = self._rates.refusals
        self._refusal_due = refusals.spend(self._refusal_due, now, 1)
        milliseconds = ceil(wait * 1000)
        error = RateLimited(f"{what}; go on in {milliseconds} ms.", retry_after_ms=milliseconds)
        if refusals.wait(self._refusal_due, now) > -refusals.interval / 2:
            error.close_code = CloseCode.RATE_LIMITED
        return error
