"""The messages between clients and the server, one class each; PROTOCOL.md describes and shows every one of them.

The module is longer than 400 lines, so that the whole wire format is in one place.

Client messages refuse unknown top-level fields, so that the server can safely add fields to a client's own text; their
payloads stay open. Content that is only relayed (SDP, candidates, data) is kept as `Raw`: it is checked to be JSON and
never decoded.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import MAX_REQUEST_ID_LENGTH, PeerId, RequestId, RoomId, UserId
from mcp_actors.protocol.pairs import PairFailure, PairOutcome

ClientRequestId = (
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, Meta(max_length=MAX_REQUEST_ID_LENGTH)]
)
NegotiationNumber = Annotated[int, Meta(ge=1, le=2**63 - 1)]

MAX_OFFSETS, MAX_OFFSET_LENGTH = 256, 64

Offset = Annotated[str, Meta(max_length=MAX_OFFSET_LENGTH)]
Offsets = Annotated[dict[RoomId, Offset | None], Meta(max_length=MAX_OFFSETS)]
"""The last stream offset (`at`) that a client received in each room."""

Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]

Delivery = Annotated[int, Meta(ge=0, le=2**53)]
"""The delivery number of a session's message, from 1; 0 before the first."""


class Request(Struct, frozen=True, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    """A client's message; with an `id` it is answered, and the answer has the same `id`.

    In every field that may be left out, null means the same as leaving it out.
    """

    id: ClientRequestId | None = None


class RoomRequest(Request, frozen=True, kw_only=True):
    room: RoomId


class RepeatableRequest(RoomRequest, frozen=True, kw_only=True):
    """A request that may be sent `again`, after the connection on which it was sent before has dropped."""

    again: bool | None = False


class RelayedRequest(RepeatableRequest, frozen=True, kw_only=True):
    """A request that is relayed in the client's own text."""


class Empty(Struct, frozen=True):
    pass


class AuthenticatePayload(Struct, frozen=True):
    token: str

    def __repr__(self) -> str:
        return "AuthenticatePayload(***)"  # a token is never shown or logged


class Authenticate(Request, frozen=True, tag="authenticate"):
    payload: AuthenticatePayload
    room: None = None


class Ping(Request, frozen=True, tag="ping"):
    """Asks for a `pong`, at any time: a heartbeat for clients that cannot see the frames of WebSockets."""

    payload: Empty = Empty()


class UpdatePayload(Struct, frozen=True):
    metadata: dict[str, Any]


class Update(RepeatableRequest, frozen=True, tag="update"):
    """Replaces the metadata of the client in a room."""

    payload: UpdatePayload


class UnbanPayload(Struct, frozen=True):
    """Exactly one of the two is set."""

    peer_id: PeerId | None = None
    user_id: UserId | None = None


class NoticePayload(Struct, frozen=True, kw_only=True):
    """The words for those who are removed: an identifier for programs, and a text for people."""

    reason: str | None = None
    message: str | None = None


class KickPayload(NoticePayload, frozen=True, kw_only=True):
    """Exactly one of the ids is set."""

    peer_id: PeerId | None = None
    user_id: UserId | None = None
    ban_seconds: int | None = None


class Kick(RepeatableRequest, frozen=True, tag="kick"):
    payload: KickPayload


class Lock(RepeatableRequest, frozen=True, tag="lock"):
    payload: Empty | None = None


class Unlock(RepeatableRequest, frozen=True, tag="unlock"):
    payload: Empty | None = None


class CloseRoom(RepeatableRequest, frozen=True, tag="close-room"):
    payload: NoticePayload | None = None


class ListBans(RepeatableRequest, frozen=True, tag="list-bans"):
    payload: Empty | None = None


class Unban(RepeatableRequest, frozen=True, tag="unban"):
    payload: UnbanPayload


Moderation = Kick | Lock | Unlock | CloseRoom | ListBans | Unban

OrderedRequest = Update | Moderation
"""A request that takes effect in the room's order, on all nodes."""


class Announce(Struct, frozen=True):
    """Asks for an `announcement`. It is made for the application, and is no message: no client can send it."""

    room: RoomId
    content: Any
    id: ClassVar[None] = None
    again: ClassVar[bool] = False


ServerRequest = OrderedRequest | Announce
"""A request of a member, or of the application, that takes effect in the room's order."""


class ResumePayload(Struct, frozen=True, kw_only=True):
    """`resume` is the token of a session to continue, `received` the last delivery number and `at` the last offsets."""

    resume: str | None = None
    received: Delivery | None = None
    at: Offsets | None = None

    @property
    def offsets(self) -> dict[RoomId, str]:
        """The last offset in each room that has one."""
        return {room: offset for room, offset in (self.at or {}).items() if offset is not None}


class JoinPayload(ResumePayload, frozen=True):
    """`presence`: the client wants to know of detached peers."""

    peer_id: PeerId | None = None
    metadata: dict[str, Any] | None = None
    presence: bool | None = None


class Join(RoomRequest, frozen=True, tag="join"):
    payload: JoinPayload | None = None

    @property
    def given(self) -> JoinPayload:
        """The payload; an empty one if it was left out."""
        return self.payload or JoinPayload()


class Leave(RoomRequest, frozen=True, tag="leave"):
    payload: Empty | None = None


class RenewIceServers(RoomRequest, frozen=True, tag="ice-servers"):
    """Asks for ICE servers whose credentials are new."""

    payload: Empty | None = None


class ReportPayload(Struct, frozen=True):
    """`milliseconds`: how long it took until the outcome. A pair that failed has a `reason`, others have none."""

    pair: PairOutcome
    milliseconds: Milliseconds
    reason: PairFailure | None = None


class Report(RoomRequest, frozen=True, tag="report"):
    """Tells the server how a connection to another peer fares, for its metrics."""

    payload: ReportPayload


class TargetedPayload(Struct, frozen=True, kw_only=True):
    target_peer_id: PeerId


class OfferDescription(Struct, frozen=True):
    sdp: Raw
    type: Literal["offer"] | None = None


class AnswerDescription(Struct, frozen=True):
    sdp: Raw
    type: Literal["answer", "pranswer"] | None = None


class CandidateInit(Struct, frozen=True):
    """An RTCIceCandidateInit, with any fields."""


class OfferPayload(TargetedPayload, frozen=True):
    offer: OfferDescription


class AnswerPayload(TargetedPayload, frozen=True):
    answer: AnswerDescription


class IceCandidatePayload(TargetedPayload, frozen=True):
    candidate: CandidateInit | Literal[""] | None


class SignalPayload(TargetedPayload, frozen=True):
    data: Raw


class Offer(RelayedRequest, frozen=True, tag="offer"):
    """The server gives it its `negotiation` number, 0 until then."""

    negotiation: ClassVar[int] = 0
    payload: OfferPayload


class Answer(RelayedRequest, frozen=True, tag="answer"):
    """`negotiation` is the number of the offer that it answers."""

    payload: AnswerPayload
    negotiation: NegotiationNumber | None = None


class IceCandidate(RelayedRequest, frozen=True, tag="ice-candidate"):
    """`negotiation` is the number of the offer that it belongs to."""

    payload: IceCandidatePayload
    negotiation: NegotiationNumber | None = None


class Signal(RelayedRequest, frozen=True, tag="signal"):
    negotiation: ClassVar[None] = None
    payload: SignalPayload


Targeted = Offer | Answer | IceCandidate | Signal
PeerRequest = (
    Authenticate
    | Ping
    | Join
    | Leave
    | Offer
    | Answer
    | IceCandidate
    | Signal
    | RenewIceServers
    | Report
    | OrderedRequest
)


class ConnectPayload(ResumePayload, frozen=True):
    user_id: UserId | None = None


class Connect(Request, frozen=True, tag="connect"):
    payload: ConnectPayload | None = None
    room: None = None

    @property
    def given(self) -> ConnectPayload:
        """The payload; an empty one if it was left out."""
        return self.payload or ConnectPayload()


class JoinRoom(RoomRequest, frozen=True, tag="join-room"):
    payload: Empty | None = None


class LeaveRoom(RoomRequest, frozen=True, tag="leave-room"):
    payload: Empty | None = None


class MessagePayload(Struct, frozen=True):
    content: Raw


class Message(RelayedRequest, frozen=True, tag="message"):
    payload: MessagePayload


UserRequest = Authenticate | Ping | Connect | JoinRoom | LeaveRoom | Message | OrderedRequest


class Reply(Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True):
    """A message of the server; `id` is that of the request that it answers."""

    id: RequestId | UnsetType = UNSET


class RoomReply(Reply, frozen=True, kw_only=True):
    room: RoomId


class AuthenticatedPayload(Struct, frozen=True, omit_defaults=True):
    """The token's permissions, for `expires_in` seconds; without `rooms`, in any room."""

    sub: str
    can: list[str]
    expires_in: int
    rooms: list[str] | UnsetType = UNSET


class Authenticated(Reply, frozen=True, tag="authenticated"):
    payload: AuthenticatedPayload


class TokenExpiringPayload(Struct, frozen=True):
    expires_in: int


class TokenExpiring(Reply, frozen=True, tag="token-expiring"):
    payload: TokenExpiringPayload


class Pong(Reply, frozen=True, tag="pong"):
    """Answers a `ping`. It is about the connection, not its session."""


class PeerEntry(Struct, frozen=True):
    """A peer in a roster; `away` if it is detached, `verified` if its access token says who it is."""

    peer_id: PeerId
    metadata: dict[str, Any]
    order: int
    away: bool | UnsetType = UNSET
    verified: bool | UnsetType = UNSET


class UserEntry(Struct, frozen=True):
    """A user in a roster; `metadata` if it has any, `verified` if its access token says who it is."""

    user_id: UserId
    metadata: dict[str, Any] | UnsetType = UNSET
    verified: bool | UnsetType = UNSET


class JoinedPayload(Struct, frozen=True):
    """The room at this moment, the client itself included; `ice_servers` are RTCIceServer objects.

    `resume` is the token to come back with. In a session that was `resumed`, `complete` says that nothing is missing.
    `ping_interval`: seconds of silence after which the client sends `ping`; absent if it need not. `max_message_bytes`:
    the size of the largest message that the server accepts. `ice_servers_expire_in`: the seconds until the credentials
    of the ICE servers end; absent if they do not.
    """

    peer_id: PeerId
    order: int
    peers: list[PeerEntry]
    ice_servers: list[dict[str, Any]]
    resume: str | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    complete: bool | UnsetType = UNSET
    locked: bool | UnsetType = UNSET
    ping_interval: float | UnsetType = UNSET
    max_message_bytes: int | UnsetType = UNSET
    ice_servers_expire_in: int | UnsetType = UNSET


class Joined(RoomReply, frozen=True, tag="joined"):
    payload: JoinedPayload


class IceServersPayload(Struct, frozen=True):
    """The same fields as in `JoinedPayload`."""

    ice_servers: list[dict[str, Any]]
    ice_servers_expire_in: int | UnsetType = UNSET


class IceServers(RoomReply, frozen=True, tag="ice-servers"):
    payload: IceServersPayload


class LeftPayload(Struct, frozen=True):
    peer_id: PeerId


class Left(RoomReply, frozen=True, tag="left"):
    payload: LeftPayload


class PeerJoined(RoomReply, frozen=True, tag="peer-joined"):
    payload: PeerEntry


class PeerAway(RoomReply, frozen=True, tag="peer-away"):
    payload: LeftPayload


class PeerBack(RoomReply, frozen=True, tag="peer-back"):
    payload: LeftPayload


class PeerLeftPayload(Struct, frozen=True):
    peer_id: PeerId
    reason: LeaveReason


class PeerLeft(RoomReply, frozen=True, tag="peer-left"):
    payload: PeerLeftPayload


class UpdatedPayload(Struct, frozen=True, kw_only=True):
    """Exactly one of the ids is set."""

    peer_id: PeerId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    metadata: dict[str, Any]


class Updated(RoomReply, frozen=True, tag="updated"):
    payload: UpdatedPayload


class PeerUpdated(RoomReply, frozen=True, tag="peer-updated"):
    payload: UpdatedPayload


class UserUpdated(RoomReply, frozen=True, tag="user-updated"):
    payload: UpdatedPayload


class ServerInfo(Struct, frozen=True):
    name: str
    version: str


class ConnectedPayload(Struct, frozen=True):
    """The session, the heartbeat and the limit are described as in `JoinedPayload`."""

    user_id: UserId
    server: ServerInfo
    resume: str | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    complete: bool | UnsetType = UNSET
    ping_interval: float | UnsetType = UNSET
    max_message_bytes: int | UnsetType = UNSET


class Connected(Reply, frozen=True, tag="connected"):
    payload: ConnectedPayload


class RoomJoinedPayload(Struct, frozen=True):
    users: list[UserEntry]
    peers: list[PeerEntry]
    locked: bool | UnsetType = UNSET


class RoomJoined(RoomReply, frozen=True, tag="room-joined"):
    payload: RoomJoinedPayload


class RoomLeft(RoomReply, frozen=True, tag="room-left"):
    payload: UserEntry


class UserJoined(RoomReply, frozen=True, tag="user-joined"):
    payload: UserEntry


class UserLeftPayload(Struct, frozen=True):
    """`reason` is that of the user's last connection."""

    user_id: UserId
    reason: LeaveReason


class UserLeft(RoomReply, frozen=True, tag="user-left"):
    payload: UserLeftPayload


class KickedPayload(Struct, frozen=True):
    """Exactly one of the ids is set; the moderator's words as it gave them.

    `absent`: nobody was removed, and the id is banned.
    """

    peer_id: PeerId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    ban_seconds: int | UnsetType = UNSET
    absent: bool | UnsetType = UNSET


class Kicked(RoomReply, frozen=True, tag="kicked"):
    """A moderator has removed the client from the room; or, in answer to `kick`, another one."""

    payload: KickedPayload


class RoomLocked(RoomReply, frozen=True, tag="room-locked"):
    pass


class RoomUnlocked(RoomReply, frozen=True, tag="room-unlocked"):
    pass


class RoomClosedPayload(Struct, frozen=True):
    reason: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


class RoomClosed(RoomReply, frozen=True, tag="room-closed"):
    """The payload is left out if the moderator gave no reason."""

    payload: RoomClosedPayload | UnsetType = UNSET


class AnnouncementPayload(Struct, frozen=True):
    """Whatever the application says, as JSON."""

    content: Any


class Announcement(RoomReply, frozen=True, tag="announcement"):
    """The application tells all members of a room something."""

    payload: AnnouncementPayload


class BanEntry(Struct, frozen=True):
    """A ban for `expires_in` seconds by the moderator `by`; exactly one of the ids is set.

    `address`: it is for the address of the banned client, too.
    """

    expires_in: int
    by: str
    address: bool
    peer_id: PeerId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


class BansPayload(Struct, frozen=True):
    bans: list[BanEntry]


class Bans(RoomReply, frozen=True, tag="bans"):
    payload: BansPayload


class UnbannedPayload(Struct, frozen=True):
    """Exactly one of the two is set."""

    peer_id: PeerId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET


class Unbanned(RoomReply, frozen=True, tag="unbanned"):
    payload: UnbannedPayload


class AckPayload(Struct, frozen=True, omit_defaults=True):
    """`queued`: the target is detached and receives it when it is attached. `negotiation`: the number of an offer.

    `counted`: the server has counted a report.
    """

    status: Literal["delivered", "queued", "counted"]
    negotiation: int | UnsetType = UNSET


class Ack(RoomReply, frozen=True, tag="ack"):
    payload: AckPayload


class ReconnectPayload(Struct, frozen=True):
    after_ms: int


class Reconnect(Reply, frozen=True, tag="reconnect"):
    """This process is about to stop."""

    payload: ReconnectPayload


class ErrorPayload(Struct, frozen=True, omit_defaults=True):
    """`code` is for programs, `message` for people; `retryable`: the same request may succeed later."""

    code: ErrorCode
    message: str
    retryable: bool
    details: dict[str, Any] | UnsetType = UNSET


class Error(Reply, frozen=True, tag="error"):
    """`room` is that of the request."""

    payload: ErrorPayload
    room: RoomId | UnsetType = UNSET


ServerMessage = (
    Authenticated
    | TokenExpiring
    | Pong
    | Joined
    | IceServers
    | Left
    | PeerJoined
    | PeerLeft
    | PeerAway
    | PeerBack
    | Updated
    | PeerUpdated
    | UserUpdated
    | Connected
    | RoomJoined
    | RoomLeft
    | UserJoined
    | UserLeft
    | Kicked
    | RoomLocked
    | RoomUnlocked
    | RoomClosed
    | Announcement
    | Bans
    | Unbanned
    | Ack
    | Reconnect
    | Error
)
