"""A room in which this client is a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mcp_actors.client.events import Event, Json, UserJoined, UserLeft, UserUpdated
from mcp_actors.client.members import User
from mcp_actors.client.room import Room

if TYPE_CHECKING:
    from mcp_actors.client.link import Link


class UserRoom(Room):
    """Messages to everybody in a room. `users`: the users by their ids, including this one."""

    JOIN, LEAVE = "join-room", "leave-room"

    async def send(self, content: object) -> None:
        """Send any JSON but null to all other users, and to this user's other connections. Raises SignalingError."""
        await self.request("message", {"content": content})

    def welcome(self, link: Link, payload: Json) -> None:
        """Begin with the roster."""
        self.joined = True
        self.show(payload)

    def receive(self, message: Json) -> None:
        """Handle a message about this room."""
        if message["type"] == "room-joined":  # messages are missing
            self.rejoined(message.get("payload") or {}, resumed=True, complete=False)
        else:
            super().receive(message)

    def show(self, payload: Json) -> None:
        """Keep the roster."""
        super().show(payload)
        self.users = {user["user_id"]: msgspec.convert(user, User) for user in payload.get("users", ())}

    def _apply(self, event: Event) -> None:
        super()._apply(event)
        match event:
            case UserJoined(user_id=user, metadata=metadata, verified=verified):
                self.users[user] = User(user_id=user, metadata=metadata, verified=verified)
            case UserLeft(user_id=user):
                self.users.pop(user, None)
            case UserUpdated(user_id=user, metadata=metadata) if user in self.users:
                self.users[user].metadata = metadata
