"""A client of /ws/mcp/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.client.client import CONNECT_TIMEOUT, MAX_EVENTS, Client
from mcp_actors.client.user_room import UserRoom

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.client.connection import State
    from mcp_actors.client.dialing import Address
    from mcp_actors.client.events import Json
    from mcp_actors.client.link import Link
    from mcp_actors.client.token_source import Token


class UserClient(Client[UserRoom]):
    """A user in any number of rooms. `user_id` may be left out if an access token says who the user is."""

    def __init__(
        self,
        address: Address,
        user_id: str | None,
        token: Token | None,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_events: int = MAX_EVENTS,
        on_state: Callable[[State], object] = lambda _: None,
        first_room: str | None = None,
    ) -> None:
        super().__init__(
            address,
            token,
            connect_timeout=connect_timeout,
            max_events=max_events,
            on_state=on_state,
            first_room=first_room,
        )
        self._identity = {} if user_id is None else {"user_id": user_id}
        self.user_id = user_id or ""

    async def join(self, room: str) -> UserRoom:
        """Join a room. While the connection is lost, the join waits for the next one. Raises SignalingError."""
        return await self._join(UserRoom(room, {}, self._connection, self, self._max_events))

    async def begin(self, link: Link) -> None:
        """Say who this user is."""
        await self._say_who(link, {})

    async def resume(self, link: Link, rooms: list[UserRoom]) -> None:
        """Resume the session with all its rooms, or join them again."""
        await self._say_who(link, link.session.resume_fields())
        if link.resumed:
            return  # the server shows the rooms if messages are missing
        for room in rooms:
            await self._rejoin(link, room, room.JOIN, dict, _shows(room))

    async def _say_who(self, link: Link, resume: Json) -> None:
        def use(link: Link, connected: Json) -> None:
            link.greet(connected)
            link.note_resumed(connected)
            self.user_id = connected["user_id"]

        await self._connection.ask(link, "connect", None, self._identity | resume, use)


def _shows(room: UserRoom) -> Callable[[Link, Json], None]:
    return lambda _, joined: room.rejoined(joined, resumed=False, complete=False)
