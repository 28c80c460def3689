"""What one side of a pair tells the other one over the server."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mcp_actors.client.errors import SignalingError

if TYPE_CHECKING:
    from mcp_actors.client.peer_room import PeerRoom

logger = logging.getLogger(__name__)


class PairSignals:
    """Sends signals to a peer in the background."""

    def __init__(self, room: PeerRoom, peer: str) -> None:
        self._room, self._peer = room, peer
        self._offers_when_asked: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def begin_asking(self) -> None:
        """The pair has just broken."""
        self._offers_when_asked = None

    def ask_to_heal(self, offers_heard: int) -> None:
        """Ask the other side for a new connection, unless an offer has arrived since the last time."""
        before, self._offers_when_asked = self._offers_when_asked, offers_heard
        if before in (None, offers_heard):
            self._send({"callHeal": {"replace": True}})

    def tell_problem(self, code: str) -> None:
        """Tell the other side why it waits in vain: the server refuses what this side sends."""
        self._send({"callProblem": {"code": code}})

    async def close(self) -> None:
        """Send nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self, data: dict[str, object]) -> None:
        task = asyncio.create_task(self._try(data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, data: dict[str, object]) -> None:
        try:
            await self._room.signal(self._peer, data)
        except SignalingError as error:
            logger.debug("A signal for %s was not delivered: %s", self._peer, error)
