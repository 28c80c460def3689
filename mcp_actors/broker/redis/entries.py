"""The entries of a node's inbox: changes, snapshots and audits of rooms, frames from other nodes, and probes.

An entry of a Redis stream is a flat list of fields and values. Frames are in the field `frames`; the other entries
have a `type`. lua/common.lua writes changes and snapshots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct, structs

from mcp_actors.broker.revocations import Claim, Revocation
from mcp_actors.protocol.events import NO_NOTICE, Kind, LeaveReason, Member, NegotiationStep, Notice
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FRAMES = 256
MAX_FRAME_BYTES = 262_144
"""Limits of one entry, unless a single frame is larger: decoding it, 0.1 ms, must not hold up the loop."""

FrameKind = Literal["signal", "broadcast", "receipt", "cutover", "handover"]


class UnreadableEntry(Exception):
    """An entry is not one that nodes of this protocol write."""


class Frame(Struct, frozen=True, array_like=True, gc=False):
    """A frame that one node sends to another about a room.

    signal: from member `source` to member `target`. broadcast: from user `source` to the users of a node, of which
    `target` is one. receipt: from `source`, which received the delivery, to `target`; `body` is b"1" if it was
    delivered, b"2" if it was queued, b"3" if the target has moved away, b"4" if there was no room to queue it, else
    b"0", and `step` names an offer that superseded it. cutover: node `source` has applied the move of member `target`.
    handover: `body` is the state of member `target` from node `source`.

    `number` counts the frames per (source, target) from 1; for cutover and handover it is the epoch of the move.
    `delivery_id` is 0 if the sender only wants to know about a failure. `epoch` is that of the target, as far as the
    sender knew.
    """

    room: RoomId
    source: str
    target: str
    number: int
    kind: FrameKind
    delivery_id: int
    body: bytes
    step: NegotiationStep | None = None
    epoch: int = 0


class StoredMember(Struct, frozen=True):
    """A member as Redis keeps it; `metadata` is JSON."""

    node: NodeId
    incarnation: Incarnation
    kind: Kind
    id: str
    verified: bool
    order: int
    detached: bool
    epoch: int
    metadata: str
    updated: int
    address: str

    @classmethod
    def of(cls, member: Member) -> StoredMember:
        """Convert a member for Redis."""
        return cls(**structs.asdict(member) | {"metadata": pack_metadata(member.metadata)})

    def restored(self) -> Member:
        """Convert a member from Redis."""
        return Member(**structs.asdict(self) | {"metadata": unpack_metadata(self.metadata)})


class Joined(Struct, frozen=True, tag_field="change", tag="joined"):
    """A member joined; `Changes` holds the member itself."""

    member: StoredMember


class Left(Struct, frozen=True, tag_field="change", tag="left"):
    """A member left; `notice` is JSON, empty if a moderator said nothing."""

    incarnation: Incarnation
    reason: LeaveReason
    kind: Kind
    id: str
    notice: str = ""


class Presence(Struct, frozen=True, tag_field="change", tag="presence"):
    """A member was detached or attached."""

    incarnation: Incarnation
    detached: bool
    kind: Kind
    id: str


class Updated(Struct, frozen=True, tag_field="change", tag="updated"):
    """A peer, or a user with all its connections, has other metadata, which is JSON; set by a connection, if known."""

    kind: Kind
    id: PeerId | UserId
    metadata: str
    updated: int
    by: Incarnation | None = None


class Moved(Struct, frozen=True, tag_field="change", tag="moved"):
    """The session of a member resumes at another node. `silent`: nodes of the room that will send nothing more."""

    incarnation: Incarnation
    node: NodeId
    epoch: int
    silent: tuple[NodeId, ...] = ()


class OwnerFenced(Struct, frozen=True, tag_field="change", tag="owner-fenced"):
    """The node that a member moved to goes on without a handover: what earlier owners send for it is stale."""

    incarnation: Incarnation
    epoch: int


class RecoveryEnded(Struct, frozen=True, tag_field="change", tag="recovery-ended"):
    """Messages to a member at its nodes before `epoch` that are not answered by now are lost."""

    incarnation: Incarnation
    epoch: int


class Locked(Struct, frozen=True, tag_field="change", tag="locked"):
    """The room was locked or unlocked, by a moderator or (None) by a node that announced it again."""

    locked: bool
    by: Incarnation | None = None


class Closed(Struct, frozen=True, tag_field="change", tag="closed"):
    """A moderator removed all members; `notice` as in `Left`."""

    by: Incarnation
    notice: str = ""


class Announced(Struct, frozen=True, tag_field="change", tag="announced"):
    """The application tells all members something, as JSON; or only those with an id, unless that is empty."""

    content: str
    kind: Literal["", "peer", "user"] = ""
    id: str = ""

    @property
    def to(self) -> tuple[Kind, PeerId | UserId] | None:
        """The id of those that are told; None for all."""
        return (Kind(self.kind), PeerId(self.id)) if self.kind else None


Change = Member | Left | Presence | Updated | Moved | OwnerFenced | RecoveryEnded | Locked | Closed | Announced


class Changes(Struct, frozen=True):
    """The changes of a room from version `after` to `version`, made at once."""

    room: RoomId
    after: int
    version: int
    changes: list[Change]


class Snapshot(Struct, frozen=True):
    """A room at a version. `run_id` is that of the server, `token` that of the request.

    `lock` is the version in which the room was locked or, negative, unlocked; 0 if it never was.
    """

    room: RoomId
    version: int
    run_id: str
    token: str
    members: list[Member]
    lock: int = 0


class AuditedRoom(Struct, frozen=True):
    """The stored state of a room of this node.

    `members`: their number. `lost`: the incarnations of this node's members that are not stored. `last_peer` and
    `last_user`: the highest orders that were given. `sound`: the keys of the room agree with each other.
    """

    room: RoomId
    version: int
    members: int
    lost: list[Incarnation]
    last_peer: int
    last_user: int
    sound: bool


class Audit(Struct, frozen=True):
    """The stored state of some rooms, after all entries before this one."""

    rooms: list[AuditedRoom]


class Damaged(Struct, frozen=True):
    """Another node found that keys of a room were deleted or changed by hand."""

    room: RoomId


class Revoked(Struct, frozen=True):
    """Tokens were revoked; or a revocation was lifted, if `revocation` is None."""

    claim: Claim
    value: str
    revocation: Revocation | None


class Probe(Struct, frozen=True):
    """A probe that a node writes to its own inbox, to prove that it reads it."""

    number: int


Entry = list[Frame] | Changes | Snapshot | Audit | Damaged | Revoked | Probe

pack = msgspec.msgpack.Encoder().encode
_frames = msgspec.msgpack.Decoder(list[Frame]).decode
_changes = msgspec.msgpack.Decoder(
    list[Joined | Left | Presence | Updated | Moved | OwnerFenced | RecoveryEnded | Locked | Closed | Announced]
).decode
_audited = msgspec.msgpack.Decoder(list[AuditedRoom]).decode
_members = msgspec.msgpack.Decoder(list[StoredMember]).decode


def pack_frames(packed: Sequence[bytes]) -> bytes:
    """Combine frames, each packed, into one value."""
    return b"\xdc" + len(packed).to_bytes(2, "big") + b"".join(packed)


def pack_metadata(metadata: dict[str, Any]) -> str:
    """Encode the metadata of a member for Redis."""
    return msgspec.json.encode(metadata).decode()


def unpack_metadata(packed: str) -> dict[str, Any]:
    """Decode the metadata of a member."""
    found: dict[str, Any] = msgspec.json.decode(packed)
    return found


def pack_notice(notice: Notice) -> str:
    """Encode the words of a moderator for Redis; no words are an empty string."""
    return "" if notice == NO_NOTICE else msgspec.json.encode(notice).decode()


def unpack_notice(packed: str) -> Notice:
    """Decode the words of a moderator."""
    return msgspec.json.decode(packed, type=Notice) if packed else NO_NOTICE


def revoked_field(claim: Claim, value: str) -> str:
    """The field of a revocation."""
    return f"{claim}:{value}"


def parse_revoked(field: bytes) -> tuple[Claim, str]:
    """The claim and the value in the field of a revocation."""
    claim, _, value = field.decode().partition(":")
    return "jti" if claim == "jti" else "sub", value


unpack_revocation = msgspec.json.Decoder(Revocation).decode


def field_of(member: Member) -> str:
    """The field of a member in the hash of a room: one peer per id, any number of connections per user."""
    return f"peer:{member.id}" if member.kind is Kind.PEER else f"user:{member.id} {member.incarnation}"


def read(flat: Sequence[bytes]) -> Entry:
    """Decode an entry. Raises `UnreadableEntry`."""
    try:
        return _frames(flat[1]) if flat[0] == b"frames" else _read(dict(zip(flat[::2], flat[1::2], strict=True)))
    except (LookupError, ValueError, msgspec.DecodeError) as error:
        raise UnreadableEntry(repr(error)) from error


def _read(fields: dict[bytes, bytes]) -> Changes | Snapshot | Audit | Damaged | Revoked | Probe:
    if fields[b"type"] == b"probe":
        return Probe(int(fields[b"number"]))
    if fields[b"type"] == b"audit":
        return Audit(_audited(fields[b"rooms"]))
    if fields[b"type"] == b"revocation":
        packed = fields[b"revocation"]
        return Revoked(*parse_revoked(fields[b"field"]), unpack_revocation(packed) if packed else None)
    room = RoomId(fields[b"room"].decode())
    if fields[b"type"] == b"damaged":
        return Damaged(room)
    version = int(fields[b"version"])
    if fields[b"type"] == b"changes":
        decoded = _changes(fields[b"changes"])
        changes = [one.member.restored() if isinstance(one, Joined) else one for one in decoded]
        return Changes(room, int(fields[b"after"]), version, changes)
    if fields[b"type"] == b"snapshot":
        members = [member.restored() for member in _members(fields[b"members"])]
        run_id, token = fields[b"run"].decode(), fields[b"token"].decode()
        return Snapshot(room, version, run_id, token, members, int(fields[b"lock"]))
    raise ValueError(fields[b"type"])
