"""What the connections of one address may do together, and which addresses are known.

An address is forgotten as soon as it has no connection and its buckets are full: then nothing is left to know of it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.transports.meter import ConnectionRates, Meter, Slice

if TYPE_CHECKING:
    from mcp_actors.transports.rates import Rate

SITE = 64
"""Bits of an IPv6 address that a client cannot choose: what is behind them counts as one."""

A_MOMENT = 1.0
"""Seconds after which to try again where nothing says when there will be room."""


@dataclass(frozen=True, slots=True)
class AddressRates:
    """What may come from one address. `most_connections`: at once; 0 is no limit."""

    connections: Rate
    messages: Rate
    bytes: Rate
    joins: Rate
    most_connections: int


class Refusal(NamedTuple):
    """Why a handshake is refused, and after how many seconds another try makes sense."""

    reason: str
    retry_after: float


class Address:
    """One address: how many connections it has, and when each of its buckets is full again."""

    __slots__ = ("_byte_due", "_connection_due", "_join_due", "_message_due", "_rates", "connections", "key", "told")

    def __init__(self, key: str, rates: AddressRates) -> None:
        self.key = key
        self.connections = 0
        self.told = False
        """Whether the log says that it was refused something."""
        self._rates = rates
        self._connection_due = self._message_due = self._byte_due = self._join_due = 0.0

    @property
    def full_at(self) -> float:
        """When all its buckets are full."""
        return max(self._connection_due, self._message_due, self._byte_due, self._join_due)

    def connect(self, now: float) -> float:
        """Take one new connection: 0; or seconds until there can be one, and none is taken."""
        rate = self._rates.connections
        due = rate.spend(self._connection_due, now, 1)
        wait = rate.wait(due, now)
        if wait > 0:
            return wait
        self._connection_due = due
        return 0.0

    def charge(self, messages: int, size: int, now: float) -> float:
        """Take messages, and bytes of them; seconds until that is made up for, 0 or less where there was enough."""
        rates = self._rates
        self._message_due = rates.messages.spend(self._message_due, now, messages)
        self._byte_due = rates.bytes.spend(self._byte_due, now, size)
        return max(rates.messages.wait(self._message_due, now), rates.bytes.wait(self._byte_due, now))

    def join_wait(self, now: float) -> float:
        """Seconds until there can be a join; 0 or less if there can be one now."""
        joins = self._rates.joins
        return joins.wait(joins.spend(self._join_due, now, 1), now)

    def joined(self, now: float) -> None:
        """Take one join."""
        self._join_due = self._rates.joins.spend(self._join_due, now, 1)


class Addresses:
    """The addresses with connections, and those that had some lately: at most `most`. Times are of any one clock."""

    def __init__(self, rates: AddressRates, each: ConnectionRates, *, most: int) -> None:
        self._rates = rates
        self._each = each
        self._slice = Slice.of((each.messages, rates.messages), (each.bytes, rates.bytes))
        self._most = most
        self._known: dict[str, Address] = {}
        self._unused: dict[Address, None] = {}
        """Those without a connection, in the order in which they had or wanted one last."""

    def __len__(self) -> int:
        return len(self._known)

    def refusal(self, name: str, now: float) -> Refusal | None:
        """Why no connection of an address is taken; None where one is, which counts."""
        self._forget(now)
        address = self._find(name)
        if address is None:
            return Refusal("The server serves as many addresses as it may; try again later.", A_MOMENT)
        if not address.connections:
            self._unused[address] = self._unused.pop(address, None)
        if 0 < self._rates.most_connections <= address.connections:
            return Refusal(f"Address {name} has as many connections as it may.", A_MOMENT)
        wait = address.connect(now)
        return Refusal(f"Address {name} connects too often.", wait) if wait else None

    def news(self, name: str) -> bool:
        """Whether it is the first time since it became known that an address is refused something."""
        address = self._known.get(group_of(name))
        if address is None or address.told:
            return False
        address.told = True
        return True

    def open(self, name: str) -> Meter:
        """A connection of an address is open: what measures it."""
        address = self._find(name) or self._add(group_of(name))
        self._unused.pop(address, None)
        address.connections += 1
        return Meter(self._each, self._slice, address)

    def close(self, meter: Meter, now: float) -> None:
        """The connection is gone."""
        meter.end(now)
        address = meter.address
        address.connections -= 1
        if not address.connections:
            self._unused[address] = None
        self._forget(now)

    def _find(self, name: str) -> Address | None:
        """The address, a new one where it is not known; None if there are as many as may be, all with connections."""
        key = group_of(name)
        known = self._known.get(key)
        if known is not None:
            return known
        if len(self._known) >= self._most:
            if not self._unused:
                return None
            self._drop(next(iter(self._unused)))
        return self._add(key)

    def _add(self, key: str) -> Address:
        address = self._known[key] = Address(key, self._rates)
        self._unused[address] = None
        return address

    def _forget(self, now: float) -> None:
        while self._unused:
            address = next(iter(self._unused))
            if address.full_at > now:
                return
            self._drop(address)

    def _drop(self, address: Address) -> None:
        del self._unused[address]
        del self._known[address.key]


def group_of(name: str) -> str:
    """What counts as one address."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    if isinstance(address, ipaddress.IPv4Address):
        return name
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> (128 - SITE) << (128 - SITE)))
