"""A room in which this client is a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.client.errors import SignalingError, connection_lost
from mcp_actors.client.events import Event, IceServersRenewed, Json, Offer, PeerLeft
from mcp_actors.client.renewal import Renewal
from mcp_actors.client.requests import given
from mcp_actors.client.room import Room

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.client.link import Link


class PeerRoom(Room):
    """Offers, answers and candidates to the peers of a room.

    `peer_id` and `order`: this client's. `ice_servers`: for RTCPeerConnection; renewed before their credentials end,
    which IceServersRenewed tells. Offers have numbers, so that an answer to an outdated one is refused.
    """

    JOIN, LEAVE = "join", "leave"

    order: int
    peer_id: str

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.ice_servers: list[Json] = []
        self._offers: dict[str, int | None] = {}  # by peer, the number of its last offer
        self._current: dict[str, int | None] = {}  # by peer, that of the offer that candidates belong to
        self._renewal = Renewal(self.renew_ice_servers)

    async def offer(self, peer_id: str, offer: Mapping[str, Any]) -> str:
        """Send an RTCSessionDescription.

        Returns "delivered", or "queued" if the peer is away and gets it when it is back. Raises SignalingError.
        """
        self._current.pop(peer_id, None)
        ack = await self._relay("offer", peer_id, {"offer": dict(offer)})
        self._current[peer_id] = ack.get("negotiation")
        return str(ack["status"])

    async def answer(self, peer_id: str, answer: Mapping[str, Any], negotiation: int | None = None) -> str:
        """Answer the last offer of a peer, or that with the number `negotiation`. Returns and raises as `offer`."""
        number = self._offers.get(peer_id) if negotiation is None else negotiation
        self._current[peer_id] = number
        return str((await self._relay("answer", peer_id, {"answer": dict(answer)}, number))["status"])

    async def candidate(self, peer_id: str, candidate: Mapping[str, Any] | str | None) -> str:
        """Send an RTCIceCandidate of the last description sent to this peer. Returns and raises as `offer`."""
        number = self._current.get(peer_id)
        return str((await self._relay("ice-candidate", peer_id, {"candidate": candidate}, number))["status"])

    async def signal(self, peer_id: str, data: object) -> str:
        """Send any JSON. Returns and raises as `offer`."""
        return str((await self._relay("signal", peer_id, {"data": data}))["status"])

    async def renew_ice_servers(self) -> list[Json]:
        """Ask for ICE servers with new credentials; done before they end, too. Raises SignalingError."""
        link = await self._connection.ready(0)
        self._keep_ice_servers(await self._connection.ask(link, "ice-servers", self.name, {}))
        self._events.put(IceServersRenewed(ice_servers=self.ice_servers))
        return self.ice_servers

    def offer_number(self, peer_id: str) -> int | None:
        """The number of the offer that candidates for this peer belong to, whichever side has made it."""
        return self._current.get(peer_id)

    async def report(self, pair: str, *, milliseconds: int, reason: str | None = None) -> None:
        """Tell the server's metrics how a connection to a peer fares: "connected", "healed" or "failed" for a `reason`.

        `milliseconds`: how long that took. It is sent on the present connection or not at all. Raises SignalingError,
        of a server that does not know reports with the code "bad-message".
        """
        link = self._connection.link
        if link is None:
            raise connection_lost()
        payload = given({"pair": pair, "milliseconds": milliseconds, "reason": reason})
        await self._connection.ask(link, "report", self.name, payload)

    def welcome(self, link: Link, payload: Json) -> None:
        """Begin with the roster and the ICE servers."""
        link.greet(payload)
        self.joined = True
        self._keep_ice_servers(payload)
        self.show(payload)

    def rejoined(self, payload: Json, *, resumed: bool, complete: bool) -> None:
        """Go on with the roster of another connection."""
        if not self.joined:  # it was left meanwhile
            return
        if not resumed:  # numbers start again
            self._offers.clear()
            self._current.clear()
        if not self._renewal.running:  # else those that are in use end first
            self._keep_ice_servers(payload)
        super().rejoined(payload, resumed=resumed, complete=complete)

    def end(self, error: SignalingError | None = None) -> None:
        """Renew nothing any more; no more events come."""
        self._renewal.stop()
        super().end(error)

    def show(self, payload: Json) -> None:
        """Keep the roster, and this peer's place in it."""
        super().show(payload)
        self.peer_id, self.order = payload["peer_id"], payload["order"]
        self.payload["peer_id"] = self.peer_id

    def _apply(self, event: Event) -> None:
        super()._apply(event)
        match event:
            case Offer(sender=peer, negotiation=number):
                self._offers[peer] = number
            case PeerLeft(peer_id=peer):
                self._offers.pop(peer, None)
                self._current.pop(peer, None)

    def _keep_ice_servers(self, payload: Json) -> None:
        self.ice_servers = payload.get("ice_servers", [])
        self._renewal.start(payload.get("ice_servers_expire_in"))

    async def _relay(self, kind: str, peer_id: str, payload: Json, negotiation: int | None = None) -> Json:
        return await self.request(kind, {"target_peer_id": peer_id, **payload}, negotiation=negotiation)
