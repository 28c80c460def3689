"""The client's part of a session, with which it continues on another connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_actors.client.events import Json

MAX_POSITIONS = 64
"""Rooms whose position is kept: twice as many as a connection may be in."""

MAX_SEEN = 1024
"""Messages of others that are remembered, to recognize those that were sent again."""


class Session:
    """The resume token, the number of the last message, and the last stream position of each room."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.delivered = 0
        self._positions: dict[str, str] = {}

    def keep_position(self, room: str, at: str) -> None:
        """Keep the last position of a room, and those of the rooms that were heard last."""
        self._positions.pop(room, None)
        self._positions[room] = at
        if len(self._positions) > MAX_POSITIONS:
            del self._positions[next(iter(self._positions))]

    def resume_fields(self) -> Json:
        """The fields of the request that resumes this session; none if it cannot be resumed."""
        if self.token is None:
            return {}
        return {"resume": self.token, "received": self.delivered, "at": dict(self._positions)}


class Seen:
    """The last messages of others that have an id."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    def is_duplicate(self, message: Json) -> bool:
        """Whether this message was sent again although it had arrived; remember it."""
        if message.get("id") is None:
            return False
        key = json.dumps([message.get("room"), message["sender"], message["id"]])
        known = key in self._keys
        self._keys[key] = None
        if len(self._keys) > MAX_SEEN:
            del self._keys[next(iter(self._keys))]
        return known and message.get("again") is True
