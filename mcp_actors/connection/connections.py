"""The open connections of this process: limited, pinged, and closed when they are dead or idle, or all together."""

from __future__ import annotations

import asyncio
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

import structlog

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = structlog.get_logger("mcp_actors.connection")

DEFAULT_ROUND = 20.0
"""Seconds in which each connection is checked once when there are no pings."""

SLOTS = 200
"""Parts of a round. Each connection belongs to one, so that they are not all checked at the same moment."""


BATCH = 200
"""Connections that are closed in one turn of the event loop, which takes some milliseconds."""


class OpenConnection(Protocol):
    """A connection, as it is seen here."""

    @property
    def id(self) -> int:
        """Its number in this process."""

    @property
    def in_room(self) -> bool:
        """Whether it is in a room, or is joining one."""

    def take_heard(self) -> bool:
        """Return whether anything arrived since the last call, or might have if it had been read."""

    def is_stuck(self) -> bool:
        """Count what is kept for the client; whether it took nothing since the last two calls though more waited."""

    def ping(self) -> None:
        """Ask the client for a sign of life."""

    def ask_to_reconnect(self, after: float) -> None:
        """Ask the client to go elsewhere in so many seconds."""

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Close the connection; its rooms are told `leave`."""

    def drop(self) -> None:
        """Drop the connection at once, as one that is too slow unless it is closed already."""


class Connections:
    """All open connections, at most `limit`.

    Each is pinged once per `interval` seconds, and closed if nothing arrives until its next ping is due, or if it takes
    nothing of what waits for it until the ping after that. It is closed, too, when it has sent no valid message for
    `first_message_timeout` seconds, or was in no room for `idle_timeout` seconds. A time of 0 turns its check off.
    """

    def __init__(
        self, limit: int, interval: float, *, first_message_timeout: float = 0.0, idle_timeout: float = 0.0
    ) -> None:
        self.stopping = False
        """Whether no more connections are accepted, as this process is about to end."""
        self._limit = limit
        self._interval = interval
        self._first_message_timeout = first_message_timeout
        self._idle_timeout = idle_timeout
        self._open: dict[OpenConnection, int] = {}
        self._silent_since: dict[OpenConnection, float] = {}
        """Connections without a first message, the oldest first."""
        self._roomless_since: dict[OpenConnection, float] = {}
        self._slots: list[dict[OpenConnection, None]] = [{} for _ in range(SLOTS)]
        self._next_slot = 0
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenConnection]:
        return iter(self._open)

    @property
    def refusal(self) -> str | None:
        """Why no more connections are accepted; None while they are."""
        if self.stopping:
            return "The server is stopping; try again in a moment."
        if len(self._open) >= self._limit:
            return "The server holds as many connections as it may; try again later."
        return None

    def add(self, connection: OpenConnection, now: float) -> None:
        """Count a connection that has opened."""
        self._next_slot = (self._next_slot + 1) % SLOTS
        self._open[connection] = self._next_slot
        self._slots[self._next_slot][connection] = None
        if self._first_message_timeout:
            self._silent_since[connection] = now
        self._all_gone.clear()

    def spoke(self, connection: OpenConnection) -> None:
        """Note that a connection has sent a valid message."""
        self._silent_since.pop(connection, None)

    def joins(self, connection: OpenConnection) -> None:
        """Note that a connection joins a room, which starts its idle time anew."""
        self._roomless_since.pop(connection, None)

    def remove(self, connection: OpenConnection) -> None:
        """Forget a connection that is closed to the last byte."""
        slot = self._open.pop(connection, None)
        if slot is not None:
            del self._slots[slot][connection]
        self._silent_since.pop(connection, None)
        self._roomless_since.pop(connection, None)
        if not self._open:
            self._all_gone.set()

    async def run(self) -> None:
        """Check all connections, for ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for slot in self._slots:
                self._close_silent(loop.time())
                for connection in tuple(slot):
                    if connection in slot:
                        self._check(connection, loop.time())
                due = max(due + (self._interval or DEFAULT_ROUND) / SLOTS, loop.time())
                await asyncio.sleep(due - loop.time())

    def stop_accepting(self) -> tuple[OpenConnection, ...]:
        """Refuse new connections from now on, and return the open ones."""
        self.stopping = True
        return tuple(self._open)

    async def all_gone(self) -> None:
        """Wait until no connection is left."""
        await self._all_gone.wait()

    async def close_all(self, code: CloseCode, patience: float) -> None:
        """Accept no more, close every connection, wait `patience` seconds for the answers, and abort the rest.

        Connections are closed a few at a time, as each has rooms to tell. One that fails does not keep the others.
        """
        await self._each(lambda connection: connection.close(code))
        try:
            async with asyncio.timeout(patience):
                await self.all_gone()
        except TimeoutError:
            await self._each(lambda connection: connection.drop())

    async def _each(self, act: Callable[[OpenConnection], None]) -> None:
        for number, connection in enumerate(self.stop_accepting(), 1):
            try:
                act(connection)
            except Exception:
                log.exception("closing a connection failed", connection=connection.id)
            if number % BATCH == 0:
                await asyncio.sleep(0)

    def _close_silent(self, now: float) -> None:
        opened_before = now - self._first_message_timeout
        for connection, _ in list(takewhile(lambda entry: entry[1] <= opened_before, self._silent_since.items())):
            del self._silent_since[connection]
            connection.close(CloseCode.IDLE)

    def _check(self, connection: OpenConnection, now: float) -> None:
        try:
            stuck = connection.is_stuck()
            if self._idle_timeout and self._is_idle(connection, now):
                connection.close(CloseCode.IDLE)
            elif not self._interval:
                return
            elif stuck:
                connection.drop()
            elif connection.take_heard():
                connection.ping()
            else:
                connection.close(CloseCode.PING_TIMEOUT, LeaveReason.TIMEOUT)
        except Exception:
            log.exception("heartbeat failed for a connection", connection=connection.id)

    def _is_idle(self, connection: OpenConnection, now: float) -> bool:
        if connection.in_room:
            self._roomless_since.pop(connection, None)
            return False
        return now - self._roomless_since.setdefault(connection, now) >= self._idle_timeout
