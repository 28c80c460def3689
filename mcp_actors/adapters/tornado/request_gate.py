"""The gate of HTTP requests: one passes in each round of the event loop, and a further one is followed by a rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcp_actors.adapters.tornado.fair_queue import FairQueue
from mcp_actors.ws.fair_scheduler import REST

if TYPE_CHECKING:
    from collections.abc import Callable

FURTHER_SHARE = 4
"""One of so many requests that pass is a further one of its connection, if any waits."""


class RequestGate:
    """Lets addresses pass in turn, and the first request of a connection before further ones of others.

    So a newcomer waits for one request of each address that waits for its first, and not for those that flood. A flood
    of further requests gets a part of the CPU only, however cheap each is.
    """

    def __init__(self) -> None:
        self._first: FairQueue[Callable[[], None]] = FairQueue()
        self._further: FairQueue[Callable[[], None]] = FairQueue()
        self._passed = 0
        self._round_under_way = False

    def enter(self, address: str, callback: Callable[[], None], *, first: bool) -> None:
        """Call `callback` when the turn of a request has come, which may be at once."""
        queue = self._first if first else self._further
        if self._round_under_way:
            queue.push(address, callback)
        else:
            self._start_round(queue)
            callback()

    def _start_round(self, queue: FairQueue[Callable[[], None]]) -> None:
        self._round_under_way = True
        asyncio.get_running_loop().call_soon(self._end_round, REST if queue is self._further else 0.0)

    def _end_round(self, rest: float) -> None:
        asyncio.get_running_loop().call_later(rest, self._next_round)  # what has passed is handled first

    def _next_round(self) -> None:
        queue = self._next_queue()
        if not queue:
            self._round_under_way = False
            return
        self._start_round(queue)
        queue.pop()()

    def _next_queue(self) -> FairQueue[Callable[[], None]]:
        self._passed += 1
        preferred, other = self._first, self._further
        if self._passed % FURTHER_SHARE == 0:
            preferred, other = other, preferred
        return preferred or other
