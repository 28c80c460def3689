"""The rules of a room: an event or a message in, effects out.

Membership changes only when the broker says so (`heard`); what a member asked for meanwhile is remembered as pending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from msgspec import UNSET

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.codec import encode, sender_stamp, stamp
from mcp_actors.protocol.errors import (
    BadMessage,
    ErrorCode,
    NotInRoom,
    PeerIdTaken,
    PeerNotFound,
    RoomFull,
    SignalingError,
    Unavailable,
)
from mcp_actors.protocol.events import Kind, Member, MemberJoined, MemberLeft
from mcp_actors.protocol.identifiers import PeerId, UserId, shown
from mcp_actors.room.effects import Relay, Send
from mcp_actors.room.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.events import JoinRefused
    from mcp_actors.protocol.identifiers import Incarnation, RequestId, RoomId


class Entry(NamedTuple):
    """A join under way: who asked, with which request, and the ICE servers its reply will name."""

    member: Member
    request_id: RequestId | None
    ice_servers: Sequence[dict[str, Any]] = ()


class Departure(NamedTuple):
    """A leave under way; `replied` if the leaver waits for an answer."""

    request_id: RequestId | None
    replied: bool


class Room:
    """One room as this node sees it: its roster, and what its members may do."""

    __slots__ = ("_capacity", "_entering", "_leaving", "_stamps", "id", "roster", "version")

    def __init__(self, room_id: RoomId, capacity: int) -> None:
        self.id = room_id
        self.roster = Roster()
        self.version = 0
        self._capacity = capacity
        self._entering: dict[Incarnation, Entry] = {}
        self._leaving: dict[Incarnation, Departure] = {}
        self._stamps: dict[Incarnation, bytes] = {}

    @property
    def empty(self) -> bool:
        """Whether nobody is here and nobody is on the way in."""
        return not self.roster and not self._entering

    # ------------------------------------------------------------------------------------------------------ membership

    def enter(self, entry: Entry) -> None:
        """Remember a join that the broker is being asked for."""
        self._entering[entry.member.incarnation] = entry

    def leave(self, incarnation: Incarnation, departure: Departure) -> bool:
        """Remember a leave that the broker is to be asked for; False if there is nothing to ask.

        From here on the leaver is found by nobody, though the others hear of it only when the broker says so.
        """
        if incarnation in self._leaving or (incarnation not in self.roster and incarnation not in self._entering):
            return False
        self._leaving[incarnation] = departure
        return True

    def heard(self, event: MemberJoined | MemberLeft) -> list[Send]:
        """Apply what the broker says, once and in its order, and say who is to hear of it."""
        if event.version <= self.version:
            return []
        self.version = event.version
        if isinstance(event, MemberJoined):
            return self._joined(event.member)
        return self._left(event)

    def refused(self, event: JoinRefused) -> SignalingError:
        """Forget a join the broker refused; the error is for whoever asked."""
        entry = self._entering.pop(event.incarnation)
        self._leaving.pop(event.incarnation, None)
        return self._refusal(event.code, entry.member).about(self.id, entry.request_id)

    def _refusal(self, code: ErrorCode, member: Member) -> SignalingError:
        match code:
            case ErrorCode.PEER_ID_TAKEN:
                return PeerIdTaken(f"Peer id {shown(member.id)} is in use in this room; join under another one.")
            case ErrorCode.ROOM_FULL:
                text = f"The room is full: it holds {self._capacity} {member.kind}s."
                return RoomFull(text, limit=self._capacity)
        return Unavailable("The room cannot be joined now; try again.")

    def _joined(self, member: Member) -> list[Send]:
        self.roster.add(member)
        self._stamps[member.incarnation] = sender_stamp(member.id)
        entry = self._entering.pop(member.incarnation, None)
        sends = self._tell(self._audience(member), self._arrival(member))
        if entry is not None:
            sends.insert(0, Send((member.incarnation,), encode(self._welcome(member, entry))))
        return sends

    def _left(self, event: MemberLeft) -> list[Send]:
        member = self.roster.remove(event.incarnation)
        departure = self._leaving.pop(event.incarnation, None)
        if member is None:
            return []
        del self._stamps[event.incarnation]
        sends = self._tell(self._audience(member), self._farewell(member, event))
        if departure is not None and departure.replied:
            sends.insert(0, Send((member.incarnation,), encode(self._goodbye(member, departure))))
        return sends

    @staticmethod
    def _tell(to: list[Incarnation], news: wire.ServerMessage | None) -> list[Send]:
        return [Send(to, encode(news))] if to and news is not None else []

    def _audience(self, member: Member) -> list[Incarnation]:
        """Who hears of a member's coming and going: of peers everybody, of users the users."""
        return [
            other.incarnation
            for other in self.roster.members()
            if other is not member and (member.kind is Kind.PEER or other.kind is Kind.USER)
        ]

    def _arrival(self, member: Member) -> wire.ServerMessage | None:
        if member.kind is Kind.PEER:
            return wire.PeerJoined(room=self.id, payload=_peer_entry(member))
        user = UserId(member.id)
        if self.roster.connections_of(user) > 1:
            return None
        return wire.UserJoined(room=self.id, payload=wire.UserEntry(user))

    def _farewell(self, member: Member, event: MemberLeft) -> wire.ServerMessage | None:
        if member.kind is Kind.PEER:
            return wire.PeerLeft(room=self.id, payload=wire.PeerLeftPayload(PeerId(member.id), event.reason))
        user = UserId(member.id)
        if self.roster.connections_of(user):
            return None
        return wire.UserLeft(room=self.id, payload=wire.UserLeftPayload(user, event.reason))

    def _welcome(self, member: Member, entry: Entry) -> wire.ServerMessage:
        peers = [_peer_entry(peer) for peer in self.roster.peers()]
        request_id = UNSET if entry.request_id is None else entry.request_id
        if member.kind is Kind.USER:
            users = [wire.UserEntry(user) for user in self.roster.users()]
            return wire.RoomJoined(room=self.id, id=request_id, payload=wire.RoomJoinedPayload(users, peers))
        payload = wire.JoinedPayload(PeerId(member.id), member.order, peers, list(entry.ice_servers))
        return wire.Joined(room=self.id, id=request_id, payload=payload)

    def _goodbye(self, member: Member, departure: Departure) -> wire.ServerMessage:
        request_id = UNSET if departure.request_id is None else departure.request_id
        if member.kind is Kind.USER:
            return wire.RoomLeft(room=self.id, id=request_id, payload=wire.UserEntry(UserId(member.id)))
        return wire.Left(room=self.id, id=request_id, payload=wire.LeftPayload(PeerId(member.id)))

    # -------------------------------------------------------------------------------------------------------- messages

    def relay(self, sender: Incarnation, message: wire.Targeted, frame: bytes) -> Relay:
        """Send a peer's own text, stamped with its id, to one other peer.

        Raises `NotInRoom`, `PeerNotFound`, or `BadMessage` for a message to oneself.
        """
        source = self._present(sender)
        target = self.roster.peer(message.payload.target_peer_id)
        if target is None or target.incarnation in self._leaving:
            raise peer_not_found(message)
        if target.incarnation == sender:
            field = "payload.target_peer_id"
            raise BadMessage(f"`{field}` is your own peer id; name another peer.", field=field)
        return Relay(sender, target.incarnation, stamp(source, frame), message)

    def broadcast(self, sender: Incarnation, message: wire.Message, frame: bytes) -> list[Send]:
        """Send a user's own text, stamped with its id, to every other user connection. Raises `NotInRoom`."""
        source = self._present(sender)
        to = [m.incarnation for m in self.roster.members() if m.kind is Kind.USER and m.incarnation != sender]
        sends = [Send(to, stamp(source, frame))]
        if message.id is not None:
            sends.append(Send((sender,), ack(message)))
        return sends

    def _present(self, incarnation: Incarnation) -> bytes:
        """The stamp of a member who is here, and not leaving."""
        source = self._stamps.get(incarnation)
        if source is None or incarnation in self._leaving:
            raise NotInRoom("You are not in this room any more; join it first.")
        return source


def ack(message: wire.Targeted | wire.Message) -> bytes:
    """The answer to a relayed message that has an `id`."""
    return encode(
        wire.Ack(room=message.room, id=cast("RequestId", message.id), payload=wire.AckPayload(status="delivered"))
    )


def peer_not_found(message: wire.Targeted) -> PeerNotFound:
    """The answer to a message whose target is not here, or is going."""
    return PeerNotFound(f"No peer {shown(message.payload.target_peer_id)} in this room.")


def _peer_entry(member: Member) -> wire.PeerEntry:
    return wire.PeerEntry(PeerId(member.id), member.metadata, member.order)
