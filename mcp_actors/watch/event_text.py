"""Events of a room as text for people. Ids, metadata and contents come from strangers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcp_actors.client import (
    Announcement,
    Answer,
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

if TYPE_CHECKING:
    from mcp_actors.client import Event

MAX_SHOWN = 200
"""Characters of metadata and messages that are shown."""

LEFT = {
    "left": "left",
    "disconnected": "closed its connection",
    "timeout": "lost its connection and did not come back in time",
    "replaced": "was replaced by the owner of its id",
    "kicked": "was kicked by a moderator",
    "node-lost": "was lost with its server process",
}
"""By the reasons of leaves."""


def event_text(event: Event) -> str:
    """Describe an event in one line. Of signals it shows the size, in bytes of JSON, and not the content."""
    match event:
        case PeerJoined(peer_id=name) | UserJoined(user_id=name):
            order = f", order {event.order}" if isinstance(event, PeerJoined) else ""
            return f"{member_text(name, event.metadata, verified=event.verified)} joined{order}"
        case PeerUpdated(peer_id=name, metadata=metadata) | UserUpdated(user_id=name, metadata=metadata):
            return f"{name} has new metadata: {shown(metadata)}"
        case PeerLeft(peer_id=name, reason=reason) | UserLeft(user_id=name, reason=reason):
            return f"{name} {LEFT.get(reason) or f'left ({printable(reason)})'}"
        case PeerAway(peer_id=name):
            return f"{name} is away: its connection is lost"
        case PeerBack(peer_id=name):
            return f"{name} is back"
        case Message(sender=name, content=content):
            return f"{name} says {shown(content)}"
        case Offer() | Answer() | IceCandidate() | Signal():
            return _signal_text(event)
        case _:
            return _room_text(event)


def _signal_text(event: Offer | Answer | IceCandidate | Signal) -> str:
    match event:
        case Offer(offer=content):
            kind = "an offer"
        case Answer(answer=content):
            kind = "an answer"
        case IceCandidate(candidate=content):
            kind = "an ICE candidate"
        case Signal(data=content):
            kind = "a signal"
    number = getattr(event, "negotiation", None)
    negotiation = "" if number is None else f", negotiation {number}"
    return f"{event.sender} sent {kind} of {_size(content)} bytes{negotiation}"


def _size(content: object) -> int:
    return len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))


def _room_text(event: Event) -> str:
    match event:
        case Announcement(content=content):
            return f"announcement: {shown(content)}"
        case RoomLocked():
            return "a moderator locked the room"
        case RoomUnlocked():
            return "a moderator unlocked the room"
        case Kicked(ban_seconds=seconds):
            banned = f", which may not come back for {seconds} s" if seconds else ""
            return f"a moderator kicked this watcher{banned}{_words(event)}"
        case RoomClosed():
            return f"a moderator closed the room{_words(event)}"
        case IceServersRenewed():
            return "the server gave new ICE servers"
        case Rejoined(resumed=resumed):
            missed = "some events are missing" if resumed else "the session was over, and others saw a leave and a join"
            return f"back in the room: {missed}"
        case EventsDropped(count=count):
            return f"{count} events came too fast to be shown"
    return printable(repr(event))


def member_text(name: str, metadata: dict[str, Any], *, verified: bool) -> str:
    """Describe a member."""
    return f"{name}{' (verified)' if verified else ''}{f' {shown(metadata)}' if metadata else ''}"


def shown(content: object) -> str:
    """The beginning of some JSON, without characters that could change the terminal."""
    text = printable(json.dumps(content, ensure_ascii=False))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def printable(text: str) -> str:
    """Escape all characters that do not show."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _words(event: Kicked | RoomClosed) -> str:
    words = " ".join(printable(word) for word in (event.message, event.reason and f"({event.reason})") if word)
    return f": {words}" if words else ""
