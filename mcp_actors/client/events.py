"""What happens in a room, as the application sees it. Ids, metadata and contents come from strangers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerJoined:
    """The one of you with the higher `order` makes an offer."""

    peer_id: str
    order: int
    metadata: Json = field(default_factory=dict)
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerUpdated:
    """A peer has new metadata; this is all of it."""

    peer_id: str
    metadata: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLeft:
    """Close the RTCPeerConnection to this peer."""

    peer_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAway:
    """A peer has lost its connection, and may resume: only with `presence`."""

    peer_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerBack:
    """A peer has a connection again: only with `presence`."""

    peer_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserJoined:
    """The first connection of a user is in the room."""

    user_id: str
    metadata: Json = field(default_factory=dict)
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUpdated:
    """A user has new metadata; this is all of it."""

    user_id: str
    metadata: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLeft:
    """The last connection of a user has left."""

    user_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An RTCSessionDescription; answer it with `room.answer(sender, ...)`."""

    sender: str
    offer: Json
    negotiation: int | None = None
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An RTCSessionDescription."""

    sender: str
    answer: Json
    negotiation: int | None = None
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IceCandidate:
    """An RTCIceCandidate; None or "" after the last one."""

    sender: str
    candidate: Any
    negotiation: int | None = None
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Anything else from a peer."""

    sender: str
    data: Any
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a user to the room."""

    sender: str
    content: Any
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """From the application of the server, or an operator."""

    content: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomLocked:
    """A moderator has locked the room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomUnlocked:
    """A moderator has unlocked the room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kicked:
    """A moderator has removed this client; no more events follow. `reason` is for programs, `message` for people."""

    reason: str = ""
    message: str = ""
    ban_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomClosed:
    """A moderator has removed everybody; no more events follow."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServersRenewed:
    """`room.ice_servers` has new credentials: restart ICE of relayed connections if you are the polite peer."""

    ice_servers: list[Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejoined:
    """Events are missing, and the room shows who is there now: make new offers where you wait for answers.

    `resumed`: the session continues, and only some messages are lost. Otherwise this client has joined as a newcomer.
    """

    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDropped:
    """The application has not read events for so long that some were dropped; the room shows who is there now."""

    count: int


Event: TypeAlias = (
    PeerJoined
    | PeerUpdated
    | PeerLeft
    | PeerAway
    | PeerBack
    | UserJoined
    | UserUpdated
    | UserLeft
    | Offer
    | Answer
    | IceCandidate
    | Signal
    | Message
    | Announcement
    | RoomLocked
    | RoomUnlocked
    | Kicked
    | RoomClosed
    | IceServersRenewed
    | Rejoined
    | EventsDropped
)

_TYPES: dict[str, type[Event]] = {
    "peer-joined": PeerJoined,
    "peer-updated": PeerUpdated,
    "peer-left": PeerLeft,
    "peer-away": PeerAway,
    "peer-back": PeerBack,
    "user-joined": UserJoined,
    "user-updated": UserUpdated,
    "user-left": UserLeft,
    "offer": Offer,
    "answer": Answer,
    "ice-candidate": IceCandidate,
    "signal": Signal,
    "message": Message,
    "announcement": Announcement,
    "room-locked": RoomLocked,
    "room-unlocked": RoomUnlocked,
    "kicked": Kicked,
    "room-closed": RoomClosed,
}

_STAMPS = ("sender", "verified", "negotiation")
"""Fields of a relayed message that the server sets, or checks; a payload may contain anything."""


def event_of(message: Json) -> Event | None:
    """The event in a message of the server; None if its type is unknown. Raises msgspec.ValidationError."""
    kind = _TYPES.get(message["type"])
    if kind is None:
        return None
    fields = dict(message.get("payload") or {})
    if "sender" in message:
        for name in _STAMPS:
            fields.pop(name, None)
        fields |= {name: message[name] for name in _STAMPS if name in message}
    return msgspec.convert(fields, kind)
