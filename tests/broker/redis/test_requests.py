from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import structs

from mcp_actors.broker.redis.entries import Snapshot, StoredMember
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.requests import Operation, Request, RequestQueue
from mcp_actors.broker.redis.room import Room
from mcp_actors.broker.redis.scripts import (
    CLAIM,
    CLOSE,
    JOIN,
    KICK,
    LEAVE,
    LIST_BANS,
    LOCK,
    RESYNC,
    SET_PRESENCE,
    UNBAN,
    UPDATE,
    Script,
)
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.events import LeaveReason
from tests.broker.redis.lua import ROOM, A, B, peer

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = Keys("test", 0, 1)
ANA = structs.replace(peer("ana"), order=1)
BEN = structs.replace(peer("ben", B), order=2)
WHO = ["peer:ana", ANA.incarnation]


def _room() -> Room:
    """With ana of this node, and ben of another."""
    room = Room(ROOM, A, lambda: 0.0, lambda _room: None)
    room.join(ANA, 7, moderator=True)
    _sent(room, JOIN)
    room.answered([b"OK", b"10"])
    room.replica.apply_snapshot(Snapshot(ROOM, 10, "run", "", [ANA, BEN]), 0.0, 9.0)
    return room


def _sent(room: Room, script: Script) -> list[Any]:
    """The arguments of the script alone, after those that all scripts of rooms have."""
    command = room.next_command(KEYS, RedisSettings(resume_window=30.0), "run")
    assert command is not None
    assert command[1] == script.digest
    keys, arguments = command[3 : 3 + command[2]], command[3 + command[2] :]
    own = KEYS.of_room(ROOM, [A])
    assert keys[: len(own)] == own
    assert arguments[:5] == (A, ROOM, KEYS.inboxes, 50_000, "run")
    return list(arguments[5:])


def test_a_join_sends_the_member_the_capacity_and_whether_a_snapshot_is_needed() -> None:
    room = Room(ROOM, A, lambda: 0.0, lambda _room: None)
    room.join(ANA, 7, moderator=True)
    stored, *rest = _sent(room, JOIN)
    assert msgspec.msgpack.decode(stored, type=StoredMember).restored() == structs.replace(ANA, order=0)
    assert rest == [7, "1", "1"]


def test_a_claim_sends_the_epoch_and_the_owner_once_it_is_known() -> None:
    room = Room(ROOM, A, lambda: 0.0, lambda _room: None)
    room.claim(structs.replace(BEN, node=A, epoch=2))
    assert _sent(room, CLAIM) == ["peer:ben", BEN.incarnation, 2, "1", ""]
    room.answered([b"OWNER", b"b"])
    assert _sent(room, CLAIM) == ["peer:ben", BEN.incarnation, 2, "1", B]


def test_a_claim_sends_the_owner_at_once_if_the_room_knows_it() -> None:
    room = _room()
    room.claim(structs.replace(BEN, node=A, epoch=2))
    assert _sent(room, CLAIM) == ["peer:ben", BEN.incarnation, 2, "", B]


@pytest.mark.parametrize(
    ("request_", "script", "arguments"),
    [
        (lambda room: room.leave(ANA.incarnation, LeaveReason.LEFT), LEAVE, ["left"]),
        (lambda room: room.set_presence(ANA.incarnation, detached=True), SET_PRESENCE, ["1", ""]),
        (
            lambda room: room.set_presence(ANA.incarnation, detached=False, address="192.0.2.1"),
            SET_PRESENCE,
            ["0", "192.0.2.1"],
        ),
        (lambda room: room.moderate(ANA.incarnation, Operation.UPDATE, ("{}",)), UPDATE, ["{}"]),
        (lambda room: room.moderate(ANA.incarnation, Operation.LOCK, ()), LOCK, ["1"]),
        (lambda room: room.moderate(ANA.incarnation, Operation.UNLOCK, ()), LOCK, ["0"]),
        (lambda room: room.moderate(ANA.incarnation, Operation.CLOSE, ("{}",)), CLOSE, [30_000, "{}"]),
        (
            lambda room: room.moderate(ANA.incarnation, Operation.KICK, ("user", "uma", "{}", 5000)),
            KICK,
            ["user", "uma", 30_000, "{}", 5000, 256],
        ),
        (lambda room: room.moderate(ANA.incarnation, Operation.LIST_BANS, ()), LIST_BANS, []),
        (lambda room: room.moderate(ANA.incarnation, Operation.UNBAN, ("user", "uma")), UNBAN, ["user", "uma"]),
    ],
    ids=["leave", "detach", "attach", "update", "lock", "unlock", "close", "kick", "list bans", "unban"],
)
def test_other_requests_name_the_member(
    request_: Callable[[Room], object], script: Script, arguments: list[object]
) -> None:
    room = _room()
    request_(room)
    assert _sent(room, script) == [*WHO, *arguments]


def test_a_resync_announces_the_members_of_this_node_as_the_room_knows_them() -> None:
    room = _room()
    room.set_presence(ANA.incarnation, detached=True)
    room.replica.resync(0.0)
    token, lock, packed, *_rest = _sent(room, RESYNC)
    assert (token, lock) == ("1", 0)
    (row,) = msgspec.msgpack.decode(packed)
    announced = msgspec.convert(row["member"], StoredMember).restored()
    assert (announced, row["confirmed"]) == (structs.replace(ANA, detached=True), True)


def test_an_expiry_without_members_is_not_sent() -> None:
    room = _room()
    room.replica.queue.add(Operation.EXPIRE, peer("nobody").incarnation)
    assert room.next_command(KEYS, RedisSettings(), "run") is None
    assert room.replica.queue.empty


def test_requests_are_sent_one_at_a_time_in_order() -> None:
    queue = RequestQueue()
    queue.add(Operation.JOIN, ANA.incarnation)
    queue.add(Operation.LEAVE, ANA.incarnation)
    assert queue.next(0.0) == Request(Operation.JOIN, (ANA.incarnation,))
    assert queue.next(0.0) is None
    queue.retry()
    assert queue.next(0.0) == queue.finish() == Request(Operation.JOIN, (ANA.incarnation,))
    assert queue.next(0.0) == Request(Operation.LEAVE, (ANA.incarnation,))


@pytest.mark.parametrize("operation", [Operation.JOIN, Operation.UPDATE, Operation.KICK, Operation.CLOSE])
def test_requests_that_need_all_members_wait_for_the_recovery(operation: Operation) -> None:
    queue = RequestQueue()
    queue.not_before = 5.0
    queue.add(operation, ANA.incarnation)
    assert queue.next(4.9) is None
    assert queue.blocked
    assert queue.next(5.0) is not None
