"""What both endpoints share: the handshake, one connection and its session, and errors answered."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import structlog
from tornado.websocket import WebSocketHandler

from mcp_actors.actors.mail import Greeting
from mcp_actors.protocol.codec import error_frame
from mcp_actors.protocol.errors import BadMessage, CloseCode, MessageTooBig, NotInRoom, Unavailable, describe
from mcp_actors.protocol.identifiers import shown
from mcp_actors.transports.access import refuse
from mcp_actors.transports.connection import Connection
from mcp_actors.transports.site import SafeHandler
from mcp_actors.transports.upgrade import fast_or_stock, understood

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from tornado.websocket import WebSocketProtocol

    from mcp_actors.node import Node
    from mcp_actors.protocol.codec import Decoder, Limits
    from mcp_actors.protocol.events import Kind
    from mcp_actors.protocol.identifiers import RequestId, RoomId
    from mcp_actors.protocol.messages import PeerRequest, UserRequest
    from mcp_actors.sessions import Session, Sessions
    from mcp_actors.transports.access import AccessPolicy
    from mcp_actors.transports.connections import Connections
    from mcp_actors.transports.frames import Framer

log = structlog.get_logger("mcp_actors.connection")

R = TypeVar("R", bound="PeerRequest | UserRequest")

READ_LIMIT = 4
"""A frame up to so many times the message limit is read and answered with an error; a longer one closes with 1009."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may take: messages, frames and bytes that wait for it, bad messages in a row."""

    limits: Limits
    max_outbox_frames: int
    max_outbox_bytes: int
    max_bad_messages: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a handler works with."""

    node: Node
    sessions: Sessions
    connections: Connections
    policy: AccessPolicy
    bounds: Bounds
    framer: Framer | None
    compression: bool
    ice_servers: tuple[dict[str, Any], ...] = ()
    version: str = ""


class SocketHandler(SafeHandler, WebSocketHandler, Generic[R]):
    """A Tornado handler that decodes, answers errors, and leaves what a message means to its subclass."""

    def initialize(self, endpoint: Endpoint, decoder: Decoder[R]) -> None:
        """Take what the route gives."""
        self._endpoint = endpoint
        self._decoder = decoder
        self._bad_messages = 0
        self._connection: Connection

    @abstractmethod
    def _receive(self, message: R, frame: bytes) -> Awaitable[None] | None:
        """Do what a message asks; return what to wait for before the next is read. May raise SignalingError."""

    # --------------------------------------------------------------------------------------------------------- sessions

    def _may_resume(self, token: str | None) -> bool:
        """Whether to look for a session: the client has a token, and this connection none yet."""
        return bool(token) and self._connection.session is None

    async def _find(self, token: str, kind: Kind, identity: str, received: int) -> Session | None:
        """The session a token is for, at this node or taken over from another."""
        sessions = self._endpoint.sessions
        return sessions.find(token, kind, identity) or await sessions.take_over(token, kind, identity, received)

    def _resume(self, found: Session | None, received: int) -> None:
        """Go on with a session, if it was found, has not ended meanwhile, and this connection is there and has none."""
        connection = self._connection
        if found is not None and not found.ended and connection.session is None and not connection.closed:
            connection.session = found
            connection.complete = found.attach(connection, received)
            connection.resumed = True

    def _greeted(self, session: Session) -> None:
        """The client was told its next token: the pong will say that it has it."""
        session.greeted()
        if self._connection.session is session:
            self._connection.ping()

    def _open_session(self, kind: Kind, identity: str) -> Session:
        """The session of this connection, a new one if it has none."""
        connection = self._connection
        if connection.session is None:
            connection.session = self._endpoint.sessions.open(kind, identity, connection)
        return connection.session

    def _may_enter(self, session: Session, room: RoomId) -> None:
        """Raise `AlreadyInRoom`, `TooManyRooms` or `Unavailable` if the room cannot be joined."""
        session.may_enter(room)
        if self._endpoint.connections.stopping:
            raise Unavailable("This server process is stopping; reconnect, which leads to another, and join there.")

    def _session(self, room: RoomId) -> Session:
        """The session that is in a room. Raises `NotInRoom` where there is none."""
        session = self._connection.session
        if session is None:
            raise NotInRoom(f"You are not in room {shown(room)}; join it first.")
        return session

    def _greeting(self, session: Session, request_id: RequestId | None) -> Greeting:
        connection, endpoint = self._connection, self._endpoint
        token = endpoint.sessions.token(session)
        return Greeting(request_id, endpoint.ice_servers, token, connection.resumed, connection.complete)

    # -------------------------------------------------------------------------------------------------------- handshake

    def prepare(self) -> None:
        """Refuse, before the handshake, whom the policy or the bounds refuse."""
        refusal = self._endpoint.policy.refusal(self.request.headers)
        if refusal is not None:
            log.info("handshake refused", reason=refusal, address=self.request.remote_ip)
            refuse(self, 403, refusal)
        elif (unavailable := self._endpoint.connections.refusal) is not None:
            log.warning("handshake refused", reason=unavailable, address=self.request.remote_ip)
            refuse(self, 503, unavailable)

    def check_origin(self, origin: str) -> bool:
        """Origins were checked in `prepare`, by the same policy as for plain HTTP."""
        return True

    @property
    def max_message_size(self) -> int:
        """Bytes of the longest frame that is read at all."""
        return READ_LIMIT * self._endpoint.bounds.limits.message_bytes

    def get_compression_options(self) -> dict[str, Any] | None:
        """Compress if the operator wants it, and the client offers it in words that are understood."""
        offer = self.request.headers.get("Sec-WebSocket-Extensions", "")
        return {} if self._endpoint.compression and understood(offer) else None

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """The fast frame loop where it can serve, or Tornado's own."""
        return fast_or_stock(self, super().get_websocket_protocol(), self._endpoint.framer)

    # ------------------------------------------------------------------------------------------------------- connection

    def open(self, *_args: str, **_kwargs: str) -> None:
        """The handshake is done."""
        self.set_nodelay(True)
        bounds = self._endpoint.bounds
        protocol = cast("WebSocketProtocol", self.ws_connection)
        self._connection = Connection(
            self, protocol, max_frames=bounds.max_outbox_frames, max_bytes=bounds.max_outbox_bytes
        )
        self._endpoint.connections.add(self._connection)
        log.debug("opened", path=self.request.path, address=self.request.remote_ip)

    def on_message(self, message: str | bytes) -> Coroutine[Any, Any, None] | None:
        """Handle one frame, text or binary."""
        self._connection.heard = True
        if isinstance(message, str):
            return self.on_frame(message.encode())
        try:
            message.decode()
        except UnicodeDecodeError as error:  # relayed as text, it would break the receiver's connection
            text = f"The binary frame is not UTF-8: {error.reason} at byte {error.start}."
            self._answer(BadMessage(text), None)
            return None
        return self.on_frame(message)

    def on_frame(self, frame: bytes) -> Coroutine[Any, Any, None] | None:
        """Handle one message as UTF-8; what is returned must be done before the next is read."""
        connection = self._connection
        if connection.closed:
            return None
        request: R | None = None
        try:
            request = self._decoder.decode(frame)
            waiting = self._receive(request, frame)
            self._bad_messages = 0
        except Exception as error:
            self._answer(error, request)
            return None
        return None if waiting is None else self._finish(waiting, request, connection.session)

    def on_pong(self, data: bytes) -> None:
        """The client is there."""
        self._connection.ponged(data)

    def on_writable(self, writable: bool) -> None:
        """The fast frame loop says whether the socket takes more."""
        self._connection.on_writable(writable)

    def on_closing(self, code: int | None) -> None:
        """The client closes: leave the rooms now, not when it has read what was written to it before."""
        self._connection.said_close(code)

    def on_close(self) -> None:
        """The connection is gone, to the last byte."""
        connection = self._connection
        self._endpoint.connections.remove(connection)
        if not connection.closed:
            log.debug("closed", code=self.close_code, address=self.request.remote_ip)
            connection.gone(self.close_code)
        connection.forget()

    # ----------------------------------------------------------------------------------------------------------- errors

    async def _finish(self, waiting: Awaitable[None], request: R, session: Session | None) -> None:
        try:
            await waiting
        except Exception as error:
            self._answer(error, request, session)

    def _answer(self, error: Exception, request: R | None, session: Session | None = None) -> None:
        """Tell the client; in a session where that was asked for it, which may have another connection by now."""
        told = describe(error)
        if told is not error:
            log.error("handler failed", exc_info=error, path=self.request.path)
        if request is not None:
            told.about(getattr(request, "room", None), request.id)
        log.debug("error", code=told.code, room=told.room, address=self.request.remote_ip)
        (self._connection.say if session is None else session.put)(error_frame(told))
        close_code = told.close_code
        if isinstance(told, BadMessage | MessageTooBig):
            self._bad_messages += 1
            if self._bad_messages >= self._endpoint.bounds.max_bad_messages:
                close_code = CloseCode.BAD_MESSAGE
        if close_code is not None:
            self._connection.close(close_code)
