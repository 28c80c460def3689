"""/ws/y-webrtc/: subscribing to a topic is joining its room, and publishing is for all others there, or for one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from mcp_actors.auth.grants import Permission
from mcp_actors.endpoints.endpoint import Endpoint
from mcp_actors.gateways.y_webrtc.dialect import PONG, Y_WEBRTC
from mcp_actors.gateways.y_webrtc.requests import Ping, Post, Publish, Subscribe, Unknown, Unsubscribe
from mcp_actors.gateways.y_webrtc.topics import plain_room
from mcp_actors.protocol.errors import CloseCode, NotInRoom, SignalingError, TooManyRooms
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import PeerId, UserId, shown
from mcp_actors.protocol.messages import JoinRoom, Pong, Signal, SignalPayload
from mcp_actors.protocol.outgoing import weight
from mcp_actors.sessions import VERIFIED, Greeting

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.connection.connection import Connection, Handler
    from mcp_actors.gateways.y_webrtc.topics import Topics
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.sessions import Session

UNKNOWN_AUDIENCE = 32
"""Deliveries that a message costs whose receivers, if there are any, are all at other nodes."""

_NO_DATA = Raw(b"null")


class YWebRtcEndpoint(Endpoint):
    """Requests of clients of y-webrtc and trystero. `max_topics`: of one connection."""

    permission = Permission.SIGNAL
    kind = Kind.USER
    dialect = Y_WEBRTC
    name = "y-webrtc"
    gateway = "y-webrtc"

    def __init__(self, topics: Topics, max_topics: int, *parts: Any, **options: Any) -> None:
        """Take the topics, and what every endpoint takes."""
        super().__init__(*parts, **options)
        self._topics = topics
        self._max_topics = max_topics

    def _handlers(self) -> dict[type[Any], Handler]:
        return {
            Publish: self._publish,
            Post: self._post,
            Subscribe: self._subscribe,
            Unsubscribe: self._unsubscribe,
            Ping: self._ping,
            Unknown: lambda _connection, _request, _frame: None,
        }

    def _ping(self, connection: Connection, _request: Ping, _frame: bytes) -> None:
        self._node.traffic.sent[Pong] += 1
        connection.send(PONG, b"")

    def _subscribe(self, connection: Connection, request: Subscribe, _frame: bytes) -> None:
        for topic in request.topics[: self._max_topics]:
            if not connection.closed:
                self._subscribe_to(connection, topic)
        if len(request.topics) > self._max_topics:
            text = f"A connection can subscribe to {self._max_topics} topics; open another one for more."
            raise TooManyRooms(text, limit=self._max_topics)

    def _subscribe_to(self, connection: Connection, topic: str) -> None:
        request = None
        try:
            room = self._topics.room(topic)
            if connection.session is not None and room in connection.session.rooms:
                return
            request = JoinRoom(room=room)
            if connection.identity.handshake is None:
                self._join(connection, request)
            else:
                connection.run(self._ask_first(connection, request), request, pause=True)
        except SignalingError as error:
            _refuse(connection, error, request)

    async def _ask_first(self, connection: Connection, request: JoinRoom) -> None:
        try:
            await self._ask_and_join(connection, request, lambda: self._join(connection, request))
        except SignalingError as error:
            _refuse(connection, error, request)

    def _join(self, connection: Connection, request: JoinRoom) -> None:
        room, identity = request.room, connection.identity
        user = _user(connection)
        identity.expect_room(room)
        session = self._open_session(connection, identity.session_owner(user))
        self._expect_may_join(connection, session, room)
        membership = self._node.membership(
            room,
            Kind.USER,
            user,
            None if (grant := identity.grant_in(room)) is None else grant.metadata,
            session=session.id,
            verified=identity.verified,
            address=self._address(connection),
        )
        entered = membership.enter(session, moderator=identity.may_moderate(room))
        joined = session.join(room, membership, entered, Greeting())
        connection.run(self._finish_join(connection, session, joined, request), request)

    async def _finish_join(
        self, connection: Connection, session: Session, joined: Awaitable[None], request: JoinRoom
    ) -> None:
        try:
            await joined
        except SignalingError as error:
            _refuse(connection, error, request, session)

    def _unsubscribe(self, connection: Connection, request: Unsubscribe, _frame: bytes) -> None:
        session = connection.session
        rooms = [self._topics.room(topic) for topic in request.topics]
        for room in rooms:
            if session is not None and room in session.rooms:
                connection.run(session.leave(room, None), JoinRoom(room=room))

    def _publish(self, connection: Connection, request: Publish, _frame: bytes) -> None:
        room, to = self._subscribed(connection, request.topic), request.to
        if room is None:
            raise NotInRoom(f"You have not subscribed to topic {shown(request.topic)}, so you cannot publish there.")
        _expect_may_send(connection, room)
        everybody = self._node.audience_size(room, Kind.USER)
        text = b'{"clients":%d,%b' % (everybody + 1, request.body)
        known = self._node.holders(room, to) if to else 0
        signal = Signal(room=room, payload=SignalPayload(target_peer_id=PeerId(to), data=_NO_DATA)) if to else None
        self._send(connection, room, known or everybody, request.sender, signal, text)

    def _post(self, connection: Connection, request: Post, _frame: bytes) -> None:
        room = self._subscribed(connection, request.topic)
        if room is None:
            self._post_outside(connection, request)
            return
        _expect_may_send(connection, room)
        self._send(connection, room, self._node.audience_size(room, Kind.USER), "", None, request.text)

    def _subscribed(self, connection: Connection, topic: str) -> RoomId | None:
        """The room of a topic that a client has subscribed to; None if it has not."""
        if connection.session is None:
            return None
        rooms, room = connection.session.rooms, plain_room(topic)
        if room in rooms:
            return room
        return room if (room := self._topics.room(topic)) in rooms else None

    def _send(
        self, connection: Connection, room: RoomId, audience: int, name: str, to: Signal | None, text: bytes
    ) -> None:
        """Send to the others in a room; `audience`: how many that are."""
        session = connection.session
        assert session is not None  # noqa: S101 - it is in the room
        joining = session.rooms.joining
        connection.costs.charge_delivery(audience, len(text))
        backlog = session.rooms.membership(room).publish(name, to, text)
        if joining:
            session.kept.wait(len(text))
            if not audience and room in joining:  # who is in the room is known when it is joined
                joining[room] += weight(len(text))
        if backlog is not None:
            connection.pause_until(backlog)

    def _post_outside(self, connection: Connection, request: Post) -> None:
        """Send to a room that the client is not in. Nothing is read from it meanwhile, which keeps the order."""
        if connection.identity.handshake is None:
            _expect_may_send(connection, None)
        room = self._topics.room(request.topic)
        self._connections.spoke(connection)
        connection.run(self._announce(connection, room, request), JoinRoom(room=room), pause=True)

    async def _announce(self, connection: Connection, room: RoomId, request: Post) -> None:
        identity = connection.identity
        if identity.handshake is not None and room not in identity.in_rooms:
            connection.limits.join(connection.now())  # else questions would cost nothing
            await self._ask(connection, room, None, {})
        _expect_may_send(connection, room)
        identity.expect_room(room)
        audience = len(self._node.roster(room)) or UNKNOWN_AUDIENCE
        connection.costs.charge_delivery(audience, len(request.text))
        content = {"topic": request.topic, "payload": msgspec.json.decode(request.payload)}
        await self._node.broker.administration.announce(room, content)


def _refuse(
    connection: Connection, error: SignalingError, request: JoinRoom | None, session: Session | None = None
) -> None:
    """Tell a client why it may not subscribe. It does so again if it reconnects, which is good for what will pass."""
    connection.answer(error, request, session)
    if error.retryable:
        connection.close(CloseCode.TRY_AGAIN_LATER)


def _expect_may_send(connection: Connection, room: RoomId | None) -> None:
    """Raise `Unauthorized` or `Forbidden` unless a client may send to others in a room."""
    identity = connection.identity
    if not identity.may_send or (room is not None and identity.in_rooms and not identity.may_send_in(room)):
        raise identity.refusal()


def _user(connection: Connection) -> UserId:
    """The id of a client in all rooms: that of its token, or else one that is made once. Raises `Unauthorized`."""
    if connection.session is not None:
        return UserId(connection.session.identity.removeprefix(VERIFIED))
    made = None if connection.identity.grant is not None else f"anonymous-{secrets.token_hex(8)}"
    return UserId(connection.identity.resolve(made, "token"))
