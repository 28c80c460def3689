"""The messages that a room composes for its members."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from msgspec import UNSET, UnsetType

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import Banned, ErrorCode, PeerIdTaken, RoomFull, RoomLocked, SignalingError, Unavailable
from mcp_actors.protocol.events import NO_NOTICE, Ban, JoinRefused, Kind, LeaveReason, Member, MissedChange, Notice
from mcp_actors.protocol.identifiers import PeerId, RequestId, RoomId, UserId, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.room.roster import Roster


class Target(NamedTuple):
    """The peer or user that a request is about."""

    kind: Kind
    id: PeerId | UserId

    def fields(self) -> dict[str, Any]:
        """The field that names it in a payload."""
        return {"peer_id" if self.kind is Kind.PEER else "user_id": self.id}


def peer_entry(member: Member) -> wire.PeerEntry:
    """A peer as clients see it in a roster."""
    peer = PeerId(member.id)
    return wire.PeerEntry(peer, member.metadata, member.order, member.detached or UNSET, member.verified or UNSET)


def user_entry(user: UserId, metadata: dict[str, Any], *, verified: bool) -> wire.UserEntry:
    """A user as clients see it in a roster."""
    return wire.UserEntry(user, metadata or UNSET, verified or UNSET)


def joined(room: RoomId, member: Member, roster: Roster) -> wire.ServerMessage | None:
    """`peer-joined`, or `user-joined` for the first connection of a user."""
    if member.kind is Kind.PEER:
        return wire.PeerJoined(room=room, payload=peer_entry(member))
    if roster.connections_of(UserId(member.id)) > 1:
        return None
    return wire.UserJoined(room=room, payload=user_entry(UserId(member.id), member.metadata, verified=member.verified))


def left(room: RoomId, member: Member, reason: LeaveReason, roster: Roster) -> wire.ServerMessage | None:
    """`peer-left`, or `user-left` for the last connection of a user."""
    if member.kind is Kind.PEER:
        return wire.PeerLeft(room=room, payload=wire.PeerLeftPayload(PeerId(member.id), reason))
    user = UserId(member.id)
    return None if roster.connections_of(user) else wire.UserLeft(room=room, payload=wire.UserLeftPayload(user, reason))


def leave_reply(room: RoomId, member: Member, request_id: RequestId | None) -> wire.ServerMessage:
    """The reply to a leave."""
    if member.kind is Kind.PEER:
        return wire.Left(room=room, id=_id(request_id), payload=wire.LeftPayload(PeerId(member.id)))
    return wire.RoomLeft(room=room, id=_id(request_id), payload=wire.UserEntry(UserId(member.id)))


def updated(room: RoomId, target: Target, metadata: dict[str, Any]) -> wire.ServerMessage:
    """`peer-updated` or `user-updated`."""
    payload = wire.UpdatedPayload(**target.fields(), metadata=metadata)
    return (wire.PeerUpdated if target.kind is Kind.PEER else wire.UserUpdated)(room=room, payload=payload)


def update_reply(
    room: RoomId, target: Target, metadata: dict[str, Any], request_id: RequestId | None
) -> wire.ServerMessage:
    """The reply to an update."""
    return wire.Updated(
        room=room, id=_id(request_id), payload=wire.UpdatedPayload(**target.fields(), metadata=metadata)
    )


def presence(room: RoomId, peer: PeerId, *, detached: bool) -> wire.ServerMessage:
    """`peer-away` or `peer-back`."""
    return (wire.PeerAway if detached else wire.PeerBack)(room=room, payload=wire.LeftPayload(peer))


def missed(room: RoomId, change: MissedChange, *, watching: bool) -> wire.ServerMessage | None:
    """The announcement of a change that a member missed while its node was gone; None if it does not want it."""
    if change.announced is not None:
        return announced(room, change.announced[0])
    if change.locked is not None:
        return locked(room, locked=change.locked)
    if change.member is not None:
        return wire.PeerJoined(room=room, payload=peer_entry(change.member))
    if change.metadata is not None:
        return updated(room, Target(Kind.PEER, change.peer), change.metadata)
    if change.reason is not None:
        return wire.PeerLeft(room=room, payload=wire.PeerLeftPayload(change.peer, change.reason))
    return presence(room, change.peer, detached=change.detached) if watching else None


def kicked(
    room: RoomId,
    target: Target,
    request_id: RequestId | None = None,
    notice: Notice = NO_NOTICE,
    *,
    absent: bool = False,
) -> wire.ServerMessage:
    """`kicked`, for the member that is removed; with an `id`, the reply to the moderator."""
    payload = wire.KickedPayload(
        **target.fields(), **words(notice), ban_seconds=notice.ban_seconds or UNSET, absent=absent or UNSET
    )
    return wire.Kicked(room=room, id=_id(request_id), payload=payload)


def locked(room: RoomId, request_id: RequestId | None = None, *, locked: bool) -> wire.ServerMessage:
    """`room-locked` or `room-unlocked`."""
    return (wire.RoomLocked if locked else wire.RoomUnlocked)(room=room, id=_id(request_id))


def closed(room: RoomId, request_id: RequestId | None = None, notice: Notice = NO_NOTICE) -> wire.ServerMessage:
    """`room-closed`."""
    payload = UNSET if notice == NO_NOTICE else wire.RoomClosedPayload(**words(notice))
    return wire.RoomClosed(room=room, id=_id(request_id), payload=payload)


def announced(room: RoomId, content: Any) -> wire.ServerMessage:
    """`announcement`."""
    return wire.Announcement(room=room, payload=wire.AnnouncementPayload(content))


def bans(room: RoomId, request_id: RequestId | None, found: Iterable[Ban]) -> wire.ServerMessage:
    """The reply to `list-bans`."""
    entries = [
        wire.BanEntry(
            ceil(one.expires_in), one.by, one.address, **Target(one.kind, one.id).fields(), **words(one.notice)
        )
        for one in found
    ]
    return wire.Bans(room=room, id=_id(request_id), payload=wire.BansPayload(entries))


def unbanned(room: RoomId, target: Target, request_id: RequestId | None) -> wire.ServerMessage:
    """The reply to `unban`."""
    return wire.Unbanned(room=room, id=_id(request_id), payload=wire.UnbannedPayload(**target.fields()))


def ack(
    room: RoomId, request_id: RequestId, status: Literal["delivered", "queued"] = "delivered", negotiation: int = 0
) -> wire.ServerMessage:
    """The reply to a relayed message; to an offer, with its number."""
    return wire.Ack(room=room, id=request_id, payload=wire.AckPayload(status, negotiation or UNSET))


def words(notice: Notice) -> dict[str, Any]:
    """The fields of a moderator's words, as far as it gave any."""
    return {name: text for name, text in (("reason", notice.reason), ("message", notice.message)) if text}


def _id(request_id: RequestId | None) -> RequestId | UnsetType:
    return UNSET if request_id is None else request_id


def _id_taken(member: Member) -> PeerIdTaken:
    if member.kind is Kind.PEER:
        return PeerIdTaken(f"Peer id {shown(member.id)} is in use in this room; join under another one.")
    text = f"User id {shown(member.id)} belongs to a user with an access token in this room; connect under another one."
    return PeerIdTaken(text)


def join_refusal(refused: JoinRefused, member: Member, capacity: int) -> SignalingError:
    """The error for a join that the broker has refused."""
    match refused.code:
        case ErrorCode.PEER_ID_TAKEN:
            return _id_taken(member)
        case ErrorCode.ROOM_FULL:
            text = f"The room is full: it holds {capacity} {member.kind}s."
            return RoomFull(text, limit=capacity)
        case ErrorCode.ROOM_LOCKED:
            return RoomLocked("The room is locked; a moderator can unlock it.")
        case ErrorCode.BANNED:
            text = f"A moderator has banned you from this room for another {ceil(refused.retry_after_ms / 1000)} s."
            return Banned(text, retry_after_ms=refused.retry_after_ms, **words(refused.notice))
    return Unavailable("The room cannot be joined now; try again.")
