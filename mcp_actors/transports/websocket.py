"""What both endpoints share: the handshake, one connection with its rooms and its outbox, and errors answered."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import structlog
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from mcp_actors.protocol.codec import error_frame
from mcp_actors.protocol.errors import (
    AlreadyInRoom,
    BadMessage,
    CloseCode,
    MessageTooBig,
    NotInRoom,
    TooManyRooms,
    describe,
)
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import shown
from mcp_actors.transports.access import refuse
from mcp_actors.transports.outbox import Outbox, StockWriter
from mcp_actors.transports.upgrade import FastWebSocket, fast_or_stock, understood

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from tornado.websocket import WebSocketProtocol

    from mcp_actors.node import Membership, Node
    from mcp_actors.protocol.codec import Decoder, Limits
    from mcp_actors.protocol.identifiers import RequestId, RoomId
    from mcp_actors.protocol.messages import PeerRequest, UserRequest
    from mcp_actors.transports.access import AccessPolicy
    from mcp_actors.transports.connections import Connections
    from mcp_actors.transports.frames import Framer

log = structlog.get_logger("mcp_actors.connection")

R = TypeVar("R", bound="PeerRequest | UserRequest")

READ_LIMIT = 4
"""A frame up to so many times the message limit is read and answered with an error; a longer one closes with 1009."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may take: messages, rooms, frames and bytes that wait for it, bad messages in a row."""

    limits: Limits
    max_rooms: int
    max_outbox_frames: int
    max_outbox_bytes: int
    max_bad_messages: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a handler works with."""

    node: Node
    connections: Connections
    policy: AccessPolicy
    bounds: Bounds
    framer: Framer | None
    compression: bool
    ice_servers: tuple[dict[str, Any], ...] = ()
    version: str = ""


class Connection:
    """One WebSocket: the `Outlet` of its rooms, and its membership in each of them."""

    __slots__ = ("_heard", "_max_rooms", "_memberships", "_outbox", "_protocol", "_socket", "closed", "put")

    def __init__(self, socket: WebSocketHandler, protocol: WebSocketProtocol, bounds: Bounds) -> None:
        self.closed = False
        self._heard = True
        self._socket = socket
        self._protocol = protocol
        self._max_rooms = bounds.max_rooms
        self._memberships: dict[RoomId, Membership] = {}
        self._outbox = Outbox(
            self._writer(),
            self._too_slow,
            max_frames=bounds.max_outbox_frames,
            max_bytes=bounds.max_outbox_bytes,
        )
        self.put: Callable[[bytes], bool] = self._outbox.put  # see `Outlet`

    def _writer(self) -> Callable[[bytes], None]:
        if isinstance(self._protocol, FastWebSocket):
            return self._protocol.frame_loop.write_text
        return StockWriter(self._socket.write_message, self.on_writable).write

    # --------------------------------------------------------------------------------------------------------- outgoing

    def on_writable(self, writable: bool) -> None:
        """Hear whether the socket takes more, or has enough for now."""
        self._outbox.on_writable(writable)

    def ping(self) -> None:
        """Ask the client to show that it is there."""
        try:
            self._socket.ping()
        except WebSocketClosedError:
            self.end(LeaveReason.DISCONNECTED)

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Send a close frame and leave all rooms; see `Outlet`."""
        if self.closed:
            return
        log.debug("closing", code=int(code), reason=code.reason, address=self._socket.request.remote_ip)
        self.end(leave)
        self._socket.close(code, code.reason)

    @property
    def heard(self) -> bool:
        """Whether anything arrived since this was last set to False."""
        if isinstance(self._protocol, FastWebSocket):
            return self._protocol.frame_loop.heard
        return self._heard

    @heard.setter
    def heard(self, heard: bool) -> None:
        if isinstance(self._protocol, FastWebSocket):
            self._protocol.frame_loop.heard = heard
        self._heard = heard

    def abort(self) -> None:
        """Hang up at once."""
        self._protocol.on_connection_close()

    def forget(self) -> None:
        """Let go of the socket, which is gone: else they would keep each other for the garbage collector."""
        del self._socket, self._protocol

    def end(self, reason: LeaveReason) -> None:
        """Leave all rooms and write nothing more."""
        self.closed = True
        self._outbox.close()
        memberships, self._memberships = self._memberships, {}
        for membership in memberships.values():
            membership.end(reason)

    def _too_slow(self) -> None:
        log.info("slow peer closed", address=self._socket.request.remote_ip)
        self.close(CloseCode.SLOW_PEER)

    # ------------------------------------------------------------------------------------------------------------ rooms

    def membership(self, room: RoomId) -> Membership:
        """The membership in a room. Raises `NotInRoom`."""
        membership = self._memberships.get(room)
        if membership is None:
            raise NotInRoom(f"You are not in room {shown(room)}; join it first.")
        return membership

    def may_enter(self, room: RoomId) -> None:
        """Raise `AlreadyInRoom` or `TooManyRooms` if this connection cannot join the room."""
        if room in self._memberships:
            raise AlreadyInRoom(f"This connection is in room {shown(room)} already.")
        if len(self._memberships) >= self._max_rooms:
            text = f"A connection can be in {self._max_rooms} rooms; leave one, or open another connection."
            raise TooManyRooms(text, limit=self._max_rooms)

    def enter(
        self,
        room: RoomId,
        membership: Membership,
        request_id: RequestId | None,
        ice_servers: tuple[dict[str, Any], ...] = (),
    ) -> Awaitable[None]:
        """Join a room. Nothing is read from the client meanwhile: what it sent after its join finds it in the room."""
        entered = membership.enter(self, request_id, ice_servers)
        self._memberships[room] = membership
        return self._entered(room, entered)

    async def _entered(self, room: RoomId, entered: Awaitable[None]) -> None:
        try:
            await entered
        except Exception:
            self._memberships.pop(room, None)
            raise

    async def leave(self, room: RoomId, request_id: RequestId | None) -> None:
        """Leave a room. Raises `NotInRoom`."""
        membership = self.membership(room)
        try:
            await membership.leave(request_id)
        finally:
            self._memberships.pop(room, None)


class SocketHandler(WebSocketHandler, Generic[R]):
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
        self._connection = Connection(self, cast("WebSocketProtocol", self.ws_connection), self._endpoint.bounds)
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
        return None if waiting is None else self._finish(waiting, request)

    def on_pong(self, data: bytes) -> None:
        """The client is there."""
        self._connection.heard = True

    def on_writable(self, writable: bool) -> None:
        """The fast frame loop says whether the socket takes more."""
        self._connection.on_writable(writable)

    def on_closing(self) -> None:
        """The client closes: leave the rooms now, not when it has read what was written to it before."""
        self._connection.end(LeaveReason.DISCONNECTED)

    def on_close(self) -> None:
        """The connection is gone, to the last byte."""
        connection = self._connection
        self._endpoint.connections.remove(connection)
        if not connection.closed:
            log.debug("closed", code=self.close_code, address=self.request.remote_ip)
            connection.end(LeaveReason.DISCONNECTED)
        connection.forget()

    # ----------------------------------------------------------------------------------------------------------- errors

    async def _finish(self, waiting: Awaitable[None], request: R) -> None:
        try:
            await waiting
        except Exception as error:
            self._answer(error, request)

    def _answer(self, error: Exception, request: R | None) -> None:
        told = describe(error)
        if told is not error:
            log.error("handler failed", exc_info=error, path=self.request.path)
        if request is not None:
            told.about(getattr(request, "room", None), request.id)
        log.debug("error", code=told.code, room=told.room, address=self.request.remote_ip)
        self._connection.put(error_frame(told))
        close_code = told.close_code
        if isinstance(told, BadMessage | MessageTooBig):
            self._bad_messages += 1
            if self._bad_messages >= self._endpoint.bounds.max_bad_messages:
                close_code = CloseCode.BAD_MESSAGE
        if close_code is not None:
            self._connection.close(close_code)
