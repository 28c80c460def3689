"""The open connections of this process: counted, kept alive, and closed together."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.transports.deadlines import FirstWords

log = structlog.get_logger("mcp_actors.connection")

ROUND = 20.0
"""Seconds in which each connection is looked at once where there are no pings."""

SLOTS = 200
"""Parts of an interval. Each connection is looked at in its own, and not all of them at once."""


class Pinged(Protocol):
    """A connection, as the heartbeat sees it."""

    heard: bool
    """Set by the connection whenever anything arrives; cleared here."""

    def ping(self) -> None:
        """Ask the client to show that it is there."""

    def roomless(self, now: float) -> float:
        """Seconds for which it has been in no room."""

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Close the connection; `leave` is the reason its rooms hear."""

    def ask_to_reconnect(self, after: float) -> None:
        """Tell the client to go elsewhere in so many seconds."""

    def abort(self) -> None:
        """Hang up at once."""


class Connections:
    """All open connections, at most `limit`; one heartbeat serves them all.

    Each connection is pinged once per `interval` seconds; one that was silent for the whole interval after its ping is
    closed, so a dead one is found within two. An `interval` of 0 turns the heartbeat off.

    One that has said nothing valid within `first_words` seconds is closed, and so is one that is found to have been in
    no room for `roomless` seconds; 0 lets them be.
    """

    def __init__(self, limit: int, interval: float, *, first_words: float = 0.0, roomless: float = 0.0) -> None:
        self._limit = limit
        self._interval = interval
        self._roomless = roomless
        self._first_words: FirstWords[Pinged] = FirstWords(first_words)
        self._has_deadlines = bool(first_words or roomless)
        self._open: dict[Pinged, int] = {}
        self._slots: list[dict[Pinged, None]] = [{} for _ in range(SLOTS)]
        self._next_slot = 0
        self._stopping = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def stopping(self) -> bool:
        """Whether no more are taken, as this process is about to end."""
        return self._stopping

    @property
    def refusal(self) -> str | None:
        """Why no more connections are taken; None while they are."""
        if self._stopping:
            return "The server is stopping; try again in a moment."
        if len(self._open) >= self._limit:
            return "The server holds as many connections as it may; try again later."
        return None

    def add(self, connection: Pinged) -> None:
        """A connection has opened."""
        self._next_slot = (self._next_slot + 1) % SLOTS
        self._open[connection] = self._next_slot
        self._slots[self._next_slot][connection] = None
        self._first_words.opened(connection, asyncio.get_running_loop().time())
        self._all_gone.clear()

    def spoke(self, connection: Pinged) -> None:
        """A connection has said something valid."""
        self._first_words.done(connection)

    def remove(self, connection: Pinged) -> None:
        """A connection is closed, to the last byte."""
        slot = self._open.pop(connection, None)
        self._first_words.done(connection)
        if slot is not None:
            del self._slots[slot][connection]
        if not self._open:
            self._all_gone.set()

    async def keep_alive(self) -> None:
        """Ping and look after all connections, for ever."""
        if not self._interval and not self._has_deadlines:
            return
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for slot in self._slots:
                for connection in self._first_words.late(loop.time()):
                    connection.close(CloseCode.IDLE)
                for connection in tuple(slot):
                    if connection in slot:
                        self._look_after(connection, loop.time())
                due = max(due + (self._interval or ROUND) / SLOTS, loop.time())
                await asyncio.sleep(due - loop.time())

    def _look_after(self, connection: Pinged, now: float) -> None:
        try:
            if self._roomless and connection.roomless(now) >= self._roomless:
                connection.close(CloseCode.IDLE)
            elif not self._interval:
                return
            elif connection.heard:
                connection.heard = False
                connection.ping()
            else:
                connection.close(CloseCode.PING_TIMEOUT, LeaveReason.TIMEOUT)
        except Exception:
            log.exception("heartbeat failed on a connection")

    def take_no_more(self) -> tuple[Pinged, ...]:
        """Refuse all that come from now on; those that are there."""
        self._stopping = True
        return tuple(self._open)

    async def all_gone(self) -> None:
        """Wait until no connection is left."""
        await self._all_gone.wait()

    async def close_all(self, code: CloseCode, patience: float) -> None:
        """Take no more, close every connection, wait `patience` seconds for the answers, and hang up on the rest."""
        for connection in self.take_no_more():
            connection.close(code)
        try:
            async with asyncio.timeout(patience):
                await self.all_gone()
        except TimeoutError:
            for connection in tuple(self._open):
                connection.abort()
