"""/ws/signaling/: peers, and what they relay to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.grants import Permission
from mcp_actors.protocol.identifiers import PeerId
from mcp_actors.protocol.messages import Authenticate, CloseRoom, Join, Kick, Leave, Lock, PeerRequest, Unlock
from mcp_actors.transports.websocket import SocketHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.actors.mail import Greeting
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.sessions import Session


class SignalingHandler(SocketHandler[PeerRequest]):
    """One peer's connection; in each of its rooms it has an id of its own."""

    permission = Permission.SIGNAL

    def _receive(self, message: PeerRequest, frame: bytes) -> Awaitable[None] | None:
        match message:
            case Join():
                return self._join(message)
            case Leave():
                return self._session(message.room).leave(message.room, message.id)
            case Authenticate():
                self._authenticate(message)
                return None
            case Kick() | Lock() | Unlock() | CloseRoom():
                return self._moderate(message)
            case _:
                if self._connection.barred:
                    raise self._may_not_send()
                return self._session(message.room).membership(message.room).relay(message, frame)

    def _join(self, message: Join) -> Awaitable[None]:
        peer = PeerId(self._who(message.payload.peer_id, "payload.peer_id"))
        self._expect_grant_for(message.room)
        if self._may_resume(message.payload.resume):
            return self._come_back(message, peer)
        return self._enter(message, peer)

    async def _come_back(self, message: Join, peer: PeerId) -> None:
        payload = message.payload
        found = await self._find(payload.resume or "", Kind.PEER, self._owner(""), payload.received, payload.at)
        self._resume(found if found and found.may_be(message.room, peer) else None, payload.received)
        if not self._connection.closed:  # or it could not take all that waited for it
            await self._enter(message, peer)

    def _enter(self, message: Join, peer: PeerId) -> Awaitable[None]:
        room, payload = message.room, message.payload
        session = self._open_session(Kind.PEER, self._owner(""))
        if payload.resume:
            session.expect_welcome(room)
        greeting = self._greeting(session, message.id)
        if payload.resume and greeting.resumed and session.is_in(room) and session.may_be(room, peer):
            return self._return(session, room, greeting)
        self._may_enter(session, room)
        verified = self._connection.grant is not None
        membership = self._endpoint.node.membership(
            room, Kind.PEER, peer, payload.metadata, session=session.id, verified=verified
        )
        greeting = greeting._replace(resumed=False, complete=False)
        return session.enter(room, membership, greeting, presence=payload.presence, moderator=self._may_moderate)

    async def _return(self, session: Session, room: RoomId, greeting: Greeting) -> None:
        await session.membership(room).come_back(greeting)
        self._greeted(session)
