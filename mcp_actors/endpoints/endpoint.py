"""The base of both endpoints: authentication, sessions, updates, moderation, and room requests in the background."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from msgspec import UNSET, structs

from mcp_actors.auth.authorization import JoinRequest
from mcp_actors.auth.expiry import Expiry
from mcp_actors.auth.ice_servers import IceServerList, IceServerSource
from mcp_actors.connection.ip_limits import group_of
from mcp_actors.protocol.codec import JSON, encode, error_message
from mcp_actors.protocol.errors import (
    BadMessage,
    Forbidden,
    Kicked,
    NotInRoom,
    RateLimited,
    RoomClosed,
    SignalingError,
    Unavailable,
)
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import shown
from mcp_actors.protocol.messages import (
    Authenticate,
    Authenticated,
    AuthenticatedPayload,
    CloseRoom,
    Join,
    JoinPayload,
    JoinRoom,
    Kick,
    ListBans,
    Lock,
    Moderation,
    Ping,
    Pong,
    Request,
    ResumePayload,
    Unban,
    Unlock,
    Update,
    UpdatePayload,
)
from mcp_actors.sessions import Greeting, Resumption, forbidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcp_actors.auth.authentication import Authentication
    from mcp_actors.auth.authorization import Admission, Authorizer
    from mcp_actors.auth.grants import Grant, Permission
    from mcp_actors.connection.connection import Connection, Handler
    from mcp_actors.connection.connections import Connections
    from mcp_actors.node import Node
    from mcp_actors.protocol.identifiers import RequestId, RoomId
    from mcp_actors.protocol.outgoing import Dialect
    from mcp_actors.sessions import Session, Sessions

log = structlog.get_logger("mcp_actors.connection")

PONG = encode(Pong())

NO_ICE_SERVERS = IceServerList()

TURNS = 3
"""Turns of the loop until the end of a connection is read that came right after a request."""

FREE_COMEBACKS = 3
"""Times that a session may be resumed before that counts as joins: a class that reloads at once is let in at once."""


def _always(_session: Session) -> bool:
    return True


class Endpoint(ABC):
    """One path of the server; a subclass adds the requests of its clients to `handlers`."""

    name: str
    permission: Permission
    kind: ClassVar[Kind]
    dialect: Dialect = JSON
    keeps_first_token: ClassVar[bool] = False
    """Whether the clients are told one resume token only, and use it at several nodes in turn."""
    gateway: ClassVar[str] = ""
    """The name of the gateway, if it is one."""

    def __init__(
        self,
        node: Node,
        sessions: Sessions,
        connections: Connections,
        authentication: Authentication | None,
        decode: Callable[[bytes], Any],
        *,
        ice_servers: IceServerSource | None = None,
        version: str = "",
        terms: Mapping[str, Any] = MappingProxyType({}),
        ban_addresses: bool = False,
        authorizer: Authorizer | None = None,
        expiry: Expiry | None = None,
    ) -> None:
        self.decode = decode
        self.handlers: Mapping[type[Request], Handler] = {
            **self._handlers(),
            Authenticate: self._authenticate,
            Ping: self._pong,
            Update: self._update,
            **dict.fromkeys((Kick, Lock, Unlock, CloseRoom, ListBans, Unban), self._moderate),
        }
        self._node = node
        self._sessions = sessions
        self._connections = connections
        self._authentication = authentication
        self._ice_servers = IceServerSource() if ice_servers is None else ice_servers
        self._version = version
        self._terms = terms
        self._ban_addresses = ban_addresses
        self._authorizer = authorizer
        self._expiry = Expiry() if expiry is None else expiry

    @abstractmethod
    def _handlers(self) -> dict[type[Request], Handler]:
        """Return the handlers of the endpoint's own requests."""

    def opened(self, connection: Connection, token: str | None, admission: Admission | None = None) -> None:
        """Take what the application granted; else check the token of the handshake, or start the time to bring one."""
        if admission is not None:
            connection.identity.admit(admission)
            if admission.grant is not None:
                self._expiry.watch(connection, admission.grant)
                return
        if self._authentication is None:
            return
        if token is None:
            if self._authentication.required:
                self._authentication.watch(connection, None)
            return
        try:
            self._grant(connection, connection.identity.authenticate(token), None)
        except Exception as error:
            connection.answer(error, None)

    def _authenticate(self, connection: Connection, request: Authenticate, _frame: bytes) -> None:
        identity = connection.identity
        if self._authentication is not None and identity.grant is None and connection.session is not None:
            raise BadMessage("Send `authenticate` before anything else.", field="type")  # a session has one identity
        grant = identity.authenticate(request.payload.token)
        self._connections.spoke(connection)
        self._grant(connection, grant, request.id)

    def _grant(self, connection: Connection, grant: Grant, request_id: RequestId | None) -> None:
        self._expiry.watch(connection, grant)
        log.debug("authenticated", connection=connection.id, sub=grant.sub, address=connection.address)
        rooms = UNSET if grant.rooms is None else list(grant.rooms)
        payload = AuthenticatedPayload(grant.sub, sorted(grant.can), self._expiry.seconds_left(grant), rooms)
        connection.say(Authenticated(id=UNSET if request_id is None else request_id, payload=payload))
        if connection.session is not None:
            self._tell_forbidden(connection, _confine(connection, connection.session, connection.session.replay.last))

    def _tell_forbidden(self, connection: Connection, rooms: Iterable[RoomId]) -> None:
        for room in rooms:
            connection.say(error_message(forbidden(room, None)))

    def _pong(self, connection: Connection, request: Ping, _frame: bytes) -> None:
        self._node.traffic.sent[Pong] += 1
        connection.send(PONG if request.id is None else encode(Pong(id=request.id)), b"")

    def _update(self, connection: Connection, request: Update, frame: bytes) -> None:
        session = self._session(connection, request.room)
        membership = session.rooms.membership(request.room)
        grant = connection.identity.grant_in(request.room)
        if grant is not None and grant.metadata is not None:
            request = _with_shown_metadata(request, grant)
        connection.limits.update(connection.now())
        connection.costs.charge_delivery(self._node.audience_size(request.room, self.kind), len(frame))
        connection.run(membership.moderate(request), request)

    def _moderate(self, connection: Connection, request: Moderation, _frame: bytes) -> None:
        connection.identity.expect_moderator(request.room)
        connection.identity.expect_room(request.room)
        session = self._session(connection, request.room)
        connection.run(session.rooms.membership(request.room).moderate(request), request)

    def _address(self, connection: Connection) -> str:
        """Return the address for bans; empty if the operator does not allow them."""
        return group_of(connection.address) if self._ban_addresses else ""

    def _session(self, connection: Connection, room: RoomId) -> Session:
        """Return the session of a client that is to be in a room. Raises `NotInRoom` if it has none."""
        if connection.session is None:
            raise NotInRoom(f"You are not in room {shown(room)}; join it first.")
        return connection.session

    def _open_session(self, connection: Connection, owner: str) -> Session:
        """Return the session of a connection, a new one if it has none."""
        self._connections.spoke(connection)
        if connection.session is None:
            connection.session = self._sessions.open(self.kind, owner, connection)
        return connection.session

    def _expect_may_join(self, connection: Connection, session: Session, room: RoomId) -> None:
        """Raise an error if a room cannot be joined.

        That is `Forbidden`, `RateLimited`, `AlreadyInRoom`, `TooManyRooms` or `Unavailable`.
        """
        if (gateway := self._node.gateway(room)) != self.gateway:
            raise Forbidden(f"Room {shown(room)} is for clients of {gateway} only.")
        connection.limits.join(connection.now())
        self._connections.joins(connection)
        session.rooms.check_join(room)
        if self._connections.stopping:
            raise Unavailable("This server process is stopping; reconnect, which leads to another, and join there.")

    async def _resume_session(
        self, connection: Connection, given: ResumePayload, owner: str, fits: Callable[[Session], bool] = _always
    ) -> None:
        """Attach the session of a resume token to a connection, if there is one that fits; see `_find_session`."""
        began, counters, outcome = connection.now(), self._sessions.counters, Resumption.UNAVAILABLE
        try:
            session, moved = await self._find_session(connection, given, owner)
            if session is not None and not fits(session):
                session = None
            await self._ask_again(connection, session)
            outcome = Resumption.UNKNOWN if session is None else Resumption.ABANDONED
            if session is not None and self._resume(connection, session, given.received or 0, began):
                outcome = Resumption.MOVED if moved else Resumption.HERE
                counters.incomplete += not connection.complete
        except (Kicked, RateLimited, RoomClosed):
            outcome = Resumption.REFUSED
            raise
        finally:
            counters.count_resumed(outcome, connection.now() - began)

    async def _find_session(
        self, connection: Connection, given: ResumePayload, owner: str
    ) -> tuple[Session | None, bool]:
        """Return the session of a resume token, and whether it has moved here from another node.

        Raises `RateLimited` if earlier joins and comebacks are not made up for, or the session comes back too often,
        and `Kicked` or `RoomClosed` if moderators removed the session from all its rooms.
        """
        connection.limits.expect_joins(0, connection.now())
        token, sessions = given.resume or "", self._sessions
        session = sessions.find(token, self.kind, owner)
        if session is not None:
            await sessions.take_turn(session)
            session = sessions.find(token, self.kind, owner)
        if session is not None:
            self._count_comeback(connection, session, session.generations.latest - 1)
            return session, False
        if await _has_hung_up(connection):
            raise Unavailable("You have closed this connection.")
        received, offsets = given.received or 0, given.offsets
        keeps, address = self.keeps_first_token, connection.charged_to
        session = await sessions.resume(token, self.kind, owner, received, offsets, address, keeps_first_token=keeps)
        if session is not None:  # it has moved here, which began its next generation
            self._count_comeback(connection, session, session.generations.latest - 2)
        return session, session is not None

    def _count_comeback(self, connection: Connection, session: Session, earlier: int) -> None:
        """Count a join for each room of a session that was resumed several times before."""
        if earlier >= FREE_COMEBACKS:
            connection.limits.joined(len(session.rooms), connection.now())

    def _resume(self, connection: Connection, session: Session, received: int, asked_at: float) -> bool:
        """Attach a session to a connection, if that is open and has none, and the session has not ended meanwhile."""
        if session.ended or connection.session is not None or connection.closed:
            return False
        left = _confine(connection, session, received)
        connection.session = session
        session.asked_at = asked_at
        connection.complete = session.attach(connection, received, self._address(connection))
        connection.resumed = True
        connection.returns = set(session.rooms)
        if self.kind is Kind.PEER:  # others were told that it was away, and are told that it is back
            connection.costs.charge_reply(0, 2 * sum(map(self._node.watchers, session.rooms)))
        self._tell_forbidden(connection, left)
        return True

    def _run_join(self, connection: Connection, request: Join | JoinRoom, join: Callable[[], None]) -> None:
        """Join at once, or after the application was asked about it. Nothing is read from the client meanwhile."""
        if connection.identity.handshake is None:
            join()
        else:
            connection.run(self._ask_and_join(connection, request, join), request, pause=True)

    async def _ask_and_join(self, connection: Connection, request: Join | JoinRoom, join: Callable[[], None]) -> None:
        given = request.given if isinstance(request, Join) else JoinPayload()
        connection.limits.expect_joins(1, connection.now())
        try:
            await self._ask(connection, request.room, given.peer_id, given.metadata or {})
        except SignalingError:
            connection.limits.joined(1, connection.now())  # else questions would cost nothing
            raise
        if not connection.closed:
            join()

    async def _ask(self, connection: Connection, room: RoomId, claimed: str | None, own: dict[str, Any]) -> None:
        """Ask the application about a room. Raises `Forbidden` and `Unavailable`."""
        identity, authorizer = connection.identity, self._authorizer
        assert identity.handshake is not None  # noqa: S101 - it has admitted the client
        assert authorizer is not None  # noqa: S101
        grant = await authorizer.join(JoinRequest(room, claimed, own, identity.grant, identity.handshake))
        identity.admit_to(room, grant, () if connection.session is None else connection.session.rooms)
        if grant.expires < (identity.grant or grant).expires or identity.grant is grant:
            self._expiry.watch(connection, grant)

    async def _ask_again(self, connection: Connection, session: Session | None) -> None:
        """Ask the application about all rooms of a session that is resumed. Raises `Unavailable`."""
        if connection.identity.handshake is None or session is None:
            return
        for room, membership in list(session.rooms.items()):
            with suppress(Forbidden):
                if room not in connection.identity.in_rooms:
                    await self._ask(connection, room, membership.member_id, {})

    def _greeting(
        self,
        connection: Connection,
        session: Session,
        request_id: RequestId | None,
        ice: IceServerList = NO_ICE_SERVERS,
    ) -> Greeting:
        token = self._sessions.token(session)
        resumed, complete = connection.resumed, connection.complete
        return Greeting(request_id, ice.servers, token, resumed, complete, self._terms, ice.expire_in)

    def _greeted(self, connection: Connection, session: Session) -> None:
        """Note that the client was sent its next resume token: the pong will say that it has it."""
        session.token_sent()
        if connection.session is session:
            connection.ping()


def _confine(connection: Connection, session: Session, received: int) -> list[RoomId]:
    """Confine a session to the rooms that the client's token allows; return those that it does not."""
    identity = connection.identity
    if identity.handshake is not None:
        return session.confine(identity.in_rooms.__contains__, received)
    grant = identity.grant
    return [] if grant is None or grant.rooms is None else session.confine(grant.lets_into, received)


def _with_shown_metadata(request: Update, grant: Grant) -> Update:
    """Return an update as others see it. Raises `Forbidden` if the client has no metadata of its own."""
    if not grant.own_metadata:
        raise Forbidden("Your metadata is set by the application.")
    metadata = grant.shown_metadata(request.payload.metadata)
    return structs.replace(request, payload=UpdatePayload(metadata))


async def _has_hung_up(connection: Connection) -> bool:
    """Whether a client has closed its connection right after a request: a node that stood still reads both late."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return connection.closed
