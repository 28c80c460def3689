"""A mesh of RTCPeerConnections of aiortc; the extra `aiortc` installs what it needs.

    async with connect("ws://localhost:8000") as server:
        await Mesh(await server.join("team-1"), prepare).run()

`prepare(peer_id, connection)` adds tracks, handlers and data channels to each new connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from mcp_actors.client.errors import SignalingError
from mcp_actors.client.events import Answer, Event, IceCandidate, Offer, PeerJoined, PeerLeft, Rejoined

if TYPE_CHECKING:
    from mcp_actors.client.peer_room import PeerRoom

logger = logging.getLogger(__name__)

Prepare: TypeAlias = Callable[[str, RTCPeerConnection], object]

MAX_HELD_CANDIDATES = 100
"""Candidates of a peer that wait for its description."""

MAX_STEPS = 1000
"""Messages of a peer that wait for those before them; further ones are dropped."""

MAX_ATTEMPTS, RETRY_DELAY = 4, 0.5
"""The number of times that a description is sent while the server says to retry, and seconds before the second."""

_SESSION = re.compile(r"^o=\S+ (\d+)", re.MULTILINE)


class Mesh:
    """A connection to every other peer of a room. Of two peers, the one with the higher `order` offers and yields.

    `prepare` is called with the id of the peer and each new connection, before anything is negotiated. Both sides call
    theirs, so that a data channel is best a negotiated one: `createDataChannel("chat", negotiated=True, id=0)`.
    `on_event` is called with all events of the room that are not about connections. A connection that has failed is
    replaced.
    """

    def __init__(self, room: PeerRoom, prepare: Prepare, on_event: Callable[[Event], object] = lambda _: None) -> None:
        self._room, self._prepare, self._on_event = room, prepare, on_event
        self._pairs: dict[str, _Pair] = {}

    @property
    def connections(self) -> dict[str, RTCPeerConnection]:
        """The current connections by the ids of peers."""
        return {peer: pair.connection for peer, pair in self._pairs.items()}

    async def run(self) -> None:
        """Connect to everybody until the room ends, and close all connections. Raises as the iteration of the room."""
        try:
            self._meet_all()
            async for event in self._room:
                self._handle(event)
        finally:
            await asyncio.gather(*(pair.close() for pair in self._pairs.values()))

    def _meet_all(self) -> None:
        """Offer to all peers that expect it and have no connection yet."""
        for peer in self._room.peers.values():
            if peer.order < self._room.order and peer.peer_id not in self._pairs:
                self._pair(peer.peer_id).do(_Pair.offer)

    def _handle(self, event: Event) -> None:
        match event:
            case PeerJoined():
                self._meet_all()
            case Offer(sender=peer) | Answer(sender=peer) | IceCandidate(sender=peer):
                self._pair(peer).do(lambda pair: pair.take(event))
                return
            case PeerLeft(peer_id=peer):
                self._forget(peer)
            case Rejoined():
                for gone in self._pairs.keys() - self._room.peers.keys():
                    self._forget(gone)
                self._meet_all()
        self._on_event(event)

    def _pair(self, peer: str) -> _Pair:
        if peer not in self._pairs:
            self._pairs[peer] = _Pair(self._room, peer, self._prepare)
        return self._pairs[peer]

    def _forget(self, peer: str) -> None:
        if pair := self._pairs.pop(peer, None):
            pair.end()


class _Pair:
    """This peer and another one. What happens between them is handled in order, and holds up no other pair."""

    def __init__(self, room: PeerRoom, peer: str, prepare: Prepare) -> None:
        self._room, self._peer, self._prepare = room, peer, prepare
        self._steps: asyncio.Queue[Callable[[_Pair], Awaitable[None]]] = asyncio.Queue(MAX_STEPS)
        self._held: list[IceCandidate] = []
        self.connection = self._open()
        self._task = asyncio.create_task(self._run())
        self._ending: asyncio.Task[None] | None = None

    def do(self, step: Callable[[_Pair], Awaitable[None]]) -> None:
        """Take a step after those before it."""
        try:
            self._steps.put_nowait(step)
        except asyncio.QueueFull:
            logger.warning("Messages of %s are dropped, as too many wait", self._peer)

    async def offer(self) -> None:
        """Make an offer."""
        connection = self.connection
        await connection.setLocalDescription(await connection.createOffer())
        await self._send(lambda text: self._room.offer(self._peer, text))

    async def take(self, event: Offer | Answer | IceCandidate) -> None:
        """Take what the other peer has sent."""
        match event:
            case Offer(offer=offer, negotiation=number):
                await self._answer(offer, number)
            case Answer(answer=answer) if self.connection.signalingState == "have-local-offer":
                await self._apply(answer)
            case IceCandidate():
                await self._add_candidate(event)

    def end(self) -> None:
        """Close the connection in the background."""
        self._ending = asyncio.create_task(self.close())

    async def close(self) -> None:
        """Close the connection."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.connection.close()

    async def _run(self) -> None:
        while True:
            step = await self._steps.get()
            try:
                await step(self)
            except Exception:  # what the other peer sends may be anything
                logger.exception("The negotiation with %s has failed", self._peer)

    def _open(self) -> RTCPeerConnection:
        servers = [RTCIceServer(**server) for server in self._room.ice_servers]
        connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        connection.on("connectionstatechange", lambda: self._watch(connection))
        self._prepare(self._peer, connection)
        return connection

    def _watch(self, connection: RTCPeerConnection) -> None:
        if connection is self.connection and connection.connectionState == "failed" and self._is_polite():
            self.do(_Pair._start_over)

    async def _start_over(self) -> None:
        await self._replace()
        await self.offer()

    async def _replace(self) -> None:
        old, self.connection = self.connection, self._open()
        await old.close()

    def _is_polite(self) -> bool:
        other = self._room.peers.get(self._peer)
        return other is not None and other.order < self._room.order

    async def _answer(self, offer: dict[str, Any], number: int | None) -> None:
        state = self.connection.signalingState
        if state == "have-local-offer" and not self._is_polite():
            return  # both have offered; the other peer yields
        if state != "stable" or self._is_foreign(
            offer
        ):  # aiortc has no rollback, and closes what the other peer closes
            await self._replace()
        await self._apply(offer)
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        await self._send(lambda text: self._room.answer(self._peer, text, number))

    def _is_foreign(self, offer: dict[str, Any]) -> bool:
        """Whether the other peer has started over with a new connection."""
        known = self.connection.remoteDescription
        return known is not None and _session(known.sdp) != _session(offer["sdp"])

    async def _apply(self, description: dict[str, Any]) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(description["sdp"], description["type"]))
        held, self._held = self._held, []
        for candidate in held:
            await self._add_candidate(candidate)

    async def _add_candidate(self, event: IceCandidate) -> None:
        if not self.connection.remoteDescription:
            self._held = [*self._held[-MAX_HELD_CANDIDATES + 1 :], event]
        elif event.candidate and event.candidate.get("candidate"):
            candidate = candidate_from_sdp(event.candidate["candidate"].removeprefix("candidate:"))
            candidate.sdpMid = event.candidate.get("sdpMid")
            candidate.sdpMLineIndex = event.candidate.get("sdpMLineIndex")
            await self.connection.addIceCandidate(candidate)

    async def _send(self, send: Callable[[dict[str, str]], Awaitable[object]]) -> None:
        """Send the local description, which has all candidates; it is of no use to a peer that has left."""
        local = self.connection.localDescription
        for attempt in range(MAX_ATTEMPTS):
            try:
                await send({"type": local.type, "sdp": local.sdp})
            except SignalingError as error:
                if not error.retryable:
                    logger.debug("The %s for %s was not delivered: %s", local.type, self._peer, error)
                    return
                await asyncio.sleep(RETRY_DELAY * 2**attempt)
            else:
                return


def _session(sdp: str) -> str | None:
    """The session id of a description: it changes with the connection."""
    found = _SESSION.search(sdp)
    return found[1] if found else None
