"""Connections that are no WebSockets yet, by address."""

from __future__ import annotations

from typing import Protocol


class Closable(Protocol):
    """A socket or a stream."""

    def close(self) -> None:
        """Close it."""


class Handshakes:
    """The connections of each address. When there are too many, the address with the most gives up its oldest."""

    def __init__(self) -> None:
        self._address_of: dict[Closable, str] = {}
        self._by_address: dict[str, dict[Closable, None]] = {}
        self._by_count: dict[int, dict[str, None]] = {}
        """Addresses with so many connections; those that have had so many for longest come first."""
        self._most = 0

    def __len__(self) -> int:
        return len(self._address_of)

    def of(self, address: str) -> int:
        """Return the number of connections of an address."""
        return len(self._by_address.get(address, ()))

    def add(self, connection: Closable, address: str) -> None:
        """Note a new connection."""
        self._address_of[connection] = address
        connections = self._by_address.setdefault(address, {})
        connections[connection] = None
        self._count_changed(address, len(connections) - 1, len(connections))

    def remove(self, connection: Closable) -> None:
        """Forget a connection that is a WebSocket now, or closed; it may be forgotten already."""
        address = self._address_of.pop(connection, None)
        if address is None:
            return
        connections = self._by_address[address]
        del connections[connection]
        if not connections:
            del self._by_address[address]
        self._count_changed(address, len(connections) + 1, len(connections))

    def close_one(self) -> bool:
        """Close the oldest connection of the address that has the most; False if there is none."""
        if not self._most:
            return False
        connection = next(iter(self._by_address[next(iter(self._by_count[self._most]))]))
        self.remove(connection)
        connection.close()
        return True

    def _count_changed(self, address: str, before: int, now: int) -> None:
        if before:
            del self._by_count[before][address]
            if not self._by_count[before]:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, {})[address] = None
        self._most = max(self._most, now)
        while self._most and self._most not in self._by_count:
            self._most -= 1
