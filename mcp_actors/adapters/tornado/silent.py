"""Accepted connections on which nothing has arrived yet.

Thousands of them may come in a second and never say anything. Each costs a socket and a watch, some 20 us; a stream
with its reader would take ten times as long.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


class SilentConnection:
    """One of them, with the address of its client."""

    __slots__ = ("_owner", "address", "due", "socket")

    def __init__(self, owner: SilentConnections, accepted: socket.socket, address: Any, due: float) -> None:
        self.socket = accepted
        self.address = address
        self.due = due
        """When it is closed if it stays silent, by the clock of the loop."""
        self._owner = owner

    def close(self) -> None:
        """Close it."""
        self._owner.discard(self)
        self.socket.close()


class SilentConnections:
    """Calls `spoke` with each connection when its first bytes arrive, and `expired` if none do in `timeout` seconds."""

    def __init__(
        self,
        timeout: float,
        spoke: Callable[[SilentConnection], None],
        expired: Callable[[SilentConnection], None],
    ) -> None:
        self._timeout = timeout
        self._spoke = spoke
        self._expired = expired
        self._silent: dict[SilentConnection, None] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def add(self, accepted: socket.socket, address: Any) -> SilentConnection:
        """Watch a connection."""
        loop = asyncio.get_running_loop()
        silent = SilentConnection(self, accepted, address, loop.time() + self._timeout)
        self._silent[silent] = None
        loop.add_reader(accepted.fileno(), self._readable, silent)
        if self._timer is None:
            self._timer = loop.call_at(silent.due, self._expire)
        return silent

    def discard(self, silent: SilentConnection) -> None:
        """Watch a connection no longer."""
        if silent in self._silent:
            del self._silent[silent]
            asyncio.get_running_loop().remove_reader(silent.socket.fileno())

    def expire_all(self) -> None:
        """Let all of them expire."""
        for silent in tuple(self._silent):
            self.discard(silent)
            self._expired(silent)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _readable(self, silent: SilentConnection) -> None:
        self.discard(silent)
        self._spoke(silent)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._silent:
            silent = next(iter(self._silent))
            if silent.due > loop.time():
                self._timer = loop.call_at(silent.due, self._expire)
                return
            self.discard(silent)
            self._expired(silent)
