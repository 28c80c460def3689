"""One client, sans I/O: frames in, requests to its endpoint, replies and errors out.

Frames pass the rate limits, are decoded, and go to the handler of their type. An error is answered with the id and the
room of its request; some errors close the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from mcp_actors.connection.costs import Costs
from mcp_actors.connection.heartbeat import Heartbeat
from mcp_actors.connection.identity import Identity
from mcp_actors.connection.outbox import Outbox
from mcp_actors.connection.reading import Reading
from mcp_actors.connection.record import Record
from mcp_actors.counters.relay_latency import NOT_SAMPLED
from mcp_actors.protocol.codec import error_message
from mcp_actors.protocol.errors import BadMessage, CloseCode, MessageTooBig, Unauthorized, describe
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.messages import Reconnect, ReconnectPayload
from mcp_actors.protocol.outgoing import Outgoing
from mcp_actors.protocol.subject import subject

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Awaitable, Mapping

    from mcp_actors.auth.authorization import Admission
    from mcp_actors.auth.grants import Permission
    from mcp_actors.connection.environment import Environment
    from mcp_actors.connection.transport import Transport
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.protocol.messages import Request, ServerMessage
    from mcp_actors.protocol.outgoing import Dialect
    from mcp_actors.sessions import Session

log = structlog.get_logger("mcp_actors.connection")

DELIBERATE_CLOSES = {None, 1000, 1001}
"""Close codes of clients that mean to leave: none, normal, and a page that is left."""

MAX_RUNNING_REQUESTS = 64
"""Requests of one client that run at the same time. It is not read from while there are more."""


Handler = Callable[["Connection", Any, bytes], None]
"""Called with a connection, its request, and the text of the request."""


class Endpoint(Protocol):
    """The requests of one path of the server."""

    name: str
    """A word for it, in logs and metrics."""

    permission: Permission
    """The permission that a token must grant to send to others."""

    dialect: Dialect
    """How the clients speak."""

    handlers: Mapping[type[Request], Handler]
    """The handler of each type of request, called with the connection, the request and its text. May raise."""

    decode: Callable[[bytes], Request]
    """Decodes and validates a frame. Raises `BadMessage` and `MessageTooBig`."""

    def opened(self, connection: Connection, token: str | None, admission: Admission | None) -> None:
        """Handle a new connection, with the access token of its handshake and what the application decided about it."""


class Connection:
    """One client of an endpoint, on a transport.

    `resumed`: its session was begun by another connection; `complete`: the client missed nothing of it. `returns`: the
    rooms that came with it, whose rosters the client has not asked for yet.
    """

    __slots__ = (
        *("_bad_due", "_endpoint", "_environment", "_heartbeat", "_loop", "_outbox", "_reading", "_record", "_running"),
        *("_traffic", "_transport", "address", "buffers_grew", "charged_to", "closed", "complete", "costs"),
        *("has_room", "id", "identity", "limits", "now", "resumed", "returns", "send", "session", "writable"),
    )

    def __init__(
        self,
        environment: Environment,
        endpoint: Endpoint,
        transport: Transport,
        address: str,
        loop: AbstractEventLoop,
    ) -> None:
        bounds = environment.bounds
        self.address = address
        self.closed = self.resumed = self.complete = False
        self.session: Session | None = None
        self.returns: set[RoomId] | None = None
        self.identity = Identity(environment.authentication, endpoint.permission)
        self.limits = environment.addresses.open(address)
        self.charged_to = self.limits.address.key
        """The address that is charged for what is kept for the client."""
        self.now = loop.time
        """The clock of the limits, in seconds."""
        self._environment = environment
        self._endpoint = endpoint
        self._transport = transport
        self._loop = loop
        self._reading = Reading(transport, loop)
        self.costs = Costs(self.limits, self._reading, loop.time)
        self._outbox = Outbox(
            transport,
            self._overflow,
            self.drop,
            environment.memory,
            self.charged_to,
            self._congestion,
            max_messages=bounds.max_outbox_messages,
            max_bytes=bounds.max_outbox_bytes,
        )
        self.send = self._outbox.send
        """Sends one message in two parts; False if the connection is closed."""
        self.has_room: Callable[[int], bool] = self._outbox.has_room
        """Whether one more message of so many bytes of another client may wait to be read."""
        self.writable: Callable[[bool], None] = self._outbox.writable
        """Notes whether the transport accepts more."""
        self.buffers_grew = self._outbox.count_buffers
        self._heartbeat = Heartbeat()
        self._bad_due = 0.0
        self._running = 0
        self._traffic = environment.traffic
        counters, access_log = environment.counters, environment.access_log
        self._record = Record(counters, access_log, transport, endpoint.name, address, loop.time())
        self.id = self._record.id
        environment.connections.add(self, loop.time())

    def opened(self, token: str | None, admission: Admission | None = None) -> None:
        """Begin, with the access token of the handshake and what the application decided about it."""
        self._endpoint.opened(self, token, admission)

    def frame_received(self, frame: bytes) -> None:
        """Handle one message, valid UTF-8."""
        limits = self.limits
        limits.messages -= 1
        limits.bytes -= len(frame)
        if limits.messages < 0 or limits.bytes < 0:
            self._charge(frame)
        elif not self.closed:
            self._handle(frame)

    def binary_received(self, data: bytes) -> None:
        """Handle one message of a binary frame, which is relayed as text."""
        try:
            data.decode()
        except UnicodeDecodeError as error:  # relayed as text, it would break the connection of its receiver
            text = f"The binary frame is not UTF-8: {error.reason} at byte {error.start}."
            self.answer(BadMessage(text).about(*subject(data)), None)
        else:
            self.frame_received(data)

    def control_frame_received(self, size: int) -> None:
        """Count a ping, a pong or a fragment as a message."""
        self._record.controls += 1
        limits = self.limits
        limits.messages -= 1
        limits.bytes -= size
        if limits.messages < 0 or limits.bytes < 0:
            self._charge(None)

    def pong_received(self, data: bytes) -> None:
        """Note that the client has what was sent before the ping."""
        number = self._heartbeat.answered(data)
        if number is not None and self.session is not None:
            self.session.acknowledge(number)

    def closing(self, code: int | None) -> None:
        """Leave the rooms as the client closes, without waiting until it has read what was sent before."""
        if not self.closed:
            self._record.closed_by_client(code)
        self._end(LeaveReason.DISCONNECTED, final=code in DELIBERATE_CLOSES)

    def lost(self, code: int | None) -> None:
        """Forget the connection, which is closed to the last byte."""
        environment = self._environment
        environment.connections.remove(self)
        environment.addresses.close(self.limits, self._loop.time())
        environment.expiry.forget(self)
        if not self.closed:
            log.debug("connection lost", connection=self.id, code=code, address=self.address)
            self._end(LeaveReason.DISCONNECTED, final=False)
        self._outbox.lost()
        self._record.over(self._loop.time(), frames=self.limits.received, sent=self._outbox.sent)

    def ping(self) -> None:
        """Ask the client for a sign of life. The pong brings back the number of the last message that was sent."""
        if self._transport.has_pings:
            self._transport.ping(self._heartbeat.ping(_last_sent(self.session, self._outbox)))
        if self.session is not None and self.session.replay.bytes:  # else the heartbeat, which comes now, is enough
            self._outbox.count_buffers()

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        """Start the closing handshake; the rooms are told `leave`."""
        if self.closed:
            return
        log.debug("closing", connection=self.id, code=int(code), reason=code.reason, address=self.address)
        self._record.closing(code)
        self._end(leave, final=not code.resumable, deaf=code is CloseCode.RATE_LIMITED)
        self._transport.close(code, code.reason)

    def drop(self) -> None:
        """Drop the connection at once, as one that is too slow unless it is closed already.

        A close frame would only wait behind what was not read.
        """
        self.close(CloseCode.SLOW_PEER)
        self._transport.abort()

    @property
    def in_room(self) -> bool:
        """Whether the client is in a room, or is joining one."""
        return self.session is not None and bool(self.session.rooms)

    def take_heard(self) -> bool:
        """Return whether anything arrived since the last call, or might have if it had been read."""
        heard = self._heartbeat.take_heard(self._transport.received)
        return self._reading.take_paused() or heard or not self._transport.has_pings

    def is_stuck(self) -> bool:
        """Count what is kept for the client; whether it took nothing since the last two calls though more waited."""
        state = self._outbox.count_buffers()
        self._record.count_bytes()
        if self.session is not None:
            if not self._transport.has_pings:  # whoever sends them would have closed the connection
                sent = _last_sent(self.session, self._outbox)
                self.session.acknowledge(self._heartbeat.sent_long_ago(sent))
            self.session.kept.count()
        return self._heartbeat.is_stuck(state.taken if state.waiting else None)

    def ask_to_reconnect(self, after: float) -> None:
        """Ask the client to go elsewhere in so many seconds. That is about this connection, not its session."""
        self._traffic.sent[Reconnect] += 1
        _send(self, self._endpoint.dialect, Reconnect(payload=ReconnectPayload(int(after * 1000))))

    def say(self, message: ServerMessage, session: Session | None = None) -> None:
        """Send a message of the server, as part of the given session or that of this connection, if there is one."""
        session = session or self.session
        if session is None:
            self._traffic.count_sent(message)
            _send(self, self._endpoint.dialect, message)
        else:
            session.send(Outgoing(message))

    def pause_until(self, done: Future[Any]) -> None:
        """Read nothing from the client until a future is done."""
        self._reading.pause_until(done)

    def run(self, work: Awaitable[None], request: Request, *, pause: bool = False) -> None:
        """Do what a request asks in the background; its errors are answered. `pause`: read nothing until it is done."""
        task = self._loop.create_task(self._supervise(work, request, self.session))
        running = self._environment.running
        running.add(task)
        task.add_done_callback(running.discard)
        self._running += 1
        if pause or self._running > MAX_RUNNING_REQUESTS:
            self._reading.pause_until(task)
        else:
            self._reading.pause_for(0.0)  # read on in the client's next turn, so that a flood of joins holds up nobody

    def answer(self, error: Exception, request: Request | None, session: Session | None = None) -> None:
        """Tell the client about an error, and close the connection if it cannot go on.

        The reply is part of the session in which the request was made, which may have another connection by now.
        """
        told = describe(error)
        if told is not error:
            log.error("request failed", connection=self.id, exc_info=error, address=self.address)
        if request is not None:
            told.about(getattr(request, "room", None), request.id)
        log.debug("error", connection=self.id, code=told.code, room=told.room, address=self.address)
        self.say(error_message(told), session)
        close_code = told.close_code
        if isinstance(told, BadMessage | MessageTooBig | Unauthorized):
            bucket, now = self._environment.bounds.bad_messages, self._loop.time()
            self._bad_due = bucket.spend(self._bad_due, now, 1)
            if bucket.wait(self._bad_due, now) > -bucket.interval / 2:
                close_code = CloseCode.BAD_MESSAGE
        if close_code is not None:
            self.close(close_code)

    def _handle(self, frame: bytes, *, refused: bool = False) -> None:
        request: Request | None = None
        try:
            request = self._endpoint.decode(frame)
            if refused:
                raise self.limits.refusal(self._loop.time())  # noqa: TRY301 - the answer names the request
            kind, traffic = type(request), self._traffic
            received = traffic.received
            try:
                count = received[kind] = received[kind] + 1
            except KeyError:
                count = received[kind] = 1
            if not count & NOT_SAMPLED:
                traffic.latency.begin(request)
            self._endpoint.handlers[kind](self, request, frame)
            self._bad_due = 0.0
        except Exception as error:
            if request is None:
                self._traffic.invalid += 1
            self.answer(error, request)

    def _charge(self, frame: bytes | None) -> None:
        """Handle a message, or count another frame, when the allowance is used up: slow the client, or refuse it."""
        if self.closed:
            return
        refused = self.limits.charge(self._loop.time())
        if frame is not None:
            self._handle(frame, refused=refused)
        elif refused:
            self.answer(self.limits.refusal(self._loop.time()), None)
        if self.limits.delay:
            self._reading.pause_for(self.limits.delay)

    async def _supervise(self, work: Awaitable[None], request: Request, session: Session | None) -> None:
        try:
            await work
        except Exception as error:
            self.answer(error, request, session)
        finally:
            self._running -= 1

    def _end(self, reason: LeaveReason, *, final: bool, deaf: bool = False) -> None:
        """Send nothing more. The session ends, too, if that is `final`; else it waits for another connection."""
        self.closed = True
        self._outbox.close()
        self._reading.end(deaf=deaf)
        session, self.session = self.session, None
        self._record.identify(self.identity, session)
        if session is not None:
            session.connection_lost(self, reason, final=final)

    def _congestion(self, congested: bool) -> None:
        if self.session is not None:
            self.session.congested = congested

    def _overflow(self) -> None:
        log.info("slow client closed", connection=self.id, address=self.address)
        self.close(CloseCode.SLOW_PEER)


def _send(connection: Connection, dialect: Dialect, message: ServerMessage) -> None:
    """Send a message that is part of no session."""
    head, body = dialect.encode(message, b"")
    if body:
        connection.send(dialect.prefix(head, None), body)


def _last_sent(session: Session | None, outbox: Outbox) -> int:
    """Return the number of the last message of a session that was handed to the transport."""
    return 0 if session is None else max(session.replay.last - len(outbox), 0)
