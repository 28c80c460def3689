"""/ws/mcp/: users, and the messages that they send to their rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from mcp_actors.auth.grants import Permission
from mcp_actors.endpoints.endpoint import Endpoint
from mcp_actors.protocol.errors import BadMessage, NotConnected
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import UserId, shown
from mcp_actors.protocol.messages import (
    Connect,
    Connected,
    ConnectedPayload,
    JoinRoom,
    LeaveRoom,
    Message,
    ServerInfo,
)
from mcp_actors.protocol.outgoing import weight
from mcp_actors.sessions import VERIFIED, Greeting

if TYPE_CHECKING:
    from mcp_actors.auth.grants import Grant
    from mcp_actors.connection.connection import Connection, Handler
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.protocol.messages import Request
    from mcp_actors.sessions import Session


class MessagingEndpoint(Endpoint):
    """Requests of users. A user has one id in all rooms, and may have several connections."""

    name = "messaging"
    permission = Permission.MESSAGE
    kind = Kind.USER

    def _handlers(self) -> dict[type[Request], Handler]:
        return {
            Message: self._broadcast,
            JoinRoom: self._join,
            LeaveRoom: self._leave,
            Connect: self._connect,
        }

    def _session(self, connection: Connection, room: RoomId) -> Session:
        if connection.session is None:
            raise NotConnected("Say who you are first: send `connect` with your user_id.")
        return connection.session

    def _broadcast(self, connection: Connection, request: Message, frame: bytes) -> None:
        session = self._session(connection, request.room)
        identity = connection.identity
        if not identity.may_send or (identity.in_rooms and not identity.may_send_in(request.room)):
            raise identity.refusal()
        membership = session.rooms.membership(request.room)
        audience, joining = self._node.audience_size(request.room, Kind.USER), session.rooms.joining
        connection.costs.charge_delivery(audience, len(frame))
        backlog = membership.broadcast(request, frame)
        if joining:
            session.kept.wait(len(frame))
            if not audience and request.room in joining:  # who is in the room is known when it is joined
                joining[request.room] += weight(len(frame))
        if backlog is not None:
            connection.pause_until(backlog)

    def _leave(self, connection: Connection, request: LeaveRoom, _frame: bytes) -> None:
        session = self._session(connection, request.room)
        connection.run(session.leave(request.room, request.id), request)

    def _join(self, connection: Connection, request: JoinRoom, _frame: bytes) -> None:
        self._run_join(connection, request, lambda: self._join_now(connection, request))

    def _join_now(self, connection: Connection, request: JoinRoom) -> None:
        room, identity = request.room, connection.identity
        session = self._session(connection, room)
        identity.expect_room(room)
        self._expect_may_join(connection, session, room)
        membership = self._node.membership(
            room,
            Kind.USER,
            _user(session),
            self._shown_metadata(identity.grant_in(room)),
            session=session.id,
            verified=identity.verified,
            address=self._address(connection),
        )
        entered = membership.enter(session, moderator=identity.may_moderate(room))
        connection.run(session.join(room, membership, entered, Greeting(request.id)), request)

    def _shown_metadata(self, grant: Grant | None) -> dict[str, Any] | None:
        """Return what others see of a user that enters a room."""
        return None if grant is None else grant.metadata

    def _connect(self, connection: Connection, request: Connect, _frame: bytes) -> None:
        payload, session = request.given, connection.session
        user = UserId(connection.identity.resolve(payload.user_id, "payload.user_id"))
        if session is not None and _user(session) != user:
            text = f"This connection is user {shown(_user(session))}; open another one for another user."
            raise BadMessage(text, field="payload.user_id")
        if payload.resume and session is None:
            connection.run(self._come_back(connection, request, user), request, pause=True)
        else:
            self._greet(connection, request, user)

    async def _come_back(self, connection: Connection, request: Connect, user: UserId) -> None:
        """Resume the session of the client, if it has one, and show its rooms again if it missed something."""
        await self._resume_session(connection, request.given, connection.identity.session_owner(user))
        if connection.closed:  # for lack of room for what waited in the session
            return
        session = self._greet(connection, request, user)
        self._greeted(connection, session)
        if connection.resumed and not connection.complete:
            for room in list(session.rooms):
                await session.rejoin(room, Greeting())

    def _greet(self, connection: Connection, request: Connect, user: UserId) -> Session:
        session = self._open_session(connection, connection.identity.session_owner(user))
        greeting = self._greeting(connection, session, request.id)
        payload = ConnectedPayload(user, ServerInfo("mcp_actors", self._version), **greeting.fields())
        connection.say(Connected(id=UNSET if request.id is None else request.id, payload=payload))
        return session


def _user(session: Session) -> UserId:
    return UserId(session.identity.removeprefix(VERIFIED))
