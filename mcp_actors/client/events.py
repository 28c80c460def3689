"""The events of a room. Ids, metadata and contents come from strangers."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct, convert, field

Json: TypeAlias = dict[str, Any]
"""A JSON object."""


class PeerJoined(Struct, frozen=True, kw_only=True):
    """The one of you with the higher `order` makes an offer."""

    peer_id: str
    order: int
    metadata: Json = field(default_factory=dict)
    verified: bool = False


class PeerUpdated(Struct, frozen=True, kw_only=True):
    """A peer has new metadata; this is all of it."""

    peer_id: str
    metadata: Json


class PeerLeft(Struct, frozen=True, kw_only=True):
    """Close the RTCPeerConnection to this peer if `reason` is "left", "kicked" or "replaced".

    For another reason, keep it while it works.
    """

    peer_id: str
    reason: str


class PeerAway(Struct, frozen=True, kw_only=True):
    """A peer has lost its connection, and may resume: only with `presence`."""

    peer_id: str


class PeerBack(Struct, frozen=True, kw_only=True):
    """A peer has a connection again: only with `presence`."""

    peer_id: str


class UserJoined(Struct, frozen=True, kw_only=True):
    """The first connection of a user is in the room."""

    user_id: str
    metadata: Json = field(default_factory=dict)
    verified: bool = False


class UserUpdated(Struct, frozen=True, kw_only=True):
    """A user has new metadata; this is all of it."""

    user_id: str
    metadata: Json


class UserLeft(Struct, frozen=True, kw_only=True):
    """The last connection of a user has left."""

    user_id: str
    reason: str


class Offer(Struct, frozen=True, kw_only=True):
    """An RTCSessionDescription; answer it with `room.answer(sender, ...)`."""

    sender: str
    offer: Json
    negotiation: int | None = None
    verified: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """An RTCSessionDescription."""

    sender: str
    answer: Json
    negotiation: int | None = None
    verified: bool = False


class IceCandidate(Struct, frozen=True, kw_only=True):
    """An RTCIceCandidate; None or "" after the last one."""

    sender: str
    candidate: Any
    negotiation: int | None = None
    verified: bool = False


class Signal(Struct, frozen=True, kw_only=True):
    """Anything else from a peer."""

    sender: str
    data: Any
    verified: bool = False


class Message(Struct, frozen=True, kw_only=True):
    """A message of a user to the room."""

    sender: str
    content: Any
    verified: bool = False


class Announcement(Struct, frozen=True, kw_only=True):
    """From the application of the server, or an operator."""

    content: Any


class RoomLocked(Struct, frozen=True, kw_only=True):
    """A moderator has locked the room."""


class RoomUnlocked(Struct, frozen=True, kw_only=True):
    """A moderator has unlocked the room."""


class Kicked(Struct, frozen=True, kw_only=True):
    """A moderator has removed this client; no more events follow. `reason` is for programs, `message` for people."""

    reason: str = ""
    message: str = ""
    ban_seconds: int = 0


class RoomClosed(Struct, frozen=True, kw_only=True):
    """A moderator has removed everybody; no more events follow."""

    reason: str = ""
    message: str = ""


class IceServersRenewed(Struct, frozen=True, kw_only=True):
    """`room.ice_servers` has new credentials: restart ICE of relayed connections if you are the polite peer."""

    ice_servers: list[Json]


class Rejoined(Struct, frozen=True, kw_only=True):
    """Events are missing, and the room shows who is there now: make new offers where you wait for answers.

    `resumed`: the session continues, and only some messages are lost. Otherwise this client has joined as a newcomer.
    """

    resumed: bool


class EventsDropped(Struct, frozen=True, kw_only=True):
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
    return convert(fields, kind)
