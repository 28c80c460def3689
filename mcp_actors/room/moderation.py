"""What moderators ask of a room, until they are answered, and the words in which its members hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET, UnsetType

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import PeerNotFound, Unavailable
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import PeerId, UserId, shown

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Member, Moderated
    from mcp_actors.protocol.identifiers import Incarnation, RequestId, RoomId
    from mcp_actors.room.roster import Roster


class Target(NamedTuple):
    """Whom a kick is about."""

    kind: Kind
    id: PeerId | UserId


def target_of(kick: wire.Kick) -> Target:
    """Whom a kick is about: the decoder sees to it that it names one."""
    payload = kick.payload
    if not isinstance(payload.peer_id, UnsetType):
        return Target(Kind.PEER, payload.peer_id)
    return Target(Kind.USER, UserId(str(payload.user_id)))


def kicked(room: RoomId, target: Target | Member, request_id: RequestId | None = None) -> wire.Kicked:
    """What is told to whom was kicked; and to the moderator, as the answer."""
    is_peer = target.kind is Kind.PEER
    payload = (
        wire.KickedPayload(peer_id=PeerId(target.id)) if is_peer else wire.KickedPayload(user_id=UserId(target.id))
    )
    return wire.Kicked(room=room, id=_id(request_id), payload=payload)


def locked(room: RoomId, request_id: RequestId | None = None, *, locked: bool) -> wire.ServerMessage:
    """What all are told when the room is locked or unlocked."""
    kind = wire.RoomLocked if locked else wire.RoomUnlocked
    return kind(room=room, id=_id(request_id))


def closed(room: RoomId, request_id: RequestId | None = None) -> wire.ServerMessage:
    """What all are told when the room is closed."""
    return wire.RoomClosed(room=room, id=_id(request_id))


def _id(request_id: RequestId | None) -> RequestId | UnsetType:
    return UNSET if request_id is None else request_id


class Asked:
    """A request of a moderator; `done` once it was heard that somebody has done what it asks, `answered` to it."""

    __slots__ = ("answered", "done", "request")

    def __init__(self, request: wire.Moderation) -> None:
        self.request = request
        self.done = self.answered = False


class Moderation:
    """The requests of the moderators of one room who are at this node, by who asked: one at a time each."""

    def __init__(self) -> None:
        self._asked: dict[Incarnation, Asked] = {}

    def __bool__(self) -> bool:
        return bool(self._asked)

    def ask(self, by: Incarnation, request: wire.Moderation, roster: Roster) -> bool:
        """Remember a request that the broker is to be asked; False for one that is sent again and under way.

        Raises `PeerNotFound` and `Unavailable`.
        """
        before = self._asked.get(by)
        if before is not None:
            if request.again and request.id is not None and request.id == before.request.id:
                return False
            raise Unavailable("Your last request to this room was not answered yet; try again when it is.")
        if isinstance(request, wire.Kick) and not is_there(target_of(request), roster):
            raise not_there(request)
        self._asked[by] = Asked(request)
        return True

    def kicked(self, member: Member) -> None:
        """A member was kicked, by whomever."""
        for asked in self._asked.values():
            request = asked.request
            if isinstance(request, wire.Kick) and target_of(request) == (member.kind, member.id):
                asked.done = True

    def kicks_itself(self, member: Member) -> RequestId | None:
        """The `id` with which a member asked to be kicked itself."""
        asked = self._asked.get(member.incarnation)
        if asked is None or not isinstance(asked.request, wire.Kick):
            return None
        return asked.request.id if target_of(asked.request) == (member.kind, member.id) else None

    def take(self, by: Incarnation | None) -> Asked | None:
        """The request of who is answered now, or is out of the room."""
        return None if by is None else self._asked.pop(by, None)

    def answered(self, by: Incarnation | None) -> RequestId | None:
        """The `id` of the request of who is told now what came of it."""
        asked = None if by is None else self._asked.get(by)
        if asked is None:
            return None
        asked.answered = True
        return asked.request.id


def is_there(target: Target, roster: Roster) -> bool:
    """Whether a room has somebody of that id."""
    if target.kind is Kind.PEER:
        return roster.peer(PeerId(target.id)) is not None
    return roster.connections_of(UserId(target.id)) > 0


def not_there(kick: wire.Kick) -> PeerNotFound:
    """The answer to a kick of nobody."""
    target = target_of(kick)
    return PeerNotFound(f"No {target.kind} {shown(target.id)} in this room.")


def outcome(room: RoomId, asked: Asked, event: Moderated) -> wire.ServerMessage | None:
    """The answer to a request of which all was heard; None if it has none, or was told already.

    Raises `PeerNotFound` and `Unavailable`.
    """
    request = asked.request
    if event.failed:
        raise Unavailable("The server cannot do that now; try again.")
    if isinstance(request, wire.Kick) and not (event.done or asked.done):
        raise not_there(request)
    if request.id is None or asked.answered:
        return None
    match request:
        case wire.Kick():
            return kicked(room, target_of(request), request.id)
        case wire.CloseRoom():
            return None
        case _:
            return locked(room, request.id, locked=isinstance(request, wire.Lock))
