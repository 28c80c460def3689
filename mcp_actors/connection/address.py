"""The rate limits of one client address, shared by all its connections."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_actors.connection.token_bucket import NO_LIMIT, TokenBucket


@dataclass(frozen=True, slots=True)
class AddressRates:
    """The rates of each address. `max_connections`: at the same time; 0 is no limit."""

    connections: TokenBucket
    messages: TokenBucket
    bytes: TokenBucket
    joins: TokenBucket
    max_connections: int
    deliveries: TokenBucket = NO_LIMIT
    requests: TokenBucket = NO_LIMIT
    """HTTP requests that are no WebSocket handshakes."""


class Address:
    """One address: the number of its connections, and when each of its buckets is full again."""

    __slots__ = (
        *("_byte_due", "_connection_due", "_delivery_due", "_join_due", "_message_due", "_rates", "_request_due"),
        *("connections", "key", "logged"),
    )

    def __init__(self, key: str, rates: AddressRates) -> None:
        self.key = key
        self.connections = 0
        self.logged = False
        """Whether a refusal was logged."""
        self._rates = rates
        self._connection_due = self._message_due = self._byte_due = 0.0
        self._join_due = self._delivery_due = self._request_due = 0.0

    @property
    def full_at(self) -> float:
        """When all buckets are full."""
        joined, delivered = self._join_due, self._delivery_due
        return max(self._connection_due, self._message_due, self._byte_due, joined, delivered, self._request_due)

    def connect(self, now: float) -> float:
        """Count one new connection and return 0; or return the seconds until there may be one, and count none."""
        rate = self._rates.connections
        due = rate.spend(self._connection_due, now, 1)
        wait = rate.wait(due, now)
        if wait > 0:
            return wait
        self._connection_due = due
        return 0.0

    def request(self, now: float) -> float:
        """Count one HTTP request and return 0; or return the seconds until there may be one, and count none."""
        wait = self.request_wait(now)
        if wait > 0:
            return wait
        self._request_due = self._rates.requests.spend(self._request_due, now, 1)
        return 0.0

    def request_wait(self, now: float) -> float:
        """Return the seconds until there may be an HTTP request, 0 or less if there may be one now."""
        requests = self._rates.requests
        return requests.wait(requests.spend(self._request_due, now, 1), now)

    def charge(self, messages: int, size: int, deliveries: int, now: float) -> float:
        """Charge messages, their bytes and deliveries; return the seconds until that is made up for, or 0 or less."""
        rates = self._rates
        self._message_due = rates.messages.spend(self._message_due, now, messages)
        self._byte_due = rates.bytes.spend(self._byte_due, now, size)
        self._delivery_due = rates.deliveries.spend(self._delivery_due, now, deliveries)
        own = max(rates.messages.wait(self._message_due, now), rates.bytes.wait(self._byte_due, now))
        return max(own, rates.deliveries.wait(self._delivery_due, now))

    def join_wait(self, now: float, count: int = 1) -> float:
        """Return the seconds until there may be so many joins, 0 or less if there may be now."""
        joins, deliveries = self._rates.joins, self._rates.deliveries
        return max(joins.wait(joins.spend(self._join_due, now, count), now), deliveries.wait(self._delivery_due, now))

    def joined(self, now: float, count: int = 1) -> None:
        """Count joins."""
        self._join_due = self._rates.joins.spend(self._join_due, now, count)
