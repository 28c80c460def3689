"""One WebSocket to the server."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from websockets.exceptions import ConnectionClosed

from mcp_actors.client.heartbeat import DEAD, Heartbeat
from mcp_actors.client.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection

    from mcp_actors.client.events import Json

logger = logging.getLogger(__name__)

LOST = 1006
"""The code of a connection that ended without a close frame."""

CLOSE_TIMEOUT = 2.0
"""Seconds to wait for the server's close frame."""

PING = '{"type":"ping"}'


class Loss(NamedTuple):
    """The end of a connection: its close code and reason."""

    code: int
    reason: str


class Link:
    """Reads until the connection ends, writes in the order posted, and notices when nothing arrives any more.

    `session` is what this connection resumes, or the one that it has begun. `receive` is called with each message.
    """

    def __init__(self, socket: ClientConnection, session: Session, receive: Callable[[Link, Json], None]) -> None:
        loop = asyncio.get_running_loop()
        self.session = session
        self.opened_at = self.heard_at = self.now()
        self.resumed: bool | None = None
        """Whether the session goes on; None until the server has said so."""
        self.complete = False
        """Whether it goes on, and no message is missing."""
        self.lost: asyncio.Future[Loss] = loop.create_future()
        self.asked_to_move: asyncio.Future[float] = loop.create_future()
        """Resolved with seconds when the server process is about to stop."""
        self.complaint = ""
        """The text of the last error of the server."""
        self.hurry = asyncio.Event()
        """Set when the move must not wait that long."""
        self._fresh = True
        self._socket, self._receive = socket, receive
        self._heartbeat = Heartbeat(self.opened_at)
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())
        self._helpers = [asyncio.create_task(self._write())]

    @staticmethod
    def now() -> float:
        """The clock of a link, in seconds."""
        return time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return not self.lost.done()

    def post(self, text: str) -> None:
        """Send a message after those posted before; nothing happens on a connection that is lost."""
        self._outgoing.put_nowait(text)

    def greet(self, payload: Json) -> None:
        """Keep what the reply to a join says about the session and the connection."""
        self.session.token = payload.get("resume")
        self._start_heartbeat(float(payload.get("ping_interval") or 0))

    def note_resumed(self, payload: Json) -> None:
        """Keep what the first reply says about the session that was to be resumed."""
        self.resumed = payload.get("resumed") is True
        self.complete = self.resumed and payload.get("complete") is True

    def ask_to_move(self, after: float) -> None:
        """The server process is about to stop: another link is needed in so many seconds."""
        if not self.asked_to_move.done():
            self.asked_to_move.set_result(after)

    def restart_session(self) -> None:
        """Begin without a session."""
        self.session = Session()

    def is_new(self, delivery: int) -> bool:
        """Whether no message with this number was received before, on any connection of the session; remember it."""
        if self._fresh and delivery == 1:  # another session: one that is resumed continues after `received`
            self.session = Session(self.session.token)
        self._fresh = False
        if delivery <= self.session.delivered:
            return False
        self.session.delivered = delivery
        return True

    async def close(self, code: int) -> None:
        """Close, and read what still arrives."""
        await self._socket.close(code)
        await asyncio.wait([self._reader])

    def abort(self) -> None:
        """Give up a connection on which nothing arrives."""
        self._socket.transport.abort()

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                self.heard_at = self.now()
                self._heartbeat.heard(self.heard_at)
                self._receive(self, json.loads(text))
        except ConnectionClosed:
            pass
        except Exception:
            logger.exception("A message of the server could not be handled")
            self.abort()
        finally:
            for helper in self._helpers:
                helper.cancel()
            self.lost.set_result(Loss(self._socket.close_code or LOST, self._socket.close_reason or ""))

    async def _write(self) -> None:
        try:
            while True:
                await self._socket.send(await self._outgoing.get())
        except ConnectionClosed:
            pass

    def _start_heartbeat(self, interval: float) -> None:
        started = self._heartbeat.interval > 0
        self._heartbeat.interval = interval
        if interval and not started:
            self._helpers.append(asyncio.create_task(self._beat()))

    async def _beat(self) -> None:
        while (pause := self._heartbeat.check(self.now())) != DEAD:
            if self._heartbeat.ping_due:
                self.post(PING)
            await asyncio.sleep(pause)
        self.abort()
