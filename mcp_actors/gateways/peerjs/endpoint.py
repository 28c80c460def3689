"""The WebSockets of PeerJS clients: connecting is joining, and every message is for one other client."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Raw

from mcp_actors.auth.grants import Permission
from mcp_actors.endpoints.endpoint import Endpoint
from mcp_actors.gateways.peerjs.dialect import PEERJS
from mcp_actors.gateways.peerjs.requests import Message, Rewritten
from mcp_actors.protocol.codec import error_message
from mcp_actors.protocol.errors import BadMessage, CloseCode, NotInRoom, PeerIdTaken, PeerNotFound, SignalingError
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import REPLACING, PeerId, RoomId, id_problem
from mcp_actors.protocol.messages import Join, Signal, SignalPayload
from mcp_actors.sessions import Greeting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.connection.connection import Connection, Handler
    from mcp_actors.sessions import Session

LEAVE, EXPIRE = "LEAVE", "EXPIRE"
RELAYED = frozenset({"OFFER", "ANSWER", "CANDIDATE", LEAVE, EXPIRE})
"""Others are HEARTBEAT, which needs no answer, and what later clients may send."""

MISSING = "No id, token, or key supplied to websocket server"
WRONG_KEY = "Invalid key provided"
MAX_TOKEN_LENGTH = 256
SESSION_ID_BYTES = 12

_NO_DATA = Raw(b"null")


def room_of(key: str) -> RoomId:
    """The room of all clients of a key."""
    return RoomId(f"peerjs:{key}")


class Realm(NamedTuple):
    """The clients of one key. `secret`: what the ids of their sessions are derived with, the same at all processes."""

    key: str
    secret: bytes
    max_id_length: int

    @property
    def room(self) -> RoomId:
        """The room of all clients."""
        return room_of(self.key)


class PeerJsEndpoint(Endpoint):
    """Requests of the PeerJS clients of one realm."""

    permission = Permission.SIGNAL
    kind = Kind.PEER
    dialect = PEERJS
    name = "peerjs"
    gateway = "PeerJS"

    def __init__(self, realm: Realm, *parts: Any, **options: Any) -> None:
        """Take the realm, and what every endpoint takes."""
        super().__init__(*parts, **options)
        self.realm = realm
        self.room = realm.room

    def _handlers(self) -> dict[type[Any], Handler]:
        return {Message: self._receive, Rewritten: self._receive_rewritten}

    def enter(self, connection: Connection, query: Mapping[str, str], *, has_token: bool) -> None:
        """Let a client in that has just connected, or tell it why not and close. `has_token`: an access token."""
        connection.run(self._enter(connection, query, has_token=has_token), Join(room=self.room), pause=True)

    async def _enter(self, connection: Connection, query: Mapping[str, str], *, has_token: bool) -> None:
        try:
            peer, token = self._claim(query)
            if has_token:
                connection.identity.expect_grant()
            if connection.identity.handshake is not None:
                connection.limits.expect_joins(1, connection.now())
                await self._ask(connection, self.room, peer, {})
            if not connection.closed:
                await self._join(connection, peer, token)
        except SignalingError as error:
            _refuse(connection, error)
        except Exception as error:
            connection.answer(error, None)
            connection.close(CloseCode.INTERNAL)

    def _claim(self, query: Mapping[str, str]) -> tuple[str, str]:
        """The id and the token that a client claims. Raises `BadMessage`."""
        peer, token, key = query.get("id"), query.get("token"), query.get("key")
        if not peer or not token or not key:
            raise BadMessage(MISSING)
        if key != self.realm.key:
            raise BadMessage(WRONG_KEY)
        problem = id_problem(peer, self.realm.max_id_length)
        if problem is not None:
            raise BadMessage(f"`id` {problem}.")
        if len(token) > MAX_TOKEN_LENGTH:
            raise BadMessage(f"`token` must have at most {MAX_TOKEN_LENGTH} characters.")
        return peer, token

    async def _join(self, connection: Connection, claimed: str, token: str) -> None:
        identity, room = connection.identity, self.room
        peer = PeerId(identity.resolve(claimed, "id"))
        identity.expect_room(room)
        owner = identity.session_owner("")
        self._connections.spoke(connection)
        session = self._sessions.open(self.kind, owner, connection, self._session_id(peer, token, owner))
        connection.session = session
        self._expect_may_join(connection, session, room)
        grant = identity.grant_in(room)
        membership = self._node.membership(
            room,
            Kind.PEER,
            peer,
            None if grant is None else grant.shown_metadata({}),
            session=session.id,
            verified=identity.verified,
            address=self._address(connection),
        )
        entered = membership.enter(session, moderator=identity.may_moderate(room))
        await session.join(room, membership, entered, Greeting())

    def _session_id(self, peer: PeerId, token: str, owner: str) -> str:
        claim = msgspec.json.encode([self.realm.key, peer, token, owner])
        digest = hmac.digest(self.realm.secret, claim, "sha256")[:SESSION_ID_BYTES]
        return REPLACING + base64.urlsafe_b64encode(digest).decode()

    def _receive_rewritten(self, connection: Connection, request: Rewritten, _frame: bytes) -> None:
        self._receive(connection, request.message, request.text)

    def _receive(self, connection: Connection, message: Message, frame: bytes) -> None:
        if message.type not in RELAYED:
            return
        session, target, room = connection.session, message.dst, self.room
        if session is None:
            raise NotInRoom("You are not connected any more.")
        if not target:
            self._receive_undirected(connection, message)
        elif message.type not in (LEAVE, EXPIRE) or self._node.peer(room, target) is not None:
            self._relay(connection, session, target, frame)

    def _receive_undirected(self, connection: Connection, message: Message) -> None:
        if message.type != LEAVE:
            raise BadMessage("`dst` is missing.", field="dst")
        connection.close(CloseCode.GOING_AWAY)

    def _relay(self, connection: Connection, session: Session, target: PeerId, frame: bytes) -> None:
        identity, room = connection.identity, self.room
        if not identity.may_send or (identity.in_rooms and not identity.may_send_in(room)):
            raise identity.refusal()
        membership = session.rooms.membership(room)
        if target == membership.member_id:
            error = PeerNotFound("That is your own id.", peer_id=target, target_peer_id=target)
            connection.say(error_message(error))
            return
        backlog = membership.relay(
            Signal(room=room, payload=SignalPayload(target_peer_id=target, data=_NO_DATA)), frame
        )
        if backlog is not None:
            connection.pause_until(backlog)


def _refuse(connection: Connection, error: SignalingError) -> None:
    """Tell a client why it may not enter, and close. ERROR would keep it from trying again, if that may help."""
    if error.retryable and not isinstance(error, PeerIdTaken):
        connection.close(CloseCode.TRY_AGAIN_LATER)
        return
    connection.answer(error, None)
    connection.close(CloseCode.FORBIDDEN)
