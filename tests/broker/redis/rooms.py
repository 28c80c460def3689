"""A room of one node without Redis: requests and replies are played by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import structs

from mcp_actors.broker.redis.entries import Change, Changes, Moved, Snapshot
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.room import Room
from mcp_actors.broker.redis.scripts import CLAIM, JOIN, RESYNC, SCRIPTS, Script
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.events import (
    Event,
    LeaveReason,
    Member,
    MemberMoved,
)
from tests.broker.redis.lua import ROOM, A, B, C, peer, user

if TYPE_CHECKING:
    from mcp_actors.broker.redis.requests import Request
    from mcp_actors.protocol.identifiers import Incarnation, NodeId

KEYS = Keys("test", 0, 1)
ANA = structs.replace(peer("ana"), order=1)
BEN = structs.replace(peer("ben", B), order=2)
CIA = structs.replace(peer("cia", C), order=3)
UNA = structs.replace(user("una", node=B), order=1)
LEFT, LOST = LeaveReason.LEFT, LeaveReason.NODE_LOST
GRACE = 9.0


class Sent(NamedTuple):
    """A request as it is sent: the nodes whose keys are declared, and the arguments of the script alone."""

    request: Request
    script: Script
    nodes: list[str]
    arguments: list[Any]

    @property
    def announced(self) -> list[tuple[str, int, bool]]:
        """Of a resync: incarnation, epoch, and whether the member is confirmed."""
        rows = msgspec.msgpack.decode(self.arguments[2])
        return [(row["member"]["incarnation"], row["member"]["epoch"], row["confirmed"]) for row in rows]


class RoomHarness:
    """A room of node A, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.room = Room(ROOM, A, lambda: self.now, lambda _room: None)
        self.replica = self.room.replica

    def join(self, member: Member, capacity: int = 10) -> None:
        self.room.join(member, capacity)

    def claim(self, member: Member) -> None:
        self.room.claim(member)

    def leave(self, incarnation: Incarnation, reason: LeaveReason) -> None:
        self.room.leave(incarnation, reason)

    def send(self) -> Sent | None:
        """The next request that is sent, if any."""
        command = self.room.next_command(KEYS, RedisSettings(), "run")
        if command is None:
            return None
        keys, arguments = command[3 : 3 + command[2]], command[3 + command[2] :]
        nodes = [key.removeprefix(KEYS.inboxes) for key in keys if key.startswith(KEYS.inboxes)]
        (script,) = [one for one in SCRIPTS if one.digest == command[1]]
        request = self.replica.queue.in_flight
        assert request is not None
        return Sent(request, script, nodes, list(arguments[5:]))

    def answer(self, *words: bytes) -> list[Event]:
        """The reply to the request in flight arrives."""
        return self.room.answered(list(words))

    def link_lost(self) -> None:
        self.replica.queue.retry()


def next_request(room: RoomHarness, script: object = None) -> Sent:
    sent = room.send()
    assert sent is not None
    assert script is None or sent.script is script
    return sent


def snapshot(room: RoomHarness, *members: Member, version: int, token: str = "", run_id: str = "run") -> list[Event]:
    return room.replica.apply_snapshot(Snapshot(ROOM, version, run_id, token, [*members]), 0.0, GRACE)


def changes(room: RoomHarness, version: int, *changes: Change, after: int = 0) -> list[Event]:
    return room.replica.apply_changes(Changes(ROOM, after or version - 1, version, [*changes]), 0.0)


def joining(*members: Member) -> RoomHarness:
    room = RoomHarness()
    for member in members or (peer("ana"),):
        room.join(member)
    return room


def make_room() -> RoomHarness:
    """With ana, of this node, and ben, of another; at version 10."""
    made = joining()
    next_request(made, JOIN)
    made.answer(b"OK", b"10")
    snapshot(made, ANA, BEN, version=10)
    return made


def resynced(room: RoomHarness, *members: Member, version: int, run_id: str = "run") -> list[Event]:
    """The answer to a sent for all of the room: its snapshot, then its reply."""
    sent = next_request(room, RESYNC)
    token = str(sent.arguments[0])
    events = snapshot(room, *members, version=version, token=token, run_id=run_id)
    return events + room.answer(b"OK")


def at_a(member: Member, epoch: int = 1) -> Member:
    """A member as it is when its session goes on at node A."""
    return structs.replace(member, node=A, epoch=epoch)


def add_amy(room: RoomHarness) -> None:
    """With another member of this node, at version 11."""
    room.join(peer("amy"), 10)
    next_request(room, JOIN)
    room.answer(b"OK", b"11")
    changes(room, 11, structs.replace(peer("amy"), order=3))


def claim_ben(room: RoomHarness, member: Member = BEN, *, epoch: int = 1) -> list[Event]:
    """Claim a member of another node, and have it: what is heard when that is read, before it is answered."""
    room.claim(at_a(member, epoch))
    next_request(room, CLAIM)
    room.answer(b"OWNER", member.node.encode())
    next_request(room, CLAIM)
    events = changes(room, (room.replica.version or 0) + 1, Moved(member.incarnation, A, epoch))
    assert room.answer(b"OK", b"%d" % (room.replica.version or 0), b"1") == []
    return events


def ben_moved(version: int, old: NodeId = B, node: NodeId = A, epoch: int = 1) -> MemberMoved:
    return MemberMoved(version, BEN.incarnation, old, node, epoch, (B, A))
