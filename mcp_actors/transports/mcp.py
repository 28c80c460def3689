"""/ws/mcp/: users, and what they say to the rooms they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from mcp_actors.actors.mail import Greeting
from mcp_actors.protocol.codec import encode
from mcp_actors.protocol.errors import BadMessage, NotConnected
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.grants import Permission
from mcp_actors.protocol.identifiers import UserId, shown
from mcp_actors.protocol.messages import (
    Authenticate,
    CloseRoom,
    Connect,
    Connected,
    ConnectedPayload,
    JoinRoom,
    Kick,
    LeaveRoom,
    Lock,
    Message,
    ServerInfo,
    Unlock,
    UserRequest,
)
from mcp_actors.transports.websocket import SocketHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.protocol.codec import Decoder
    from mcp_actors.sessions import Session
    from mcp_actors.transports.websocket import Endpoint


class McpHandler(SocketHandler[UserRequest]):
    """One connection of a user, who may have several."""

    permission = Permission.MESSAGE

    def initialize(self, endpoint: Endpoint, decoder: Decoder[UserRequest]) -> None:
        """Take what the route gives."""
        super().initialize(endpoint, decoder)
        self._user: UserId | None = None

    def _receive(self, message: UserRequest, frame: bytes) -> Awaitable[None] | None:
        if isinstance(message, Authenticate):
            self._authenticate(message)
            return None
        if isinstance(message, Connect):
            return self._connect(message)
        if self._user is None:
            raise NotConnected("Say who you are first: send `connect` with your user_id.")
        match message:
            case Message():
                if self._connection.barred:
                    raise self._may_not_send()
                return self._session(message.room).membership(message.room).broadcast(message, frame)
            case JoinRoom():
                return self._join(message, self._user)
            case LeaveRoom():
                return self._session(message.room).leave(message.room, message.id)
            case Kick() | Lock() | Unlock() | CloseRoom():
                return self._moderate(message)

    def _connect(self, message: Connect) -> Awaitable[None] | None:
        user = UserId(self._who(message.payload.user_id, "payload.user_id"))
        if self._user is not None and self._user != user:
            text = f"This connection is user {shown(self._user)}; open another one for another user."
            raise BadMessage(text, field="payload.user_id")
        self._user = user
        if self._may_resume(message.payload.resume):
            return self._come_back(message, user)
        self._greet(message, user)
        return None

    async def _come_back(self, message: Connect, user: UserId) -> None:
        payload = message.payload
        found = await self._find(payload.resume or "", Kind.USER, self._owner(user), payload.received, payload.at)
        self._resume(found, payload.received)
        connection = self._connection
        if connection.closed:  # it could not take all that waited for it
            return
        session = self._greet(message, user)
        self._greeted(session)
        if connection.resumed and not connection.complete:
            for _, place in session.rooms():
                await place.come_back(Greeting())

    def _greet(self, message: Connect, user: UserId) -> Session:
        session = self._open_session(Kind.USER, self._owner(user))
        greeting = self._greeting(session, message.id)
        server = ServerInfo("mcp_actors", self._endpoint.version)
        request_id = UNSET if message.id is None else message.id
        payload = ConnectedPayload(user, server, **greeting.session())
        session.put(encode(Connected(id=request_id, payload=payload)))
        return session

    def _join(self, message: JoinRoom, user: UserId) -> Awaitable[None]:
        self._expect_grant_for(message.room)
        session = self._session(message.room)
        self._may_enter(session, message.room)
        verified = self._connection.grant is not None
        membership = self._endpoint.node.membership(
            message.room, Kind.USER, user, session=session.id, verified=verified
        )
        return session.enter(message.room, membership, Greeting(message.id), moderator=self._may_moderate)
