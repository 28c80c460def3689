"""The rooms of a running server, for the application that it is in: roster, messages, and what moderators may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mcp_actors.protocol.identifiers import PeerId, RoomId, UserId
from mcp_actors.protocol.messages import (
    Announce,
    CloseRoom,
    Kick,
    KickPayload,
    Lock,
    NoticePayload,
    Unban,
    UnbanPayload,
    Unlock,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp_actors.node import Node
    from mcp_actors.protocol.events import Member


class OpenRoom:
    """One room with members at this process; what is asked of it concerns its members at all processes.

    Methods return when it is done. They raise `NotInRoom` if the room has no members at this process, and `Unavailable`
    if Redis is. `reason` is for programs, and `message` for people.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self.name = name

    @property
    def members(self) -> list[Member]:
        """The members at all processes; empty if none is at this process."""
        return self._node.roster(RoomId(self.name))

    async def send(self, content: Any) -> None:
        """Send an `announcement` to all members. `content`: what JSON can hold. Raises TypeError for anything else."""
        copy = msgspec.json.decode(msgspec.json.encode(content))
        await self._node.moderate(RoomId(self.name), Announce(room=RoomId(self.name), content=copy))

    async def kick(
        self,
        *,
        peer_id: str | None = None,
        user_id: str | None = None,
        reason: str | None = None,
        message: str | None = None,
        ban_seconds: int | None = None,
    ) -> None:
        """Remove a peer, or a user with all its connections, and ban it for a time. Raises `PeerNotFound`, too."""
        peer, user = _target(peer_id, user_id)
        payload = KickPayload(peer_id=peer, user_id=user, reason=reason, message=message, ban_seconds=ban_seconds)
        await self._node.moderate(RoomId(self.name), Kick(room=RoomId(self.name), payload=payload))

    async def unban(self, *, peer_id: str | None = None, user_id: str | None = None) -> None:
        """Lift a ban. Raises `PeerNotFound` if there is none, too."""
        payload = UnbanPayload(*_target(peer_id, user_id))
        await self._node.moderate(RoomId(self.name), Unban(room=RoomId(self.name), payload=payload))

    async def lock(self) -> None:
        """Let in moderators only, until the room is unlocked or empty."""
        await self._node.moderate(RoomId(self.name), Lock(room=RoomId(self.name)))

    async def unlock(self) -> None:
        """Let everybody in again."""
        await self._node.moderate(RoomId(self.name), Unlock(room=RoomId(self.name)))

    async def close(self, *, reason: str | None = None, message: str | None = None) -> None:
        """Remove all members."""
        payload = NoticePayload(reason=reason, message=message)
        await self._node.moderate(RoomId(self.name), CloseRoom(room=RoomId(self.name), payload=payload))


class Rooms:
    """The rooms with members at this process, by their names. Any name can be asked for."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getitem__(self, name: str) -> OpenRoom:
        return OpenRoom(self._node, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._node.rooms())

    def __len__(self) -> int:
        return len(self._node.rooms())

    def __contains__(self, name: object) -> bool:
        return name in self._node.rooms()


def _target(peer_id: str | None, user_id: str | None) -> tuple[PeerId | None, UserId | None]:
    if (peer_id is None) is (user_id is None):
        raise TypeError("name either a peer_id or a user_id")
    return None if peer_id is None else PeerId(peer_id), None if user_id is None else UserId(user_id)
