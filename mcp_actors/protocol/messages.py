"""The messages between clients and the server, one class each; PROTOCOL.md shows every one of them as JSON.

Client messages refuse unknown top-level fields, which is what makes stamping the sender onto a client's own text safe;
their payloads stay open. What only passes through (SDP, candidates, data, content) is kept as `Raw`: checked to be
JSON, never decoded.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import MAX_REQUEST_ID_LENGTH, PeerId, RequestId, RoomId, UserId

ClientRequestId = (
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, Meta(max_length=MAX_REQUEST_ID_LENGTH)]
)


NegotiationNumber = Annotated[int, Meta(ge=1, le=2**63 - 1)]

MAX_PLACES, MAX_PLACE_LENGTH = 256, 64

Places = Annotated[dict[RoomId, Annotated[str, Meta(max_length=MAX_PLACE_LENGTH)]], Meta(max_length=MAX_PLACES)]
"""By room, the last `at` that came in a message of it."""

Delivery = Annotated[int, Meta(ge=0, le=2**53)]
"""A delivery number: of a session's frames, from 1; 0 before the first."""


class Request(Struct, frozen=True, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    """What a client sends; `id` asks for an answer that echoes it."""

    id: ClientRequestId | None = None


class RoomRequest(Request, frozen=True, kw_only=True):
    """A request about one room."""

    room: RoomId


class RepeatableRequest(RoomRequest, frozen=True, kw_only=True):
    """A request that may be sent `again`: it was before, on a connection that broke."""

    again: bool = False


class RelayedRequest(RepeatableRequest, frozen=True, kw_only=True):
    """A request whose own text is passed on."""


class Empty(Struct, frozen=True):
    """A payload that says nothing."""


class AuthenticatePayload(Struct, frozen=True):
    """An access token, whose text nothing shows or logs."""

    token: str

    def __repr__(self) -> str:
        return "AuthenticatePayload(***)"


class Authenticate(Request, frozen=True, tag="authenticate"):
    """Say who this connection is, or go on with a new token."""

    payload: AuthenticatePayload


class KickPayload(Struct, frozen=True):
    """Whom: a peer, or a user with all its connections; exactly one of the two."""

    peer_id: PeerId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET


class Kick(RepeatableRequest, frozen=True, tag="kick"):
    """Put a member out of a room, for good."""

    payload: KickPayload


class Lock(RepeatableRequest, frozen=True, tag="lock"):
    """Let nobody into a room any more but those who may moderate it."""

    payload: Empty = Empty()


class Unlock(RepeatableRequest, frozen=True, tag="unlock"):
    """Let everybody into a room again."""

    payload: Empty = Empty()


class CloseRoom(RepeatableRequest, frozen=True, tag="close-room"):
    """Put everybody out of a room."""

    payload: Empty = Empty()


Moderation = Kick | Lock | Unlock | CloseRoom


# ----------------------------------------------------------------------------------------- /ws/signaling/, from clients


class JoinPayload(Struct, frozen=True):
    """Who joins. `resume`: the token of a session to go on with, `received` the last delivery number seen in it.

    `at`: the last place in each room, which is known where rooms span processes. `peer_id` may be left out with an
    access token. `presence`: whether to be told of peers who are away.
    """

    peer_id: PeerId | UnsetType = UNSET
    metadata: dict[str, Any] = field(default_factory=dict)
    resume: str | None = None
    received: Delivery = 0
    at: Places = {}
    presence: bool = False


class Join(RoomRequest, frozen=True, tag="join"):
    """Enter a room as a peer."""

    payload: JoinPayload


class Leave(RoomRequest, frozen=True, tag="leave"):
    """Leave a room."""

    payload: Empty = Empty()


class TargetedPayload(Struct, frozen=True, kw_only=True):
    """A payload for one peer of the room."""

    target_peer_id: PeerId


class OfferDescription(Struct, frozen=True):
    """A session description; `sdp` is a JSON string, passed on undecoded."""

    sdp: Raw
    type: Literal["offer"] | UnsetType = UNSET


class AnswerDescription(Struct, frozen=True):
    """A session description that answers one."""

    sdp: Raw
    type: Literal["answer", "pranswer"] | UnsetType = UNSET


class CandidateInit(Struct, frozen=True):
    """An RTCIceCandidateInit, whatever its fields."""


class OfferPayload(TargetedPayload, frozen=True):
    """An SDP offer for one peer."""

    offer: OfferDescription


class AnswerPayload(TargetedPayload, frozen=True):
    """An SDP answer for one peer."""

    answer: AnswerDescription


class IceCandidatePayload(TargetedPayload, frozen=True):
    """A trickled ICE candidate for one peer; null or "" ends the candidates."""

    candidate: CandidateInit | Literal[""] | None


class SignalPayload(TargetedPayload, frozen=True):
    """Any JSON for one peer."""

    data: Raw


class Offer(RelayedRequest, frozen=True, tag="offer"):
    """Relay an offer; the server gives it its number, 0 until then."""

    negotiation: ClassVar[int] = 0
    payload: OfferPayload


class Answer(RelayedRequest, frozen=True, tag="answer"):
    """Relay an answer; `negotiation` is the number of the offer it answers."""

    payload: AnswerPayload
    negotiation: NegotiationNumber | None = None


class IceCandidate(RelayedRequest, frozen=True, tag="ice-candidate"):
    """Relay an ICE candidate; `negotiation` is the number of the offer it belongs to."""

    payload: IceCandidatePayload
    negotiation: NegotiationNumber | None = None


class Signal(RelayedRequest, frozen=True, tag="signal"):
    """Relay what WebRTC has no message for: renegotiation requests, application signals."""

    negotiation: ClassVar[None] = None
    payload: SignalPayload


Targeted = Offer | Answer | IceCandidate | Signal
PeerRequest = Authenticate | Join | Leave | Offer | Answer | IceCandidate | Signal | Kick | Lock | Unlock | CloseRoom


# ----------------------------------------------------------------------------------------------- /ws/mcp/, from clients


class ConnectPayload(Struct, frozen=True):
    """Who connects; `user_id`, `resume`, `received` and `at` as `peer_id` and the others in `join`."""

    user_id: UserId | UnsetType = UNSET
    resume: str | None = None
    received: Delivery = 0
    at: Places = {}


class Connect(Request, frozen=True, tag="connect"):
    """Say who this connection is; comes first."""

    payload: ConnectPayload


class JoinRoom(RoomRequest, frozen=True, tag="join-room"):
    """Enter a room as a user."""

    payload: Empty = Empty()


class LeaveRoom(RoomRequest, frozen=True, tag="leave-room"):
    """Leave a room."""

    payload: Empty = Empty()


class MessagePayload(Struct, frozen=True):
    """What is said: any JSON but null."""

    content: Raw


class Message(RelayedRequest, frozen=True, tag="message"):
    """Broadcast to the users of a room."""

    payload: MessagePayload


UserRequest = Authenticate | Connect | JoinRoom | LeaveRoom | Message | Kick | Lock | Unlock | CloseRoom


# ------------------------------------------------------------------------------------------------------ from the server


class Reply(Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True):
    """What the server says; `id` is set in an answer to a request that had one."""

    id: RequestId | UnsetType = UNSET


class RoomReply(Reply, frozen=True, kw_only=True):
    """Something the server says of one room."""

    room: RoomId


class AuthenticatedPayload(Struct, frozen=True, omit_defaults=True):
    """Who you are, and what your token lets you do for so many seconds; without `rooms` any may be entered."""

    sub: str
    can: list[str]
    expires_in: int
    rooms: list[str] | UnsetType = UNSET


class Authenticated(Reply, frozen=True, tag="authenticated"):
    """Answers `authenticate`, and a token of the handshake."""

    payload: AuthenticatedPayload


class TokenExpiringPayload(Struct, frozen=True):
    """Seconds that are left."""

    expires_in: int


class TokenExpiring(Reply, frozen=True, tag="token-expiring"):
    """The token of this connection ends soon, and the connection with it."""

    payload: TokenExpiringPayload


class PeerEntry(Struct, frozen=True):
    """A peer of the roster; `away` if it has no connection now and may come back."""

    peer_id: PeerId
    metadata: dict[str, Any]
    order: int
    away: bool | UnsetType = UNSET


class UserEntry(Struct, frozen=True):
    """A user of the roster."""

    user_id: UserId


class JoinedPayload(Struct, frozen=True):
    """The room as it is at this moment, oneself included; `ice_servers` are RTCIceServer objects.

    `resume` is the token for coming back. In a session that was `resumed`, `complete` says that no frame is missing.
    `locked` if the room is.
    """

    peer_id: PeerId
    order: int
    peers: list[PeerEntry]
    ice_servers: list[dict[str, Any]]
    resume: str | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    complete: bool | UnsetType = UNSET
    locked: bool | UnsetType = UNSET


class Joined(RoomReply, frozen=True, tag="joined"):
    """Answers `join`."""

    payload: JoinedPayload


class LeftPayload(Struct, frozen=True):
    """Who left."""

    peer_id: PeerId


class Left(RoomReply, frozen=True, tag="left"):
    """Answers `leave`."""

    payload: LeftPayload


class PeerJoined(RoomReply, frozen=True, tag="peer-joined"):
    """A peer is in the room from now on."""

    payload: PeerEntry


class PeerAway(RoomReply, frozen=True, tag="peer-away"):
    """A peer has lost its connection, and may come back."""

    payload: LeftPayload


class PeerBack(RoomReply, frozen=True, tag="peer-back"):
    """A peer that was away has a connection again."""

    payload: LeftPayload


class PeerLeftPayload(Struct, frozen=True):
    """Who left, and how."""

    peer_id: PeerId
    reason: LeaveReason


class PeerLeft(RoomReply, frozen=True, tag="peer-left"):
    """A peer is out of the room from now on."""

    payload: PeerLeftPayload


class ServerInfo(Struct, frozen=True):
    """What is running."""

    name: str
    version: str


class ConnectedPayload(Struct, frozen=True):
    """Who you are, and to what you talk; the session as in `joined`."""

    user_id: UserId
    server: ServerInfo
    resume: str | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    complete: bool | UnsetType = UNSET


class Connected(Reply, frozen=True, tag="connected"):
    """Answers `connect`."""

    payload: ConnectedPayload


class RoomJoinedPayload(Struct, frozen=True):
    """The room as it is at this moment, oneself included; `locked` if it is."""

    users: list[UserEntry]
    peers: list[PeerEntry]
    locked: bool | UnsetType = UNSET


class RoomJoined(RoomReply, frozen=True, tag="room-joined"):
    """Answers `join-room`."""

    payload: RoomJoinedPayload


class RoomLeft(RoomReply, frozen=True, tag="room-left"):
    """Answers `leave-room`."""

    payload: UserEntry


class UserJoined(RoomReply, frozen=True, tag="user-joined"):
    """A user is in the room from now on."""

    payload: UserEntry


class UserLeftPayload(Struct, frozen=True):
    """Who left, and how the last of its connections went."""

    user_id: UserId
    reason: LeaveReason


class UserLeft(RoomReply, frozen=True, tag="user-left"):
    """A user is out of the room from now on."""

    payload: UserLeftPayload


class KickedPayload(Struct, frozen=True):
    """Who was kicked, under which of its ids."""

    peer_id: PeerId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET


class Kicked(RoomReply, frozen=True, tag="kicked"):
    """You are out of the room; or, in answer to `kick`, the other one is."""

    payload: KickedPayload


class RoomLocked(RoomReply, frozen=True, tag="room-locked"):
    """The room lets in nobody any more but those who may moderate it."""


class RoomUnlocked(RoomReply, frozen=True, tag="room-unlocked"):
    """The room lets in everybody again."""


class RoomClosed(RoomReply, frozen=True, tag="room-closed"):
    """Everybody is out of the room, you too."""


class AckPayload(Struct, frozen=True, omit_defaults=True):
    """`delivered`: written to the connection of the target, or of everybody a broadcast is for.

    `queued`: the target is away, and gets it when it comes back. `negotiation`: the number of an offer.
    """

    status: Literal["delivered", "queued"]
    negotiation: int | UnsetType = UNSET


class Ack(RoomReply, frozen=True, tag="ack"):
    """Answers a relayed message that had an `id`."""

    payload: AckPayload


class ReconnectPayload(Struct, frozen=True):
    """When to make the new connection: so many milliseconds from now."""

    after_ms: int


class Reconnect(Reply, frozen=True, tag="reconnect"):
    """This process is about to stop: go on with a new connection, to another one."""

    payload: ReconnectPayload


class ErrorPayload(Struct, frozen=True, omit_defaults=True):
    """What went wrong: `code` for programs, `message` for people, `retryable` if the same may succeed later."""

    code: ErrorCode
    message: str
    retryable: bool
    details: dict[str, Any] | UnsetType = UNSET


class Error(Reply, frozen=True, tag="error"):
    """Answers what could not be done; `room` is that of the request."""

    payload: ErrorPayload
    room: RoomId | UnsetType = UNSET


ServerMessage = (
    Authenticated
    | TokenExpiring
    | Joined
    | Left
    | PeerJoined
    | PeerLeft
    | PeerAway
    | PeerBack
    | Connected
    | RoomJoined
    | RoomLeft
    | UserJoined
    | UserLeft
    | Kicked
    | RoomLocked
    | RoomUnlocked
    | RoomClosed
    | Ack
    | Reconnect
    | Error
)
