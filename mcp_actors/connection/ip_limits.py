"""Rate limits of client addresses: what all connections of one address may do together.

An address without connections is forgotten as soon as its buckets are full.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from mcp_actors.connection.address import Address, AddressRates
from mcp_actors.connection.connection_limits import Allowance, ConnectionLimits, ConnectionRates
from mcp_actors.connection.counters import LimitCounters

IPV6_PREFIX = 64
"""Bits of an IPv6 address that identify a client, which may choose the others itself."""

RETRY_AFTER = 1.0
"""Seconds after which to try again when it is not known when there will be room."""

FULL = "The server serves as many addresses as it may; try again later."


class Refusal(NamedTuple):
    """Why a handshake is refused, and after how many seconds to try again."""

    reason: str
    retry_after: float


class IpLimits:
    """The known addresses, at most `max_addresses`. Times are of any one clock."""

    def __init__(self, rates: AddressRates, each: ConnectionRates, *, max_addresses: int) -> None:
        self.counters = LimitCounters()
        self._rates = rates
        self._each = each
        self._allowance = Allowance.of(each, rates)
        self._max_addresses = max_addresses
        self._known: dict[str, Address] = {}
        self._unused: dict[Address, None] = {}
        """Addresses without a connection, least recently used first."""

    def __len__(self) -> int:
        return len(self._known)

    def refusal(self, name: str, now: float) -> Refusal | None:
        """Return why an address may not connect; or None, and count a new connection."""
        address = self._used(name, now)
        if address is None:
            return Refusal(FULL, RETRY_AFTER)
        if 0 < self._rates.max_connections <= address.connections:
            return Refusal(f"Address {name} has as many connections as it may.", RETRY_AFTER)
        wait = address.connect(now)
        return Refusal(f"Address {name} connects too often.", wait) if wait else None

    def request(self, name: str, now: float) -> Refusal | None:
        """Return why an HTTP request of an address is refused; or None, and count it."""
        address = self._used(name, now)
        if address is None:
            return Refusal(FULL, RETRY_AFTER)
        wait = address.request(now)
        return Refusal(f"Address {name} sends too many requests.", wait) if wait else None

    def request_wait(self, name: str, now: float) -> float:
        """Return the seconds until an address may send an HTTP request, 0 or less if it may now."""
        known = self._known.get(group_of(name))
        return 0.0 if known is None else known.request_wait(now)

    def should_log(self, name: str) -> bool:
        """Return True for the first refusal of an address since it became known."""
        address = self._known.get(group_of(name))
        if address is None or address.logged:
            return False
        address.logged = True
        return True

    def open(self, name: str) -> ConnectionLimits:
        """Return the limits of a new connection of an address."""
        address = self._find(name) or self._add(group_of(name))
        self._unused.pop(address, None)
        address.connections += 1
        return ConnectionLimits(self._each, self._allowance, address, self.counters)

    def close(self, limits: ConnectionLimits, now: float) -> None:
        """Note that a connection is gone."""
        limits.end(now)
        address = limits.address
        address.connections -= 1
        if not address.connections:
            self._unused[address] = None
        self.forget_unused(now)

    def forget_unused(self, now: float) -> None:
        """Forget addresses without connections whose buckets are full."""
        while self._unused:
            address = next(iter(self._unused))
            if address.full_at > now:
                return
            self._drop(address)

    def _used(self, name: str, now: float) -> Address | None:
        """Return an address that is used now, added if it is not known; None if none may be added."""
        self.forget_unused(now)
        address = self._find(name)
        if address is not None and not address.connections:
            self._unused[address] = self._unused.pop(address, None)
        return address

    def _find(self, name: str) -> Address | None:
        """Return an address, added if it is not known; None if all known ones have connections and none may be added.

        The least recently used address without connections makes room.
        """
        key = group_of(name)
        known = self._known.get(key)
        if known is not None:
            return known
        if len(self._known) >= self._max_addresses:
            if not self._unused:
                return None
            self._drop(next(iter(self._unused)))
        return self._add(key)

    def _add(self, key: str) -> Address:
        address = self._known[key] = Address(key, self._rates)
        self._unused[address] = None
        return address

    def _drop(self, address: Address) -> None:
        del self._unused[address]
        del self._known[address.key]


def group_of(name: str) -> str:
    """Return what counts as one address: an IPv4 address, or the prefix of an IPv6 address."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    if isinstance(address, ipaddress.IPv4Address):
        return name
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)))
