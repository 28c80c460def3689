"""Offers and answers with one other peer, over as many RTCPeerConnections as it takes."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from mcp_actors.client.aiortc.closing import close_connection
from mcp_actors.client.aiortc.session_description import (
    candidate_types,
    described,
    has_data_channels,
    new_session,
    session_of,
)
from mcp_actors.client.errors import LOST_CODES, ClientCode, SignalingError
from mcp_actors.client.events import Answer, IceCandidate, Offer
from mcp_actors.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_actors.client.peer_room import PeerRoom

logger = logging.getLogger(__name__)

MAX_HELD_CANDIDATES = 100
"""Candidates of a peer that wait for its description."""

MAX_STEPS = 1000
"""Messages of a peer that wait for those before them; further ones are dropped."""

ANSWER_TIME = 1.5
"""Seconds for an answer to arrive, before the other peer counts as gone."""

ANSWER_TIMEOUT = 15.0
"""Seconds for which an offer waits for an answer, before another one is made: the other peer is there, but silent."""

MAX_ATTEMPTS, RETRY_DELAY = 4, 0.5
"""The number of times that a description is sent while the server says to retry, and seconds before the second."""

CLOSE_TIMEOUT = 5.0
"""Seconds to wait for connections to be closed: a TURN server that does not answer delays it."""

NO_REFUSAL = LOST_CODES | {
    ClientCode.CLOSED,
    ErrorCode.NOT_IN_ROOM,
    ErrorCode.PEER_NOT_FOUND,
    ErrorCode.STALE_NEGOTIATION,
}
"""Codes after which another description follows, or nobody waits for one."""


class Negotiator(Protocol):
    """What a negotiation needs of its pair."""

    def is_polite(self) -> bool:
        """Whether this side yields if both have offered."""

    def open(self) -> RTCPeerConnection:
        """Make a connection, the first one or one that replaces another."""

    def begin(self, connection: RTCPeerConnection) -> None:
        """Add the heartbeat, before a description with data channels is made."""

    def negotiated(self, sdp: str) -> None:
        """A description of the other side is set."""

    def refused(self, error: SignalingError | None) -> None:
        """The server has refused a description of this side, or one was sent."""


class Negotiation:
    """What happens between two peers is handled in order, and holds up no other pair."""

    def __init__(self, room: PeerRoom, peer: str, its: Negotiator) -> None:
        self._room, self._peer, self._its = room, peer, its
        self._steps: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(MAX_STEPS)
        self._held: list[IceCandidate] = []
        self._session = new_session()
        self._number = 0
        """The number of the offer whose description is set."""
        self._describing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._offered_at: float | None = None
        """When an offer was made that has no answer yet."""
        self._is_working = False
        self.remote_candidates: set[str] = set()
        """The types of the candidates of the other side."""
        self.offers_heard = 0
        self.connection = its.open()
        self._task = asyncio.create_task(self._run())

    def is_busy(self, now: float) -> bool:
        """Whether something is being negotiated: an offer without an answer counts for a while."""
        is_unanswered = self._offered_at is not None and now - self._offered_at < ANSWER_TIMEOUT
        return is_unanswered or self._is_working or not self._steps.empty()

    def is_answer_late(self, now: float) -> bool:
        """Whether an answer should have come by now."""
        return self._offered_at is not None and now - self._offered_at > ANSWER_TIME

    def do(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step after those before it."""
        try:
            self._steps.put_nowait(step)
        except asyncio.QueueFull:
            logger.warning("Messages of %s are dropped, as too many wait", self._peer)

    async def offer(self) -> None:
        """Make an offer, on a connection that was not used yet."""
        self._its.begin(self.connection)
        await self._describe(await self.connection.createOffer())
        await self._send_offer()

    async def start_over(self) -> None:
        """Make an offer on a new connection."""
        self._replace()
        await self.offer()

    async def receive(self, event: Offer | Answer | IceCandidate) -> None:
        """Take what the other peer has sent."""
        match event:
            case Offer(offer=offer, negotiation=number):
                self.offers_heard += 1
                await self._answer(offer, number)
            case Answer(answer=answer, negotiation=number):
                if self.connection.signalingState == "have-local-offer" and number in (None, self._number):
                    self._offered_at = None
                    await self._apply(answer)
            case IceCandidate():
                await self._add_candidate(event)

    def rejoined(self) -> None:
        """Numbers of offers start again, and an offer without an answer was lost, or its answer was."""
        self._number = 0
        if self.connection.signalingState == "have-local-offer":
            self.do(self._send_offer)

    async def close(self) -> None:
        """Close the connection."""
        self._task.cancel()
        if self._describing:
            await asyncio.wait([self._describing], timeout=CLOSE_TIMEOUT)
        self._close_later(self.connection)
        await asyncio.wait([self._task, *self._closing], timeout=CLOSE_TIMEOUT)

    async def _run(self) -> None:
        while True:
            step = await self._steps.get()
            self._is_working = True
            try:
                await step()
            except Exception:  # what the other peer sends may be anything
                logger.exception("The negotiation with %s has failed", self._peer)
            self._is_working = False

    def _replace(self) -> None:
        old, self.connection = self.connection, self._its.open()
        self._session = new_session()
        self._offered_at = None
        self.remote_candidates.clear()
        self._close_later(old)

    def _close_later(self, connection: RTCPeerConnection) -> None:
        """Close in the background."""
        task = asyncio.create_task(close_connection(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _answer(self, offer: dict[str, Any], number: int | None) -> None:
        state = self.connection.signalingState
        if state == "have-local-offer" and not self._its.is_polite():
            return  # both have offered; the other peer yields
        if state != "stable" or self._is_foreign(offer):  # aiortc has no rollback
            self._replace()
        self._number = number or 0
        await self._apply(offer)
        with_data = has_data_channels(offer["sdp"])
        if with_data:
            self._its.begin(self.connection)
        await self._describe(await self.connection.createAnswer())
        await self._send(lambda description: self._room.answer(self._peer, description, number), with_data)

    async def _describe(self, description: RTCSessionDescription) -> None:
        """Set the local description. Nothing may cancel that: aioice would not close the sockets that it has opened."""
        self._describing = asyncio.create_task(self.connection.setLocalDescription(description))
        await asyncio.shield(self._describing)

    def _is_foreign(self, offer: dict[str, Any]) -> bool:
        """Whether the other peer has started over with a new connection."""
        known = self.connection.remoteDescription
        return known is not None and session_of(known.sdp) != session_of(offer["sdp"])

    async def _apply(self, description: dict[str, Any]) -> None:
        sdp = description["sdp"]
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, description["type"]))
        self.remote_candidates |= candidate_types(sdp)
        self._its.negotiated(sdp)
        held, self._held = self._held, []
        for candidate in held:
            await self._add_candidate(candidate)

    async def _add_candidate(self, event: IceCandidate) -> None:
        if event.negotiation is not None and event.negotiation < self._number:
            return  # of a description that was replaced
        if not self.connection.remoteDescription:
            self._held = [*self._held[-MAX_HELD_CANDIDATES + 1 :], event]
            return
        text = event.candidate.get("candidate") if event.candidate else None
        if text:
            self.remote_candidates |= candidate_types(text)
            candidate = candidate_from_sdp(text.removeprefix("candidate:"))
            candidate.sdpMid = event.candidate.get("sdpMid")
            candidate.sdpMLineIndex = event.candidate.get("sdpMLineIndex")
            await self.connection.addIceCandidate(candidate)

    async def _send_offer(self) -> None:
        is_sent = await self._send(lambda description: self._room.offer(self._peer, description), with_data=True)
        self._number = self._room.offer_number(self._peer) or 0
        self._offered_at = time.monotonic() if is_sent else None

    async def _send(self, send: Callable[[dict[str, str]], Awaitable[object]], with_data: bool) -> bool:
        """Send the local description, which has all candidates; return whether the other peer gets it."""
        local = self.connection.localDescription
        sdp = described(local.sdp, self._session, with_heartbeat=with_data)
        for attempt in range(MAX_ATTEMPTS):
            try:
                await send({"type": local.type, "sdp": sdp})
            except SignalingError as error:
                if not error.retryable or attempt == MAX_ATTEMPTS - 1:
                    return self._refuse(local.type, error)
                await asyncio.sleep(RETRY_DELAY * 2**attempt)
            else:
                break
        self._its.refused(None)
        return True

    def _refuse(self, kind: str, error: SignalingError) -> bool:
        logger.debug("The %s for %s was not delivered: %s", kind, self._peer, error)
        self._its.refused(None if error.code in NO_REFUSAL else error)
        return False
