"""What both endpoints share: the handshake, one connection and its session, and errors answered."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import structlog
from msgspec import UNSET, UnsetType
from tornado.websocket import WebSocketHandler

from mcp_actors.actors.mail import Greeting
from mcp_actors.protocol.codec import encode, error_frame
from mcp_actors.protocol.errors import (
    BadMessage,
    CloseCode,
    Forbidden,
    MessageTooBig,
    NotInRoom,
    Unauthorized,
    Unavailable,
    describe,
)
from mcp_actors.protocol.grants import Permission
from mcp_actors.protocol.identifiers import shown
from mcp_actors.protocol.messages import Authenticated, AuthenticatedPayload
from mcp_actors.sessions import VERIFIED
from mcp_actors.transports.access import refuse
from mcp_actors.transports.admission import SUBPROTOCOL, not_here, take_token
from mcp_actors.transports.connection import Connection
from mcp_actors.transports.site import SafeHandler
from mcp_actors.transports.upgrade import fast_or_stock, understood

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping

    from tornado.websocket import WebSocketProtocol

    from mcp_actors.node import Node
    from mcp_actors.protocol.codec import Decoder, Limits
    from mcp_actors.protocol.errors import SignalingError
    from mcp_actors.protocol.events import Kind
    from mcp_actors.protocol.grants import Grant
    from mcp_actors.protocol.identifiers import RequestId, RoomId
    from mcp_actors.protocol.messages import Authenticate, Moderation, PeerRequest, UserRequest
    from mcp_actors.sessions import Session, Sessions
    from mcp_actors.transports.access import AccessPolicy
    from mcp_actors.transports.addresses import Addresses, Refusal
    from mcp_actors.transports.admission import Admission
    from mcp_actors.transports.connections import Connections
    from mcp_actors.transports.meter import Meter
    from mcp_actors.transports.turns import Turns
    from mcp_actors.transports.writes import Writes

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
    addresses: Addresses
    policy: AccessPolicy
    bounds: Bounds
    writes: Writes | None
    turns: Turns
    compression: bool
    ice_servers: tuple[dict[str, Any], ...] = ()
    version: str = ""
    admission: Admission | None = None
    """None where no tokens are asked for."""


class SocketHandler(SafeHandler, WebSocketHandler, Generic[R]):
    """A Tornado handler that decodes, answers errors, and leaves what a message means to its subclass."""

    permission: Permission
    """What a token must allow for a connection to send to others."""

    def initialize(self, endpoint: Endpoint, decoder: Decoder[R]) -> None:
        """Take what the route gives."""
        self._endpoint = endpoint
        self._decoder = decoder
        self._bad_messages = 0
        self._token = take_token(self.request)
        self._connection: Connection
        self._meter: Meter

    @abstractmethod
    def _receive(self, message: R, frame: bytes) -> Awaitable[None] | None:
        """Do what a message asks; return what to wait for before the next is read. May raise SignalingError."""

    # --------------------------------------------------------------------------------------------------------- identity

    def _admit(self) -> None:
        """Look at the token of the handshake, if there is one."""
        token, self._token = self._token, None
        admission = self._endpoint.admission
        if admission is None:
            return
        self._connection.barred = admission.required
        try:
            if admission.opened(self._connection, token):
                self._authenticated(None)
        except Exception as error:
            self._answer(error, None)

    def _authenticate(self, message: Authenticate) -> None:
        """Take a token. One that comes late must not change who a session is."""
        admission, connection = self._endpoint.admission, self._connection
        if admission is None:
            raise not_here()
        if connection.grant is None and connection.session is not None:
            raise BadMessage("Send `authenticate` before anything else.", field="type")
        admission.authenticate(connection, message.payload.token)
        self._endpoint.connections.spoke(connection)
        self._authenticated(message.id)

    def _authenticated(self, request_id: RequestId | None) -> None:
        """Say what the token grants, and take the client out of the rooms that it does not."""
        connection, admission = self._connection, cast("Admission", self._endpoint.admission)
        grant = cast("Grant", connection.grant)
        connection.barred = self.permission not in grant.can
        log.debug("authenticated", sub=grant.sub, address=self.request.remote_ip)
        rooms = UNSET if grant.rooms is None else list(grant.rooms)
        payload = AuthenticatedPayload(grant.sub, sorted(grant.can), admission.seconds_left(grant), rooms)
        connection.say(encode(Authenticated(id=UNSET if request_id is None else request_id, payload=payload)))
        self._confine()

    def _confine(self) -> None:
        """Have the session leave the rooms that the token does not let into, which one before did."""
        session, grant = self._connection.session, self._connection.grant
        if session is None or grant is None or grant.rooms is None:
            return
        for room, _ in session.rooms():
            if not grant.lets_into(room):
                session.expel(room)
                error = Forbidden("Your token does not let you into this room any more; you have left it.")
                session.put(error_frame(error.about(room, None)))

    def _who(self, claimed: str | UnsetType, field: str) -> str:
        """The id of who asks: that of the token, or without one what is claimed.

        Raises `Unauthorized`, `Forbidden` and `BadMessage`.
        """
        grant, admission = self._connection.grant, self._endpoint.admission
        if grant is not None:
            if claimed not in (UNSET, grant.sub):
                raise Forbidden(f"Your token is for {shown(grant.sub)}; make `{field}` that, or leave it out.")
            return grant.sub
        if admission is not None and admission.required:
            raise Unauthorized("Say who you are first: send `authenticate` with a token.")
        if claimed is UNSET:
            raise BadMessage(f"`{field}` is missing.", field=field)
        return claimed

    def _owner(self, claimed: str) -> str:
        """The identity of a session: to go on with one that began with an access token takes one of the same `sub`."""
        grant = self._connection.grant
        return claimed if grant is None else f"{VERIFIED}{grant.sub}"

    def _expect_grant_for(self, room: RoomId) -> None:
        """Raise `Forbidden` where the token does not let into a room."""
        grant = self._connection.grant
        if grant is not None and not grant.lets_into(room):
            raise Forbidden(f"Your token does not let you into room {shown(room)}.")

    def _may_not_send(self) -> SignalingError:
        """Why this connection is barred."""
        if self._connection.grant is None:
            return Unauthorized("Say who you are first: send `authenticate` with a token.")
        return Forbidden(f"Your token does not let you send this; its `can` lacks {self.permission}.")

    # ------------------------------------------------------------------------------------------------------- moderation

    @property
    def _may_moderate(self) -> bool:
        """Whether the token says that its holder may moderate the rooms that it lets into."""
        grant = self._connection.grant
        return grant is not None and Permission.MODERATE in grant.can

    def _moderate(self, message: Moderation) -> Awaitable[None]:
        """Do what a moderator asks. Raises `Forbidden` and `NotInRoom`; what is awaited, `PeerNotFound` too."""
        if self._endpoint.admission is None:
            raise Forbidden("To moderate takes an access token, and this server asks for none (MCP_ACTORS_AUTH).")
        if not self._may_moderate:
            raise Forbidden(f"To moderate takes an access token whose `can` has `{Permission.MODERATE}`.")
        self._expect_grant_for(message.room)
        return self._session(message.room).membership(message.room).moderate(message)

    # --------------------------------------------------------------------------------------------------------- sessions

    def _may_resume(self, token: str | None) -> bool:
        """Whether to look for a session: the client has a token, and this connection none yet."""
        return bool(token) and self._connection.session is None

    async def _find(
        self, token: str, kind: Kind, identity: str, received: int, at: Mapping[RoomId, str]
    ) -> Session | None:
        """The session a token is for, at this node or taken over from another.

        Raises `Kicked` or `RoomClosed` if moderators have put it out of all its rooms.
        """
        sessions = self._endpoint.sessions
        return sessions.find(token, kind, identity) or await sessions.take_over(token, kind, identity, received, at)

    def _resume(self, found: Session | None, received: int) -> None:
        """Go on with a session, if it was found, has not ended meanwhile, and this connection is there and has none."""
        connection = self._connection
        if found is not None and not found.ended and connection.session is None and not connection.closed:
            connection.session = found
            connection.complete = found.attach(connection, received)
            connection.resumed = True
            self._confine()

    def _greeted(self, session: Session) -> None:
        """The client was told its next token: the pong will say that it has it."""
        session.greeted()
        if self._connection.session is session:
            self._connection.ping()

    def _open_session(self, kind: Kind, identity: str) -> Session:
        """The session of this connection, a new one if it has none."""
        connection = self._connection
        self._endpoint.connections.spoke(connection)
        if connection.session is None:
            connection.session = self._endpoint.sessions.open(kind, identity, connection)
        return connection.session

    def _may_enter(self, session: Session, room: RoomId) -> None:
        """Raise `RateLimited`, `AlreadyInRoom`, `TooManyRooms` or `Unavailable` if the room cannot be joined."""
        self._meter.join(_now())
        self._connection.joins()
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
        elif (limited := self._endpoint.addresses.refusal(str(self.request.remote_ip), _now())) is not None:
            self._refuse_for_now(limited)

    def _refuse_for_now(self, refusal: Refusal) -> None:
        address = str(self.request.remote_ip)
        if self._endpoint.addresses.news(address):
            forwarded = "X-Forwarded-For" in self.request.headers  # a proxy that is not trusted counts as one client
            log.info("address limited", reason=refusal.reason, address=address, forwarded=forwarded)
        self.set_header("Retry-After", ceil(refusal.retry_after))
        refuse(self, 429, refusal.reason)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Choose the one that says nothing, where it is offered: never one that holds a token."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

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
        return fast_or_stock(self, super().get_websocket_protocol(), self._endpoint.writes, self._endpoint.turns)

    # ------------------------------------------------------------------------------------------------------- connection

    def open(self, *_args: str, **_kwargs: str) -> None:
        """The handshake is done."""
        self.set_nodelay(True)
        bounds = self._endpoint.bounds
        protocol = cast("WebSocketProtocol", self.ws_connection)
        self._connection = Connection(
            self, protocol, max_frames=bounds.max_outbox_frames, max_bytes=bounds.max_outbox_bytes
        )
        self._meter = self._endpoint.addresses.open(str(self.request.remote_ip))
        self._endpoint.connections.add(self._connection)
        log.debug("opened", path=self.request.path, address=self.request.remote_ip)
        self._admit()

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
        meter = self._meter
        meter.messages -= 1
        meter.bytes -= len(frame)
        if meter.messages < 0 or meter.bytes < 0:
            return self._settle(frame)
        return self._take_in(frame)

    def _take_in(self, frame: bytes, *, refused: bool = False) -> Coroutine[Any, Any, None] | None:
        request: R | None = None
        try:
            request = self._decoder.decode(frame)
            if refused:
                raise self._meter.refusal(_now())  # noqa: TRY301 - it names the request, as every error does
            waiting = self._receive(request, frame)
            self._bad_messages = 0
        except Exception as error:
            self._answer(error, request)
            return None
        return None if waiting is None else self._finish(waiting, request, self._connection.session)

    def _settle(self, frame: bytes) -> Coroutine[Any, Any, None] | None:
        """Handle one message of a connection that has used up what it may send before it is looked at."""
        refused = self._meter.settle(_now())
        work = self._take_in(frame, refused=refused)
        return self._slow_down(work, self._meter.owed) if self._meter.owed else work

    def on_extra(self, size: int) -> Coroutine[Any, Any, None] | None:
        """Count a frame that is no message as one: a ping, a pong, or a part of a message that is not the last."""
        connection, meter = self._connection, self._meter
        if connection.closed:
            return None
        meter.messages -= 1
        meter.bytes -= size
        if meter.messages >= 0 and meter.bytes >= 0:
            return None
        if meter.settle(_now()):
            self._answer(meter.refusal(_now()), None)
        return self._slow_down(None, meter.owed) if meter.owed else None

    async def _slow_down(self, work: Awaitable[None] | None, seconds: float) -> None:
        """Do what a message asks, and read nothing more for a while: what comes waits in the client's own socket."""
        if work is not None:
            await work
        await self._connection.pause(seconds)

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
        self._endpoint.addresses.close(self._meter, _now())
        if self._endpoint.admission is not None:
            self._endpoint.admission.forget(connection)
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
        if isinstance(told, BadMessage | MessageTooBig | Unauthorized):
            self._bad_messages += 1
            if self._bad_messages >= self._endpoint.bounds.max_bad_messages:
                close_code = CloseCode.BAD_MESSAGE
        if close_code is not None:
            self._connection.close(close_code)


def _now() -> float:
    return asyncio.get_running_loop().time()
