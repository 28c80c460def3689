"""Topics and their rooms."""

from __future__ import annotations

import base64
import hashlib

from mcp_actors.protocol.errors import BadMessage
from mcp_actors.protocol.identifiers import RoomId, id_problem

PREFIX = "y-webrtc:"
HASHED = "y-webrtc-sha256:"
"""In front of the hash of a topic whose room would have no well-formed id, such as one with a line break."""

PREFIXES = (PREFIX, HASHED)


class Topics:
    """Finds rooms of topics, which have at most `max_length` characters."""

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length

    def room(self, topic: str) -> RoomId:
        """The room of a topic. Raises `BadMessage`."""
        if not topic or len(topic) > self._max_length:
            raise BadMessage(f"A topic has 1 to {self._max_length} characters, not {len(topic)}.", field="topic")
        room = PREFIX + topic
        if id_problem(room, self._max_length) is None:
            return RoomId(room)
        digest = hashlib.sha256(topic.encode()).digest()
        return RoomId(HASHED + base64.urlsafe_b64encode(digest).decode().rstrip("="))


def plain_room(topic: str) -> RoomId:
    """The room of a topic if that has a well-formed id; else there is none of this id."""
    return RoomId(PREFIX + topic)


def topic_of(room: RoomId | None) -> str | None:
    """The topic of a room; None if it is not known any more."""
    return room.removeprefix(PREFIX) if room is not None and room.startswith(PREFIX) else None
