"""/ws/signaling/: peers, and what they relay to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.messages import Join, Leave, PeerRequest
from mcp_actors.transports.websocket import SocketHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable


class SignalingHandler(SocketHandler[PeerRequest]):
    """One peer's connection; in each of its rooms it has an id of its own."""

    def _receive(self, message: PeerRequest, frame: bytes) -> Awaitable[None] | None:
        match message:
            case Join():
                return self._join(message)
            case Leave():
                return self._connection.leave(message.room, message.id)
            case _:
                return self._connection.membership(message.room).relay(message, frame)

    def _join(self, message: Join) -> Awaitable[None]:
        connection, endpoint, payload = self._connection, self._endpoint, message.payload
        connection.may_enter(message.room)
        membership = endpoint.node.membership(message.room, Kind.PEER, payload.peer_id, payload.metadata)
        return connection.enter(message.room, membership, message.id, endpoint.ice_servers)
