"""How many requests of agents are under way, together and of each address: calls that wait, and streams that last."""

from __future__ import annotations

from mcp_actors.connection.ip_limits import group_of


class RequestSlots:
    """At most `limit` requests at a time, and `address_limit` of one address; 0 is no limit for an address."""

    def __init__(self, limit: int, address_limit: int) -> None:
        self._limit = limit
        self._address_limit = address_limit
        self._taken: dict[str, int] = {}
        self._all = 0

    def __len__(self) -> int:
        """Return the number of requests under way."""
        return self._all

    def take(self, address: str) -> bool:
        """Count a request; False if there are too many."""
        key = group_of(address)
        taken = self._taken.get(key, 0)
        if self._all >= self._limit or 0 < self._address_limit <= taken:
            return False
        self._taken[key] = taken + 1
        self._all += 1
        return True

    def release(self, address: str, count: int = 1) -> None:
        """Note that so many requests of an address are over."""
        key = group_of(address)
        self._all -= count
        left = self._taken.get(key, 0) - count
        if left > 0:
            self._taken[key] = left
        else:
            self._taken.pop(key, None)
