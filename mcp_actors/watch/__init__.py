"""Shows the life of a room as lines for people: `mcp-actors watch`. Needs the extra `client`."""

from __future__ import annotations

import secrets
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple

from mcp_actors.client import PeerRoom, State, connect, connect_user
from mcp_actors.watch.event_text import event_text, member_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.client import UserRoom

CONNECT_TIMEOUT = 5.0

METADATA = {"name": "mcp-actors watch"}
"""By which others know a peer that watches: it answers no offer."""


class Watched(NamedTuple):
    """A room of a server. `as_user`: whether to enter it as a user, who hears messages, rather than as a peer."""

    url: str
    room: str
    token: str | None = None
    as_user: bool = False


async def watch(watched: Watched, say: Callable[[str], object]) -> None:
    """Say what happens in a room until it ends. Raises SignalingError if the connection does, or cannot be made."""

    def tell(state: State) -> None:
        if text := STATES.get(state):
            say(text)

    name = None if watched.token else f"watch-{secrets.token_hex(3)}"
    options: dict[str, Any] = {"token": watched.token, "connect_timeout": CONNECT_TIMEOUT, "on_state": tell}
    try:
        room: PeerRoom | UserRoom
        if watched.as_user:
            async with connect_user(watched.url, name, **options) as users:
                room = await users.join(watched.room)
                await _follow(room, users.user_id, say)
        else:
            async with connect(watched.url, **options) as peers:
                room = await peers.join(watched.room, name, metadata=METADATA, presence=True)
                await _follow(room, room.peer_id, say)
    except CancelledError:
        say("stopped watching")
        raise


STATES = {
    State.OPEN: "connected",
    State.RECONNECTING: "the connection is lost; the session continues when there is another",
}


async def _follow(room: PeerRoom | UserRoom, name: str, say: Callable[[str], object]) -> None:
    others = {peer: member for peer, member in room.peers.items() if peer != name}
    locked = "; the room is locked" if room.locked else ""
    say(f"watching room {room.name} as {name}; peers here: {len(others)}{locked}")
    for peer, member in others.items():
        say(f"  {member_text(peer, member.metadata, verified=member.verified)}{' (away)' if member.away else ''}")
    async for event in room:
        say(event_text(event))
