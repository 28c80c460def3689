"""The open connections of this process: counted, kept alive, and closed together."""

from __future__ import annotations

import asyncio
from typing import Protocol

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason

SLICE = 250
"""Connections looked at in one go: some 2 ms of pings."""


class Pinged(Protocol):
    """A connection, as the heartbeat sees it."""

    heard: bool
    """Set by the connection whenever anything arrives; cleared here."""

    def ping(self) -> None:
        """Ask the client to show that it is there."""

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Close the connection; `leave` is the reason its rooms hear."""

    def abort(self) -> None:
        """Hang up at once."""


class Connections:
    """All open connections, at most `limit`; one heartbeat serves them all.

    Each connection is pinged once per `interval` seconds; one that was silent for a whole interval after its ping is
    closed, so a dead one is found within two. An `interval` of 0 turns the heartbeat off.
    """

    def __init__(self, limit: int, interval: float) -> None:
        self._limit = limit
        self._interval = interval
        self._open: dict[Pinged, None] = {}
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return len(self._open) >= self._limit

    def add(self, connection: Pinged) -> None:
        """A connection has opened."""
        self._open[connection] = None
        self._all_gone.clear()

    def remove(self, connection: Pinged) -> None:
        """A connection is closed, to the last byte."""
        self._open.pop(connection, None)
        if not self._open:
            self._all_gone.set()

    async def keep_alive(self) -> None:
        """Ping and look after all connections, for ever."""
        if not self._interval:
            return
        while True:
            connections = tuple(self._open)
            slices = len(connections) // SLICE + 1
            for index in range(slices):
                for connection in connections[index::slices]:
                    self._look_after(connection)
                await asyncio.sleep(self._interval / slices)

    def _look_after(self, connection: Pinged) -> None:
        if connection not in self._open:
            return
        if connection.heard:
            connection.heard = False
            connection.ping()
        else:
            connection.close(CloseCode.PING_TIMEOUT, LeaveReason.TIMEOUT)

    async def close_all(self, code: CloseCode, patience: float) -> None:
        """Close every connection, wait `patience` seconds for the clients to answer, and hang up on the rest."""
        for connection in tuple(self._open):
            connection.close(code)
        try:
            async with asyncio.timeout(patience):
                await self._all_gone.wait()
        except TimeoutError:
            for connection in tuple(self._open):
                connection.abort()
