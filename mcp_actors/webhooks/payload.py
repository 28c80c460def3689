"""The id and the body of each webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mcp_actors.broker.event_log import EventType

if TYPE_CHECKING:
    from mcp_actors.broker.event_log import Logged

DIGITS = 32
"""Hexadecimal digits of an id."""

_OF_ROOMS = {EventType.ROOM_OPENED, EventType.ROOM_CLOSED}


class Payload(NamedTuple):
    """A webhook: its id, which is the same each time that it is sent, and its body."""

    id: str
    body: bytes


class Dropped(NamedTuple):
    """The events of a log that were dropped, after the first `told`, up to `telling`. `at`: seconds since 1970."""

    log: str
    told: int
    telling: int
    at: float


def payload_of(item: Logged | Dropped) -> Payload:
    """Make the webhook about an event, or about those that were dropped."""
    if isinstance(item, Dropped):
        name = _digest("events-dropped", item.log, str(item.told))
        return Payload(name, _body("events-dropped", item.at, {"count": item.telling - item.told}))
    event = item.event
    data: dict[str, Any] = {"room": event.room}
    if event.type not in _OF_ROOMS:
        data |= {
            "membership": _digest("membership", event.incarnation),
            "kind": event.kind,
            "id": event.id,
            "verified": event.verified,
            "metadata": event.metadata,
        }
    if event.reason is not None:
        data["reason"] = event.reason
    return Payload(_digest(event.type, event.room, event.incarnation), _body(event.type, item.at, data))


def _body(kind: str, at: float, data: dict[str, Any]) -> bytes:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"type": kind, "timestamp": time, "data": data})


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
