"""Rate limits of one connection: when it is slowed, and when it is answered `rate-limited`.

A message costs two subtractions and two comparisons: the connection has an allowance of messages, of bytes and of
deliveries, and when one of them is used up, the connection and its address are charged. If the buckets hold less than
that, nothing is read from the client until they have made up for it. A client that was slowed for too long is refused
until its buckets are full again, and closed if it sends on.

Deliveries are what a message costs beyond its own reading: one for each receiver, and one more for each KiB that it is
sent. They bound the effort that one client causes however many members its rooms have.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Self

from mcp_actors.connection.counters import LimitCounters
from mcp_actors.connection.pace import NO_PACE, Pace
from mcp_actors.connection.token_bucket import NO_LIMIT, TokenBucket
from mcp_actors.protocol.errors import CloseCode, RateLimited
from mcp_actors.protocol.outgoing import weight

if TYPE_CHECKING:
    from mcp_actors.connection.address import Address, AddressRates

MAX_ALLOWANCE, MAX_ALLOWANCE_BYTES, MAX_ALLOWANCE_DELIVERIES = 32, 65_536, 512
"""Messages, bytes and deliveries that a connection may cause before it is charged."""

PARTS = 64
"""An allowance is at most such a part of the smallest bucket, so that small limits are exact, too."""

UNLIMITED = 2**62

MIN_DELAY = 0.05
"""Seconds for which a slowed connection is not read, at least: it wakes 20 times a second, not for each message."""

MAX_DELAY = 5.0
"""Seconds for which a slowed connection is not read, at most: its pongs are not read either, and it must not be taken
for dead."""

WAITING_COST = 32
"""Times its bytes that a message costs its sender which waits for a client whose outbox is half full. So a burst puts
a quarter of a megabyte there, and then no more than a slow line carries; a few candidates cost next to nothing."""

RECOVERY = 0.25
"""Seconds for which the buckets of a connection must have been full before it counts as recovered: a short pause, or a
busy event loop, is no recovery."""


class Allowance(NamedTuple):
    """Messages, bytes and deliveries before they are charged."""

    messages: int
    bytes: int
    deliveries: int

    @classmethod
    def of(cls, each: ConnectionRates, together: AddressRates) -> Self:
        """Return the allowance for these rates."""
        return cls(
            _part(MAX_ALLOWANCE, each.messages, together.messages),
            _part(MAX_ALLOWANCE_BYTES, each.bytes, together.bytes),
            _part(MAX_ALLOWANCE_DELIVERIES, each.deliveries, together.deliveries),
        )


def _part(maximum: int, *buckets: TokenBucket) -> int:
    limited = [bucket.burst for bucket in buckets if bucket.interval]
    return max(1, min(maximum, int(min(limited) / PARTS))) if limited else UNLIMITED


NOTHING = Allowance(0, 0, 0)


@dataclass(frozen=True, slots=True)
class ConnectionRates:
    """The rates of each connection, and the `pace` of all of them.

    `patience`: seconds for which a connection is slowed before it is refused, 0 for ever. `refusals`: a connection that
    exceeds this rate of refusals is closed.
    """

    messages: TokenBucket
    bytes: TokenBucket
    joins: TokenBucket
    updates: TokenBucket
    refusals: TokenBucket
    patience: float
    deliveries: TokenBucket = NO_LIMIT
    pace: Pace = NO_PACE


class ConnectionLimits:
    """The state of one connection. Subtract what it causes from the allowance, and `charge` when that is below 0."""

    __slots__ = (
        *("_allowance", "_byte_due", "_charged", "_counters", "_delivery_due", "_granted", "_join_due", "_message_due"),
        *("_rates", "_refusal_due", "_update_due"),
        *("address", "bytes", "delay", "deliveries", "messages", "slowed"),
    )

    def __init__(
        self, rates: ConnectionRates, allowance: Allowance, address: Address, counters: LimitCounters | None = None
    ) -> None:
        self.address = address
        self.delay = 0.0
        """Seconds for which nothing is to be read from the client, counted from the last charge."""
        self.slowed = 0.0
        """Seconds for which the client was slowed since it last recovered."""
        self._rates = rates
        self._counters = LimitCounters() if counters is None else counters
        self._charged = 0  # frames
        self._allowance = allowance
        self._message_due = self._byte_due = self._delivery_due = 0.0
        self._join_due = self._update_due = self._refusal_due = 0.0
        self._granted = allowance
        self.messages, self.bytes, self.deliveries = allowance

    @property
    def received(self) -> int:
        """The frames that were subtracted from the allowance so far."""
        return self._charged + self._granted.messages - self.messages

    def charge(self, now: float) -> bool:
        """Charge what was sent, and set `delay`; True if it is to be refused."""
        if self._recovered_at <= now:
            self.slowed = 0.0
        wait = self._spend(now)
        self.delay = min(max(wait, MIN_DELAY), MAX_DELAY) if wait > 0 else 0.0
        if self.delay:
            self.slowed += self.delay
            self._counters.slowed += 1
            self._counters.slowed_seconds += self.delay
        refused = 0 < self._rates.patience < self.slowed
        self._granted = self._allowance if wait <= 0 and not refused else NOTHING
        self.messages, self.bytes, self.deliveries = self._granted
        return refused

    def deliver(self, receivers: int, size: int) -> int:
        """Subtract a message of so many bytes to so many receivers; return its deliveries."""
        deliveries = receivers * weight(size)
        self.deliveries -= deliveries
        return deliveries

    def book(self, deliveries: int, now: float) -> float:
        """Book deliveries in the pace of all clients; return the seconds until they are made up for."""
        return min(self._rates.pace.book(deliveries, now), MAX_DELAY)

    def charge_waiting(self, size: int, now: float) -> None:
        """Charge a message that waits for a slow receiver, many times its bytes, to this connection alone."""
        self._byte_due = self._rates.bytes.spend(self._byte_due, now, WAITING_COST * size)
        self.charge(now)

    def end(self, now: float) -> None:
        """Charge the address for the rest, as the connection is gone."""
        self.address.charge(*self._caused(), now)

    def join(self, now: float) -> None:
        """Count one join. Raises `RateLimited`, and counts none then."""
        self.expect_joins(1, now)
        self.joined(1, now)

    def expect_joins(self, count: int, now: float) -> None:
        """Raise `RateLimited` if there may not be so many joins now, or what earlier ones sent is not made up for."""
        joins, deliveries = self._rates.joins, self._rates.deliveries
        own = joins.wait(joins.spend(self._join_due, now, count), now)
        wait = max(own, deliveries.wait(self._delivery_due, now), self.address.join_wait(now, count))
        if wait > 0:
            raise self._refusal("You join rooms too often", wait, now)

    def joined(self, count: int, now: float) -> None:
        """Count joins, even if there may not be so many."""
        self._join_due = self._rates.joins.spend(self._join_due, now, count)
        self.address.joined(now, count)

    def update(self, now: float) -> None:
        """Count one update of metadata. Raises `RateLimited`, and counts none then."""
        updates = self._rates.updates
        due = updates.spend(self._update_due, now, 1)
        wait = updates.wait(due, now)
        if wait > 0:
            raise self._refusal("You update your metadata too often", wait, now)
        self._update_due = due

    def refusal(self, now: float) -> RateLimited:
        """Return the answer to a message that is refused."""
        return self._refusal("You send too much", max(self._recovered_at - now, self.delay), now)

    @property
    def _recovered_at(self) -> float:
        return max(self._message_due, self._byte_due, self._delivery_due) + RECOVERY

    def _caused(self) -> Allowance:
        """The amounts that were subtracted since the last charge."""
        messages, size, deliveries = self._granted
        return Allowance(messages - self.messages, size - self.bytes, deliveries - self.deliveries)

    def _spend(self, now: float) -> float:
        rates, (messages, size, deliveries) = self._rates, self._caused()
        self._charged += messages
        self._message_due = rates.messages.spend(self._message_due, now, messages)
        self._byte_due = rates.bytes.spend(self._byte_due, now, size)
        self._delivery_due = rates.deliveries.spend(self._delivery_due, now, deliveries)
        own = max(rates.messages.wait(self._message_due, now), rates.bytes.wait(self._byte_due, now))
        own = max(own, rates.deliveries.wait(self._delivery_due, now))
        return max(own, self.address.charge(messages, size, deliveries, now))

    def _refusal(self, problem: str, wait: float, now: float) -> RateLimited:
        refusals = self._rates.refusals
        self._refusal_due = refusals.spend(self._refusal_due, now, 1)
        self._counters.refused += 1
        milliseconds = ceil(wait * 1000)
        error = RateLimited(f"{problem}; go on in {milliseconds} ms.", retry_after_ms=milliseconds)
        if refusals.wait(self._refusal_due, now) > -refusals.interval / 2:
            error.close_code = CloseCode.RATE_LIMITED
            self._counters.closed += 1
        return error
