"""The common base of the rooms of peers and of users."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import msgspec

from mcp_actors.client.event_queue import EventQueue
from mcp_actors.client.events import (
    Event,
    Json,
    Kicked,
    PeerAway,
    PeerBack,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    Rejoined,
    RoomClosed,
    RoomLocked,
    RoomUnlocked,
    event_of,
)
from mcp_actors.client.members import Peer
from mcp_actors.client.requests import given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.client.connection import Connection
    from mcp_actors.client.errors import SignalingError
    from mcp_actors.client.link import Link

logger = logging.getLogger(__name__)


class Owner(Protocol):
    """The client whose room it is."""

    def forget(self, room: Room) -> None:
        """This client is not in the room any more."""

    async def leave(self, room: Room) -> None:
        """Leave a room, and tell the server."""


class Room(ABC):
    """A room that this client is in: iterate over its events, with `async for`.

    The iteration ends when the room has been left, after `Kicked` and `RoomClosed`, and when the application closes the
    connection; it raises SignalingError if the connection is closed otherwise, or the room cannot be joined again.
    `peers`: the peers of the room by their ids, in the order of joining, up to date before each event can be read.
    The methods from `welcome` on are for the client.
    """

    JOIN: ClassVar[str]
    LEAVE: ClassVar[str]

    def __init__(self, name: str, payload: Json, connection: Connection, owner: Owner, limit: int) -> None:
        self.name = name
        self.peers: dict[str, Peer] = {}
        self.locked = False
        self.payload = payload
        """Of the request that joins the room."""
        self.joined = False
        self._connection, self._owner = connection, owner
        self._events = EventQueue(limit)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self._events.get()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection; requests wait for one otherwise."""
        return self._connection.link is not None

    async def update(self, metadata: Mapping[str, Any]) -> None:
        """Replace the metadata of this client; the others are told. Raises SignalingError."""
        await self.request("update", {"metadata": dict(metadata)})
        self.payload["metadata"] = dict(metadata)

    async def leave(self) -> None:
        """Leave the room; the others are told at once. A room that has ended is left already."""
        await self._owner.leave(self)

    async def kick(
        self,
        *,
        peer_id: str | None = None,
        user_id: str | None = None,
        ban_seconds: int | None = None,
        reason: str | None = None,
        message: str | None = None,
    ) -> None:
        """As a moderator, remove a peer or a user; it may not join again for `ban_seconds`. Raises SignalingError."""
        options = {"ban_seconds": ban_seconds, "reason": reason, "message": message}
        await self.request("kick", _member(peer_id, user_id) | given(options))

    async def unban(self, *, peer_id: str | None = None, user_id: str | None = None) -> None:
        """As a moderator, lift a ban. Raises SignalingError."""
        await self.request("unban", _member(peer_id, user_id))

    async def bans(self) -> list[Json]:
        """As a moderator, return the bans in force. Raises SignalingError."""
        bans: list[Json] = (await self.request("list-bans"))["bans"]
        return bans

    async def lock(self) -> None:
        """As a moderator, refuse all joins from now on. Raises SignalingError."""
        await self.request("lock")

    async def unlock(self) -> None:
        """As a moderator, allow joins again. Raises SignalingError."""
        await self.request("unlock")

    async def close(self, *, reason: str | None = None, message: str | None = None) -> None:
        """As a moderator, remove everybody, including this client. Raises SignalingError."""
        await self.request("close-room", given({"reason": reason, "message": message}))
        self.end()

    async def request(self, kind: str, payload: Json | None = None, *, negotiation: int | None = None) -> Json:
        """Send any request about this room, and return the payload of the reply. Raises SignalingError."""
        return await self._connection.request(kind, self.name, payload or {}, negotiation=negotiation)

    @abstractmethod
    def welcome(self, link: Link, payload: Json) -> None:
        """Begin with the roster."""

    def rejoined(self, payload: Json, *, resumed: bool, complete: bool) -> None:
        """Go on with the roster that another connection brings."""
        if not self.joined:  # it was left meanwhile
            return
        self.show(payload)
        if not complete:
            self._events.put(Rejoined(resumed=resumed))

    def receive(self, message: Json) -> None:
        """Handle a message about this room."""
        try:
            event = event_of(message)
        except msgspec.ValidationError as error:
            logger.warning("A message of the server is not understood: %s", error)
            return
        if event:
            self._apply(event)
            self._events.put(event)
        if isinstance(event, Kicked | RoomClosed):
            self.end()

    def end(self, error: SignalingError | None = None) -> None:
        """No more events come."""
        self.joined = False
        self._events.end(error)
        self._owner.forget(self)

    def show(self, payload: Json) -> None:
        """Keep the roster."""
        self.peers = {peer["peer_id"]: msgspec.convert(peer, Peer) for peer in payload.get("peers", ())}
        self.locked = payload.get("locked") is True

    def _apply(self, event: Event) -> None:
        match event:
            case PeerJoined(peer_id=peer, order=order, metadata=metadata, verified=verified):
                self.peers[peer] = Peer(peer_id=peer, order=order, metadata=metadata, verified=verified)
            case PeerLeft(peer_id=peer):
                self.peers.pop(peer, None)
            case PeerUpdated(peer_id=peer, metadata=metadata) if peer in self.peers:
                self.peers[peer].metadata = metadata
            case PeerAway(peer_id=peer) | PeerBack(peer_id=peer) if peer in self.peers:
                self.peers[peer].away = isinstance(event, PeerAway)
            case RoomLocked() | RoomUnlocked():
                self.locked = isinstance(event, RoomLocked)


def _member(peer_id: str | None, user_id: str | None) -> Json:
    if (peer_id is None) == (user_id is None):
        raise ValueError("Name either a peer_id or a user_id.")
    return given({"peer_id": peer_id, "user_id": user_id})
