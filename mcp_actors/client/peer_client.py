"""A client of /ws/signaling/."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from mcp_actors.client.client import Client
from mcp_actors.client.peer_room import PeerRoom
from mcp_actors.client.requests import given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.client.events import Json
    from mcp_actors.client.link import Link


class PeerClient(Client[PeerRoom]):
    """A peer in any number of rooms."""

    async def join(
        self,
        room: str,
        peer_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        presence: bool = False,
    ) -> PeerRoom:
        """Join a room.

        Without `peer_id` the access token says who this peer is; without a token it gets a random id. `metadata` is
        shown to everybody in the room. With `presence` there are events PeerAway and PeerBack. While the connection is
        lost, the join waits for the next one. Raises SignalingError.
        """
        name = peer_id if peer_id is not None or self._has_token else str(uuid.uuid4())
        shown = None if metadata is None else dict(metadata)
        payload = given({"peer_id": name, "metadata": shown, "presence": presence or None})
        return await self._join(PeerRoom(room, payload, self._connection, self, self._max_events))

    async def begin(self, link: Link) -> None:
        """See that the server lets this client in."""
        await self._connection.ask(link, "ping", None, {})

    async def resume(self, link: Link, rooms: list[PeerRoom]) -> None:
        """Resume the session with the first room, and show the roster of each."""
        for room in rooms:
            await self._resume_room(link, room)
        if link.resumed is None:  # none of the rooms is left
            link.restart_session()

    async def _resume_room(self, link: Link, room: PeerRoom) -> None:
        def payload() -> Json:
            return room.payload | (link.session.resume_fields() if link.resumed is not False else {})

        def use(link: Link, joined: Json) -> None:
            link.greet(joined)
            if link.resumed is None:
                link.note_resumed(joined)
            resumed = joined.get("resumed") is True and joined["order"] == room.order
            room.rejoined(joined, resumed=resumed, complete=resumed and link.complete)

        await self._rejoin(link, room, "join", payload, use)
