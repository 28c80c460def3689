"""A client of the signaling server for asyncio; the extra `client` installs what it needs.

For example::

    async with connect("ws://localhost:8000") as server:
        room = await server.join("team-1", metadata={"name": "Ada"})
        async for event in room:
            match event:
                case Offer(sender=peer, offer=offer): ...

`connect` is for peers, who negotiate WebRTC connections, and `connect_user` for users, who send messages to rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.client.client import CONNECT_TIMEOUT, MAX_EVENTS
from mcp_actors.client.connection import State
from mcp_actors.client.dialing import Address, endpoint_url
from mcp_actors.client.errors import ClientCode, SignalingError
from mcp_actors.client.events import (
    Announcement,
    Answer,
    Event,
    EventsDropped,
    IceCandidate,
    IceServersRenewed,
    Kicked,
    Message,
    Offer,
    PeerAway,
    PeerBack,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    Rejoined,
    RoomClosed,
    RoomLocked,
    RoomUnlocked,
    Signal,
    UserJoined,
    UserLeft,
    UserUpdated,
)
from mcp_actors.client.members import Peer, User
from mcp_actors.client.peer_client import PeerClient
from mcp_actors.client.peer_room import PeerRoom
from mcp_actors.client.user_client import UserClient
from mcp_actors.client.user_room import UserRoom

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from mcp_actors.client.token_source import Token

__all__ = [
    "Announcement",
    "Answer",
    "ClientCode",
    "Event",
    "EventsDropped",
    "IceCandidate",
    "IceServersRenewed",
    "Kicked",
    "Message",
    "Offer",
    "Peer",
    "PeerAway",
    "PeerBack",
    "PeerClient",
    "PeerJoined",
    "PeerLeft",
    "PeerRoom",
    "PeerUpdated",
    "Rejoined",
    "RoomClosed",
    "RoomLocked",
    "RoomUnlocked",
    "Signal",
    "SignalingError",
    "State",
    "User",
    "UserClient",
    "UserJoined",
    "UserLeft",
    "UserRoom",
    "UserUpdated",
    "connect",
    "connect_user",
]


def connect(
    url: str,
    *,
    token: Token | None = None,
    room: str | None = None,
    ssl: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    max_events: int = MAX_EVENTS,
    on_state: Callable[[State], object] = lambda _: None,
) -> PeerClient:
    """Make a client for peers, to be used with `async with`.

    `url`: of the server, with the prefix of its paths if it has one, or of its endpoint; it begins with ws:, wss:,
    http: or https:. `token`: an access token, or a function that returns one, as a coroutine or not; it is called for
    each connection, and before a token expires. `room`: the first one that will be joined, if it is known; a server of
    several processes may then bring its members to one of them. `ssl`: in place of the system's certificates.
    `headers`: of the handshake, such as cookies. `connect_timeout`: seconds for which entering and `join` wait for a
    connection. `max_events`: how many events of a room wait to be read; beyond that they are dropped, which the event
    EventsDropped tells. `on_state` is called with each new state of the connection.
    """
    address = Address(url=endpoint_url(url, "/ws/signaling/"), ssl=ssl, headers=headers or {})
    return PeerClient(
        address, token, connect_timeout=connect_timeout, max_events=max_events, on_state=on_state, first_room=room
    )


def connect_user(
    url: str,
    user_id: str | None = None,
    *,
    token: Token | None = None,
    room: str | None = None,
    ssl: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    max_events: int = MAX_EVENTS,
    on_state: Callable[[State], object] = lambda _: None,
) -> UserClient:
    """Make a client for users, as `connect` does for peers. Without `user_id` the token says who the user is."""
    address = Address(url=endpoint_url(url, "/ws/mcp/"), ssl=ssl, headers=headers or {})
    return UserClient(
        address,
        user_id,
        token,
        connect_timeout=connect_timeout,
        max_events=max_events,
        on_state=on_state,
        first_room=room,
    )
