"""This peer and another one: their connection, and healing it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from aiortc import RTCConfiguration, RTCPeerConnection

from mcp_actors.client.aiortc.diagnosis import Findings, Reason, diagnose
from mcp_actors.client.aiortc.health import FAILED_AFTER, PairHealth
from mcp_actors.client.aiortc.heartbeat import PairHeartbeat
from mcp_actors.client.aiortc.negotiation import Negotiation
from mcp_actors.client.aiortc.pair_events import PairConnected, PairEvent, PairFailed, PairHealed
from mcp_actors.client.aiortc.pair_signals import PairSignals
from mcp_actors.client.aiortc.session_description import announces_heartbeat, candidate_types

if TYPE_CHECKING:
    from mcp_actors.client.aiortc.ice_server_pool import IceServerPool
    from mcp_actors.client.errors import SignalingError
    from mcp_actors.client.events import Answer, IceCandidate, Offer
    from mcp_actors.client.peer_room import PeerRoom

logger = logging.getLogger(__name__)

Prepare: TypeAlias = Callable[[str, RTCPeerConnection], object]

TICK = 0.5
"""Seconds between two looks at a pair."""

ASKED_PAUSE = 1.0
"""Seconds after an attempt to heal in which the other side asks in vain for another one."""


class Pair:
    """Watches the connection to a peer, and replaces it when it is broken: aiortc cannot restart ICE.

    Of the two sides, the polite one replaces it, which has the higher `order`; the other one asks for that. `tell` is
    called with what becomes of the pair.
    """

    def __init__(
        self, room: PeerRoom, peer: str, prepare: Prepare, servers: IceServerPool, tell: Callable[[PairEvent], object]
    ) -> None:
        self._room, self._peer, self._prepare, self._servers, self._tell = room, peer, prepare, servers, tell
        self._health = PairHealth(time.monotonic())
        self._heartbeat: PairHeartbeat | None = None
        self._is_announced = False
        self._is_refused = self._is_other_refused = False
        """Whether the server has refused the last description of this side; of the other side."""
        self._reason: Reason | None = None
        self._was_connected = False
        self._attempted_at = -ASKED_PAUSE
        self._signals = PairSignals(room, peer)
        self._candidates: frozenset[str] | None = None
        """The types of the last candidates of this side; None before the first."""
        self._is_closed = False
        self._negotiation = Negotiation(room, peer, self)

    @property
    def connection(self) -> RTCPeerConnection:
        """The current one."""
        return self._negotiation.connection

    @property
    def is_well(self) -> bool:
        """Whether it is connected."""
        return self._health.is_well

    def offer(self) -> None:
        """Make the first offer."""
        self._negotiation.do(self._negotiation.offer)

    def receive(self, event: Offer | Answer | IceCandidate) -> None:
        """Take a description or a candidate of the other side."""
        self._negotiation.do(lambda: self._negotiation.receive(event))

    def take_signal(self, data: object) -> bool:
        """Take a signal about the pair; return whether it is one."""
        match data:
            case {"callHeal": dict() as asked}:
                self._heal_as_asked(time.monotonic(), replace=asked.get("replace") is True)
            case {"callProblem": dict()}:
                self._is_other_refused = True
            case _:
                return False
        return True

    def rejoined(self) -> None:
        """Messages of signaling were lost."""
        self._negotiation.rejoined()

    def doubt(self) -> None:
        """Something may have cut the path, or signaling is back: look soon."""
        now = time.monotonic()
        if self._heartbeat:
            self._heartbeat.silence.doubt(now)
        self._health.hurry(now)

    def tick(self) -> None:
        """Look at the pair, and do what is due."""
        now = time.monotonic()
        if self._heartbeat:
            self._heartbeat.tick(now, TICK)
        self._look(now)
        if self._health.fail(now):
            self._fail(now)
        if self._health.is_attempt_due(now):
            if self._health.has_failed and self._diagnose() != self._reason:
                self._fail(now)
            if self._may_attempt(now):
                self._health.attempt(now)
                self._attempt(now)

    async def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        await self._signals.close()
        await self._negotiation.close()

    # What the negotiation asks for

    def is_polite(self) -> bool:
        """See `Negotiator`."""
        other = self._room.peers.get(self._peer)
        return other is not None and other.order < self._room.order

    def open(self) -> RTCPeerConnection:
        """See `Negotiator`."""
        now = time.monotonic()
        self._health.break_(now, now)
        self._heartbeat = None
        self._is_announced = False
        connection = RTCPeerConnection(RTCConfiguration(iceServers=self._servers.servers()))
        connection.on("connectionstatechange", lambda: self._note_state(connection))
        self._prepare(self._peer, connection)
        return connection

    def begin(self, connection: RTCPeerConnection) -> None:
        """See `Negotiator`."""
        if self._heartbeat is None:
            self._heartbeat = PairHeartbeat(connection)
            self._heartbeat.is_announced = self._is_announced

    def negotiated(self, sdp: str) -> None:
        """See `Negotiator`."""
        self._is_other_refused = False
        self._is_announced = announces_heartbeat(sdp)
        if self._heartbeat:
            self._heartbeat.is_announced = self._is_announced

    def refused(self, error: SignalingError | None) -> None:
        """See `Negotiator`."""
        self._is_refused = error is not None
        if error:  # the other peer cannot know why it waits
            self._signals.tell_problem(error.code)

    # Watching

    def _note_state(self, connection: RTCPeerConnection) -> None:
        if not self._is_closed and connection is self.connection:
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        state, heartbeat = self.connection.connectionState, self._heartbeat
        silent_since = heartbeat.silence.silent_since(now) if heartbeat else None
        if state in ("failed", "closed") or (heartbeat and heartbeat.is_closed):
            self._break(now, now)
        elif silent_since is not None:
            self._break(now, silent_since)
        elif state == "connected" and not self._health.is_well:
            self._connected(now)

    def _break(self, now: float, since: float) -> None:
        if self._health.break_(now, since):
            self._signals.begin_asking()
            self._servers.check()
        if self.connection.connectionState in ("failed", "closed"):
            self._health.give_up_first(now)

    def _connected(self, now: float) -> None:
        milliseconds = round(self._health.lasts(now) * 1000)
        self._health.connect()
        self._reason = None
        kind = PairHealed if self._was_connected else PairConnected
        self._was_connected = True
        self._tell(kind(peer_id=self._peer, milliseconds=milliseconds))

    def _fail(self, now: float) -> None:
        self._reason = self._diagnose()
        milliseconds = round(self._health.lasts(now) * 1000)
        self._tell(PairFailed(peer_id=self._peer, reason=self._reason, milliseconds=milliseconds))

    def _diagnose(self) -> Reason:
        connection, other = self.connection, self._room.peers.get(self._peer)
        local = connection.localDescription
        is_late = self._negotiation.is_answer_late(time.monotonic())
        if local:
            self._candidates = frozenset(candidate_types(local.sdp))
        return diagnose(
            Findings(
                is_refused=self._is_refused or self._is_other_refused,
                is_away=other is None or other.away,
                is_unanswered=not connection.remoteDescription and (not self.is_polite() or is_late),
                local=self._candidates,
                remote=frozenset(self._negotiation.remote_candidates),
                is_turn_refused=self._servers.is_turn_refused,
                was_connected=self._was_connected,
                is_ice_connected=connection.iceConnectionState == "completed",
                is_dtls_connected=connection.connectionState == "connected",
            )
        )

    # Healing

    def _may_attempt(self, now: float) -> bool:
        other = self._room.peers.get(self._peer)
        is_there = other is not None and not other.away
        return is_there and self._room.is_connected and not self._negotiation.is_busy(now)

    def _attempt(self, now: float) -> None:
        self._attempted_at = now
        self._servers.renew()
        if self.is_polite():
            self._negotiation.do(self._start_over)
        elif self._is_announced:
            self._signals.ask_to_heal(self._negotiation.offers_heard)
        elif self.connection.remoteDescription and self._health.lasts(now) > FAILED_AFTER:
            self._negotiation.do(self._start_over)

    async def _start_over(self) -> None:
        await self._servers.renewed()
        await self._negotiation.start_over()

    def _heal_as_asked(self, now: float, *, replace: bool) -> None:
        is_late = replace and not self.connection.remoteDescription  # the other side was not there yet
        may_heal = is_late or not self._negotiation.is_busy(now)
        if self.is_polite() and may_heal and now - self._attempted_at >= ASKED_PAUSE:
            self._attempted_at = now
            self._health.attempt(now)
            self._servers.renew()
            self._negotiation.do(self._start_over)
