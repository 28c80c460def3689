"""The state of a member and its session, as one node hands it over to another."""

from __future__ import annotations

from msgspec import Struct, msgpack

from mcp_actors.protocol.events import NegotiationStep
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RequestId, RoomId


class Offers(Struct, frozen=True, array_like=True):
    """The numbers of the latest offer of a member to another, and of that one's latest to it; 0 for none."""

    other: Incarnation
    own: int
    others: int


class Pending(Struct, frozen=True, array_like=True):
    """A message that waits for the receipts of `awaited`, which had these epochs; `target` is None for a broadcast."""

    delivery_id: int
    id: RequestId
    target: PeerId | None
    awaited: dict[Incarnation, int]
    step: NegotiationStep | None


class MemberState(Struct, frozen=True, array_like=True):
    """The state of a member in a room, apart from the roster. `watching`: it wants to know of detached peers."""

    watching: bool = False
    offers: list[Offers] = []
    pending: list[Pending] = []


class SessionState(Struct, frozen=True, array_like=True):
    """The number of a session's last message, and the messages that its client may not have, with their numbers.

    They are consecutive; one that was dropped is empty. Messages were lost just before the one with the number `gap`.
    `removed`: the rooms from which moderators removed the client, which it was told in one of its messages.
    """

    number: int
    kept: list[bytes]
    gap: int = 0
    removed: list[RoomId] = []


class Handover(Struct, frozen=True, array_like=True):
    """The state of a member, and for one of a session's members that of the session.

    `offset` is set if the old node has stopped: later messages are to be recovered from there. `others`: rooms in which
    the session still is at the old node, as in `SessionRecord.rooms`; they are to be claimed, too. `is_late`: some
    nodes do not know of the move yet, and what they send to the old node is not handed over.
    """

    member: MemberState
    session: SessionState | None = None
    offset: str = ""
    others: list[tuple[str, str, str, bool]] = []
    is_late: bool = False


class Behind(Struct, frozen=True, array_like=True):
    """The state of a member that a stopping node leaves, and the offset up to which it was told everything."""

    room: RoomId
    member: MemberState
    offset: str


class LeftBehind(Struct, frozen=True, array_like=True):
    """The state of a session that a stopping node leaves."""

    session: SessionState
    members: list[Behind]


pack = msgpack.Encoder().encode
unpack = msgpack.Decoder(Handover).decode
unpack_left = msgpack.Decoder(LeftBehind).decode
