"""What lies in a node's inbox, written and read: changes of rooms, rooms as a whole, frames of other nodes, probes.

An entry of a stream is flat: field, value, field, value. Its field `t` says what it is: `m` changes, `s` a room as a
whole, `k` a probe; one with the field `r` holds frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from mcp_actors.protocol.events import Kind, LeaveReason, Member, Step
from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.identifiers import PeerId, UserId

MAX_FRAMES = 256
MAX_FRAME_BYTES = 262_144
"""What one entry holds at most, unless a single frame is larger: decoding it, 0.1 ms, must not hold up the loop."""


class Frame(Struct, frozen=True, array_like=True, gc=False):
    """What one node sends another, about one room.

    `kind`: s, a signal from a member to a member; m, a message from a member to the users of a node; r, a receipt from
    a node to a member; w, the word of the node `source` that it has heard of a move of `target`; h, what the node that
    a member was at hands over to the one it is at. `number` counts the frames of each (source, target), from 1;
    that of w and h is the move they are about.
    `ticket` is what the receipt will name; 0 where none is wanted but for a failure. `body`: the frame for the client,
    or what is handed over, or what became of a frame: b"1" delivered, b"2" queued, b"0" neither. `step`: that of a
    signal; in a receipt, the offer that has overtaken it. `moves`: those of the target, as far as its sender knew.
    """

    room: RoomId
    source: str
    target: str
    number: int
    kind: Literal["s", "m", "r", "w", "h"]
    ticket: int
    body: bytes
    step: Step | None = None
    moves: int = 0


class Gone(Struct, frozen=True):
    """A member left; `field` as in `field_of`."""

    incarnation: Incarnation
    reason: LeaveReason
    field: str = ""


class Marked(Struct, frozen=True):
    """A member is away, or back; `field` as in `field_of`."""

    incarnation: Incarnation
    away: bool
    field: str = ""


class Moved(Struct, frozen=True):
    """The session of a member goes on at a node. `silent`: the nodes of the room of which nothing more comes."""

    incarnation: Incarnation
    node: NodeId
    moves: int
    silent: tuple[NodeId, ...] = ()


class Locked(Struct, frozen=True):
    """The room is locked, or unlocked; `by` whom, None where a node only told it again."""

    locked: bool
    by: Incarnation | None


class Closed(Struct, frozen=True):
    """All have left; `by` whom it was closed."""

    by: Incarnation


Change = Member | Gone | Marked | Moved | Locked | Closed


class Changes(Struct, frozen=True):
    """Members of a room came, went or were marked, at once, from `version` on, which follows the version `after`."""

    room: RoomId
    after: int
    version: int
    changes: list[Change]


class Snapshot(Struct, frozen=True):
    """A room as it is at `version`. `epoch` is the run of the server that says so, `token` that of the question.

    `lock`: the version in which it was locked, or, negative, unlocked; 0 if it never was.
    """

    room: RoomId
    version: int
    epoch: str
    token: str
    members: list[Member]
    lock: int = 0


class Probe(Struct, frozen=True):
    """What a node put into its own inbox, to see that it reads it."""

    number: int


class _Text(Struct, frozen=True, array_like=True):
    """The part of a member that Redis does not look into."""

    kind: Kind
    id: str
    metadata: dict[str, Any]
    verified: bool = False  # last, where the script for joins looks for it


pack_frame = msgspec.msgpack.Encoder().encode
_frames = msgspec.msgpack.Decoder(list[Frame]).decode
_anything = msgspec.msgpack.Decoder().decode
_text = msgspec.json.Decoder(_Text).decode
_write_text = msgspec.json.Encoder().encode


def pack_frames(packed: Sequence[bytes]) -> bytes:
    """Put frames, each packed, into one value."""
    return b"\xdc" + len(packed).to_bytes(2, "big") + b"".join(packed)


def member_text(member: Member) -> bytes:
    """What Redis keeps of a member beside its node, incarnation and order."""
    return _write_text(_Text(member.kind, member.id, member.metadata, member.verified))


def user_text(user: str) -> bytes:
    """How what `member_text` writes begins for all connections of a user."""
    return _write_text((Kind.USER, user))[:-1] + b","


def field_of(member: Member) -> str:
    """Under what a room's hash keeps a member: one peer of an id, any number of connections of a user."""
    return f"p{member.id}" if member.kind is Kind.PEER else f"u{member.incarnation}"


def read(flat: Sequence[bytes]) -> list[Frame] | Changes | Snapshot | Probe:
    """Read one entry."""
    if flat[0] == b"r":
        return _frames(flat[1])
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    if fields[b"t"] == b"k":
        return Probe(int(fields[b"n"]))
    room, version = RoomId(fields[b"R"].decode()), int(fields[b"v"])
    packed = _anything(fields[b"o"])
    if fields[b"t"] == b"m":
        return Changes(room, int(fields[b"a"]), version, [_change(change) for change in packed])
    members = [_member(*member) for member in packed]
    return Snapshot(room, version, fields[b"e"].decode(), fields[b"q"].decode(), members, int(fields.get(b"l", b"0")))


def _change(change: list[Any]) -> Change:
    match change:
        case ["+", *member]:
            return _member(*member)
        case ["-", incarnation, reason, field]:
            return Gone(incarnation, LeaveReason(reason), field)
        case [">", incarnation, node, moves, silent]:
            return Moved(incarnation, node, moves, tuple(silent))
        case ["#", locked, by]:
            return Locked(locked == "1", Incarnation(by) if by else None)
        case ["x", by]:
            return Closed(Incarnation(by))
        case _:
            return Marked(change[1], change[2] == "1", change[3])


def _member(node: str, incarnation: str, order: int, text: str, away: str, moves: int) -> Member:
    parts = _text(text)
    member_id: PeerId | UserId = parts.id  # type: ignore[assignment]
    return Member(
        parts.kind,
        member_id,
        Incarnation(incarnation),
        NodeId(node),
        parts.metadata,
        order,
        away == "1",
        moves,
        parts.verified,
    )
