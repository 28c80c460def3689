"""The gate of HTTP requests: one passes in each round of the event loop, and a further one is followed by a rest."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING

from mcp_actors.adapters.tornado.fair_queue import FairQueue
from mcp_actors.ws.fair_scheduler import REST

if TYPE_CHECKING:
    from collections.abc import Callable

FURTHER_SHARE = 4
"""One of so many requests that pass is a further one of its connection, if any waits."""


class Rank(IntEnum):
    """The order in which waiting requests pass; lower ranks first."""

    HANDSHAKE = 0
    """A WebSocket handshake."""

    FIRST = 1
    """Another first request of a connection, or its TLS handshake."""

    FURTHER = 2
    """A further request of a connection."""


class RequestGate:
    """Lets addresses pass in turn, by rank.

    So a newcomer waits for one handshake of each address that waits for one, and not for those that flood. A flood of
    further requests gets a part of the CPU only, however cheap each is.
    """

    def __init__(self) -> None:
        self._queues: dict[Rank, FairQueue[Callable[[], None]]] = {rank: FairQueue() for rank in Rank}
        self._passed = 0
        self._round_under_way = False

    def enter(self, address: str, callback: Callable[[], None], rank: Rank) -> None:
        """Call `callback` when the turn of a request has come, which may be at once."""
        if self._round_under_way:
            self._queues[rank].push(address, callback)
        else:
            self._start_round(rank)
            callback()

    def _start_round(self, rank: Rank) -> None:
        self._round_under_way = True
        asyncio.get_running_loop().call_soon(self._end_round, REST if rank is Rank.FURTHER else 0.0)

    def _end_round(self, rest: float) -> None:
        asyncio.get_running_loop().call_later(rest, self._next_round)  # what has passed is handled first

    def _next_round(self) -> None:
        self._passed += 1
        ranks = reversed(Rank) if self._passed % FURTHER_SHARE == 0 else iter(Rank)
        rank = next((rank for rank in ranks if self._queues[rank]), None)
        if rank is None:
            self._round_under_way = False
            return
        self._start_round(rank)
        self._queues[rank].pop()()
