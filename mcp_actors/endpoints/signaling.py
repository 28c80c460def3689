"""/ws/signaling/: peers, and the signals that they relay to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from mcp_actors.auth.grants import Permission
from mcp_actors.auth.turn import turn_user
from mcp_actors.endpoints.endpoint import Endpoint
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import PeerId, shown
from mcp_actors.protocol.messages import (
    Ack,
    AckPayload,
    Answer,
    IceCandidate,
    IceServers,
    IceServersPayload,
    Join,
    Leave,
    Offer,
    RenewIceServers,
    Report,
    Signal,
    Targeted,
)

if TYPE_CHECKING:
    from mcp_actors.auth.grants import Grant
    from mcp_actors.auth.ice_servers import IceServerList
    from mcp_actors.connection.connection import Connection, Handler
    from mcp_actors.node import Membership
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.protocol.messages import Request
    from mcp_actors.sessions import Greeting, Session


class SignalingEndpoint(Endpoint):
    """Requests of peers. A peer has an id of its own in each of its rooms."""

    name = "signaling"
    permission = Permission.SIGNAL
    kind = Kind.PEER

    def _handlers(self) -> dict[type[Request], Handler]:
        return {
            IceCandidate: self._relay,
            Offer: self._relay,
            Answer: self._relay,
            Signal: self._relay,
            Join: self._join,
            Leave: self._leave,
            RenewIceServers: self._renew_ice_servers,
            Report: self._count_report,
        }

    def _relay(self, connection: Connection, request: Targeted, frame: bytes) -> None:
        identity = connection.identity
        if not identity.may_send or (identity.in_rooms and not identity.may_send_in(request.room)):
            raise identity.refusal()
        session = self._session(connection, request.room)
        backlog = session.rooms.membership(request.room).relay(request, frame)
        if session.rooms.joining:
            session.kept.wait(len(frame))
        if backlog is not None:
            connection.pause_until(backlog)

    def _leave(self, connection: Connection, request: Leave, _frame: bytes) -> None:
        session = self._session(connection, request.room)
        connection.run(session.leave(request.room, request.id), request)

    def _renew_ice_servers(self, connection: Connection, request: RenewIceServers, _frame: bytes) -> None:
        room = request.room
        ice = self._ice_servers_of(connection, room, self._joined(connection, room).member_id)
        payload = IceServersPayload(list(ice.servers), ice.expire_in)
        connection.say(IceServers(room=room, id=UNSET if request.id is None else request.id, payload=payload))

    def _count_report(self, connection: Connection, request: Report, _frame: bytes) -> None:
        room, report = request.room, request.payload
        self._joined(connection, room)
        self._node.pairs.count(report.pair, report.reason, report.milliseconds / 1000)
        if request.id is not None:
            connection.say(Ack(room=room, id=request.id, payload=AckPayload("counted")))

    def _joined(self, connection: Connection, room: RoomId) -> Membership:
        """Return the membership in a room whose join is done. Raises `NotInRoom` and `Unavailable`."""
        session = self._session(connection, room)
        membership = session.rooms.membership(room)
        if room in session.rooms.joining:  # which may be refused
            raise Unavailable(f"You are still joining room {shown(room)}; wait for `joined`.")
        return membership

    def _ice_servers_of(self, connection: Connection, room: RoomId, peer: str) -> IceServerList:
        """Return the ICE servers for a peer. One that may not signal has no use for credentials."""
        identity = connection.identity
        may_signal = identity.may_send and identity.may_send_in(room)
        user = turn_user(peer, room, verified=identity.verified) if may_signal else None
        return self._ice_servers.servers_for(identity.grant_in(room), user)

    def _join(self, connection: Connection, request: Join, _frame: bytes) -> None:
        self._run_join(connection, request, lambda: self._join_now(connection, request))

    def _join_now(self, connection: Connection, request: Join) -> None:
        peer = PeerId(connection.identity.resolve(request.given.peer_id, "payload.peer_id"))
        connection.identity.expect_room(request.room)
        if request.given.resume and connection.session is None:
            connection.run(self._come_back(connection, request, peer), request, pause=True)
        else:
            self._enter(connection, request, peer)

    async def _come_back(self, connection: Connection, request: Join, peer: PeerId) -> None:
        """Resume the session of the client, if it has one, then join or return to the room."""
        owner = connection.identity.session_owner("")
        await self._resume_session(
            connection, request.given, owner, lambda session: session.rooms.may_be(request.room, peer)
        )
        if not connection.closed:  # for lack of room for what waited in the session
            self._enter(connection, request, peer)

    def _enter(self, connection: Connection, request: Join, peer: PeerId) -> None:
        room, payload, identity = request.room, request.given, connection.identity
        session = self._open_session(connection, identity.session_owner(""))
        if payload.resume:
            session.rooms.check_return(room)
        ice = self._ice_servers_of(connection, room, peer)
        greeting = self._greeting(connection, session, request.id, ice)
        if payload.resume and self._may_return(connection, session, room, peer, payload.resume):
            self._count_return(connection, room)
            connection.run(self._return(connection, session, room, greeting), request)
            return
        self._expect_may_join(connection, session, room)
        membership = self._node.membership(
            room,
            Kind.PEER,
            peer,
            _metadata(identity.grant_in(room), payload.metadata or {}),
            session=session.id,
            verified=identity.verified,
            address=self._address(connection),
        )
        greeting = greeting._replace(resumed=False, complete=False)
        entered = membership.enter(session, presence=bool(payload.presence), moderator=identity.may_moderate(room))
        connection.run(session.join(room, membership, entered, greeting), request)

    def _may_return(self, connection: Connection, session: Session, room: RoomId, peer: PeerId, token: str) -> bool:
        """Whether a client that has come back with its session asks for a room of that session."""
        is_back = connection.resumed and room in session.rooms and session.rooms.may_be(room, peer)
        return is_back and self._sessions.is_token_of(token, session)

    def _count_return(self, connection: Connection, room: RoomId) -> None:
        """Count a join for the roster of a room, but not the first time after a comeback. Raises `RateLimited`."""
        if connection.returns and room in connection.returns:
            connection.returns.discard(room)
        else:
            connection.limits.join(connection.now())

    async def _return(self, connection: Connection, session: Session, room: RoomId, greeting: Greeting) -> None:
        await session.rejoin(room, greeting)
        self._greeted(connection, session)


def _metadata(grant: Grant | None, own: dict[str, Any]) -> dict[str, Any]:
    """Return what others see of a client."""
    return own if grant is None else grant.shown_metadata(own)
