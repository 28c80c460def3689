"""/ws/signaling/: peers, and what they relay to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.messages import Join, Leave, PeerRequest
from mcp_actors.transports.websocket import SocketHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.actors.mail import Greeting
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.sessions import Session


class SignalingHandler(SocketHandler[PeerRequest]):
    """One peer's connection; in each of its rooms it has an id of its own."""

    def _receive(self, message: PeerRequest, frame: bytes) -> Awaitable[None] | None:
        match message:
            case Join():
                return self._join(message)
            case Leave():
                return self._session(message.room).leave(message.room, message.id)
            case _:
                return self._session(message.room).membership(message.room).relay(message, frame)

    def _join(self, message: Join) -> Awaitable[None] | None:
        if self._may_resume(message.payload.resume):
            return self._come_back(message)
        return self._enter(message)

    async def _come_back(self, message: Join) -> None:
        payload = message.payload
        found = await self._find(payload.resume or "", Kind.PEER, "", payload.received, payload.at)
        self._resume(found if found and found.may_be(message.room, payload.peer_id) else None, payload.received)
        if self._connection.closed:  # it could not take all that waited for it
            return
        waiting = self._enter(message)
        if waiting is not None:
            await waiting

    def _enter(self, message: Join) -> Awaitable[None]:
        room, payload = message.room, message.payload
        session = self._open_session(Kind.PEER, "")
        greeting = self._greeting(session, message.id)
        if payload.resume and greeting.resumed and session.is_in(room) and session.may_be(room, payload.peer_id):
            return self._return(session, room, greeting)
        self._may_enter(session, room)
        membership = self._endpoint.node.membership(
            room, Kind.PEER, payload.peer_id, payload.metadata, session=session.id
        )
        return session.enter(
            room, membership, greeting._replace(resumed=False, complete=False), presence=payload.presence
        )

    async def _return(self, session: Session, room: RoomId, greeting: Greeting) -> None:
        await session.membership(room).come_back(greeting)
        self._greeted(session)
