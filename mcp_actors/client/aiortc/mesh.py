"""A connection to every other peer of a room."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, TypeAlias

from mcp_actors.client.aiortc.ice_server_pool import IceServerPool
from mcp_actors.client.aiortc.pair import TICK, Pair, Prepare
from mcp_actors.client.aiortc.pair_events import PairConnected, PairEvent, PairFailed
from mcp_actors.client.errors import SignalingError
from mcp_actors.client.events import (
    Answer,
    Event,
    IceCandidate,
    Offer,
    PeerBack,
    PeerJoined,
    PeerLeft,
    Rejoined,
    Signal,
)
from mcp_actors.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiortc import RTCPeerConnection

    from mcp_actors.client.peer_room import PeerRoom

logger = logging.getLogger(__name__)

MeshEvent: TypeAlias = Event | PairEvent

ABSENT_TIMEOUT = 30.0
"""Seconds for which a pair that is well is kept although the server no longer knows the peer, as after its restart."""

LEFT_ON_PURPOSE = frozenset({"left", "kicked", "replaced"})
"""Reasons for which a pair is closed. A peer that is lost to the server may still be connected to this one."""


class Mesh:
    """A connection to every other peer of a room. Of two peers, the one with the higher `order` offers and yields.

    `prepare` is called with the id of the peer and each new connection, before anything is negotiated. Both sides call
    theirs, so that a data channel is best a negotiated one: `createDataChannel("chat", negotiated=True, id=0)`.
    A connection that breaks is noticed within seconds, and replaced. `on_event` is called with PairConnected,
    PairHealed and PairFailed, and with all events of the room that are not about connections. `report`: whether the
    server is told how pairs are, for its metrics.
    """

    def __init__(
        self,
        room: PeerRoom,
        prepare: Prepare,
        on_event: Callable[[MeshEvent], object] = lambda _: None,
        *,
        report: bool = True,
    ) -> None:
        self._room, self._prepare, self._on_event = room, prepare, on_event
        self._reports = report
        self._servers = IceServerPool(room)
        self._pairs: dict[str, Pair] = {}
        self._absent: dict[str, float] = {}
        """When a peer of a pair was missed first."""
        self._reporting: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> dict[str, RTCPeerConnection]:
        """The current connections by the ids of peers."""
        return {peer: pair.connection for peer, pair in self._pairs.items()}

    async def run(self) -> None:
        """Connect to everybody until the room ends, and close all connections. Raises as the iteration of the room."""
        watching = asyncio.create_task(self._watch())
        try:
            await self._servers.start()
            self._meet_all()
            async for event in self._room:
                self._handle(event)
        finally:
            watching.cancel()
            for task in self._reporting:
                task.cancel()
            await asyncio.gather(watching, *self._reporting, return_exceptions=True)
            await asyncio.gather(*(pair.close() for pair in self._pairs.values()), *self._closing)
            await self._servers.close()

    def _handle(self, event: Event) -> None:
        match event:
            case Offer(sender=peer) | Answer(sender=peer) | IceCandidate(sender=peer):
                if pair := self._pairs.get(peer):
                    pair.receive(event)
                return
            case Signal(sender=peer, data=data) if peer in self._pairs and self._pairs[peer].take_signal(data):
                return
            case PeerJoined():
                self._meet_all()
            case PeerLeft(peer_id=peer, reason=reason) if reason in LEFT_ON_PURPOSE:
                self._forget(peer)
            case PeerBack(peer_id=peer) if peer in self._pairs:
                self._pairs[peer].doubt()
            case Rejoined():
                self._meet_all()
                for pair in self._pairs.values():
                    pair.rejoined()
        self._on_event(event)

    def _meet_all(self) -> None:
        """Begin with all peers that are new, and offer to those that expect it."""
        for peer in self._room.peers.values():
            if peer.peer_id == self._room.peer_id or peer.peer_id in self._pairs:
                continue
            pair = Pair(self._room, peer.peer_id, self._prepare, self._servers, self._tell)
            self._pairs[peer.peer_id] = pair
            if peer.order < self._room.order:
                pair.offer()

    def _forget(self, peer: str) -> None:
        if pair := self._pairs.pop(peer, None):
            _begin(pair.close(), self._closing)

    async def _watch(self) -> None:
        """Look at all pairs again and again."""
        was_connected = True
        while True:
            await asyncio.sleep(TICK)
            is_back = self._room.is_connected and not was_connected
            was_connected = self._room.is_connected
            self._forget_absent(time.monotonic())
            for peer, pair in list(self._pairs.items()):
                try:
                    if is_back:
                        pair.doubt()
                    pair.tick()
                except Exception:
                    logger.exception("The pair with %s could not be looked at", peer)

    def _forget_absent(self, now: float) -> None:
        """Forget pairs whose peer the server does not know, once they break, or it has not come back in time."""
        absent = self._pairs.keys() - self._room.peers.keys() if self._room.is_connected else set()
        self._absent = {peer: self._absent.get(peer, now) for peer in absent}
        for peer, since in self._absent.items():
            if not self._pairs[peer].is_well or now - since > ABSENT_TIMEOUT:
                self._forget(peer)

    def _tell(self, event: PairEvent) -> None:
        if self._reports:
            _begin(self._report(event), self._reporting)
        self._on_event(event)

    async def _report(self, event: PairEvent) -> None:
        failed = event if isinstance(event, PairFailed) else None
        outcome = "failed" if failed else "connected" if isinstance(event, PairConnected) else "healed"
        try:
            reason = failed.reason if failed else None
            await self._room.report(outcome, milliseconds=event.milliseconds, reason=reason)
        except SignalingError as error:
            if error.code == ErrorCode.BAD_MESSAGE:  # an older server, to which this request is a mistake
                self._reports = False


def _begin(coroutine: Coroutine[object, object, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
