"""What one node tells another of a member whose session goes on there."""

from __future__ import annotations

from msgspec import Struct, msgpack

from mcp_actors.protocol.events import Step
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RequestId, RoomId


class Offers(Struct, frozen=True, array_like=True):
    """The numbers of the latest offers of a member to another and of that one to it, 0 for none."""

    other: Incarnation
    own: int
    others: int


class Pending(Struct, frozen=True, array_like=True):
    """A message of a member that lacks the receipts of `awaited`; `target`: None for one to all users."""

    ticket: int
    id: RequestId
    target: PeerId | None
    awaited: list[Incarnation]
    step: Step | None


class MemberState(Struct, frozen=True, array_like=True):
    """What a room knows of a member beside its place in the roster."""

    watching: bool = False
    offers: list[Offers] = []
    pending: list[Pending] = []


class SessionState(Struct, frozen=True, array_like=True):
    """The number of the last frame of a session, and the last frames, which the client may not have, as numbered."""

    number: int
    kept: list[bytes]


class Handover(Struct, frozen=True, array_like=True):
    """The state of one member; with that of one of its members comes the state of the session.

    `at`: where its node has stopped, up to where what came for the member was heard: the rest lies there.
    """

    member: MemberState
    session: SessionState | None = None
    at: str = ""


class Behind(Struct, frozen=True, array_like=True):
    """What a node that stops leaves behind of a member: its state, and up to where what came for it was heard."""

    room: RoomId
    member: MemberState
    at: str


class LeftBehind(Struct, frozen=True, array_like=True):
    """What a node that stops leaves behind of a session."""

    session: SessionState
    members: list[Behind]


pack = msgpack.Encoder().encode
unpack = msgpack.Decoder(Handover).decode
unpack_left = msgpack.Decoder(LeftBehind).decode
