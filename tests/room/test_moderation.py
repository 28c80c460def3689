"""What a room answers its moderators, and what its members hear of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import NotInRoom, PeerNotFound, Unavailable
from mcp_actors.protocol.events import (
    Kind,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    Moderated,
    RoomClosed,
    RoomLocked,
)
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from mcp_actors.room.room import Entry, Greeting, Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.room.effects import Send

ROOM = RoomId("r")
MO, BEN, FAR = Incarnation("mo.1"), Incarnation("ben.1"), Incarnation("far.1")


def member(incarnation: Incarnation, node: str = "here") -> Member:
    name = PeerId(incarnation.partition(".")[0])
    return Member(Kind.PEER, name, incarnation, NodeId(node), {}, order=1)


@pytest.fixture
def room() -> Room:
    """With `mo` and `ben`, and `far` at another node."""
    made = Room(ROOM, 10, 10)
    for version, one in enumerate((MO, BEN, FAR), 1):
        if one != FAR:
            made.enter(Entry(member(one), Greeting()))
        made.heard(MemberJoined(version, member(one, "there" if one == FAR else "here")))
    return made


def told(sends: Sequence[Send]) -> list[tuple[list[Incarnation], dict[str, Any]]]:
    return [(list(send.to), json.loads(send.frame)) for send in sends]


def kick(name: str, request_id: int | None = 1, *, again: bool = False) -> wire.Kick:
    return wire.Kick(room=ROOM, payload=wire.KickPayload(peer_id=PeerId(name)), id=request_id, again=again)


LOCKED = {"type": "room-locked", "room": "r"}


def test_a_kick_is_answered_when_all_of_it_was_heard(room: Room) -> None:
    room.moderate(MO, kick("ben"))
    assert told(room.heard(MemberLeft(4, BEN, LeaveReason.KICKED))) == [
        ([MO], {"type": "peer-left", "room": "r", "payload": {"peer_id": "ben", "reason": "kicked"}}),
        ([BEN], {"type": "kicked", "room": "r", "payload": {"peer_id": "ben"}}),
    ]
    answer = {"type": "kicked", "room": "r", "id": 1, "payload": {"peer_id": "ben"}}
    assert told(room.moderated(Moderated(MO, done=True))) == [([MO], answer)]
    assert room.moderated(Moderated(MO, done=True)) == []


def test_a_kick_that_was_done_before_the_answer_was_lost_is_done(room: Room) -> None:
    room.moderate(MO, kick("far"))
    room.heard(MemberLeft(4, FAR, LeaveReason.KICKED))
    assert [frame["type"] for _, frame in told(room.moderated(Moderated(MO, done=False)))] == ["kicked"]


def test_a_kick_of_somebody_who_left_meanwhile_finds_nobody(room: Room) -> None:
    room.moderate(MO, kick("far"))
    room.heard(MemberLeft(4, FAR, LeaveReason.LEFT))
    with pytest.raises(PeerNotFound):
        room.moderated(Moderated(MO, done=False))


def test_what_cannot_be_done_is_told(room: Room) -> None:
    room.moderate(MO, kick("ben"))
    with pytest.raises(Unavailable):
        room.moderated(Moderated(MO, done=False, failed=True))
    room.moderate(MO, kick("ben"))


def test_a_moderator_has_one_request_under_way(room: Room) -> None:
    room.moderate(MO, kick("ben"))
    with pytest.raises(Unavailable):
        room.moderate(MO, kick("far"))
    room.moderate(BEN, kick("mo"))


def test_what_a_moderator_sends_again_while_it_is_under_way_is_asked_once(room: Room) -> None:
    assert room.moderate(MO, kick("ben"))
    assert not room.moderate(MO, kick("ben", again=True))
    room.heard(MemberLeft(4, BEN, LeaveReason.KICKED))
    assert not room.moderate(MO, kick("ben", again=True))
    assert [frame["id"] for _, frame in told(room.moderated(Moderated(MO, done=True)))] == [1]
    with pytest.raises(PeerNotFound):
        room.moderate(MO, kick("ben", again=True))


@pytest.mark.parametrize(("first", "second"), [(1, 2), (None, None)], ids=["another", "without an id"])
def test_what_is_sent_again_is_known_by_its_id(room: Room, first: int | None, second: int | None) -> None:
    room.moderate(MO, kick("ben", first))
    with pytest.raises(Unavailable):
        room.moderate(MO, kick("ben", second, again=True))


def test_what_was_not_done_before_is_done_when_it_is_sent_again(room: Room) -> None:
    assert room.moderate(MO, wire.Lock(room=ROOM, id=7, again=True))


@pytest.mark.parametrize("name", ["eve", "r"])
def test_who_is_not_there_is_not_asked_for(room: Room, name: str) -> None:
    with pytest.raises(PeerNotFound):
        room.moderate(MO, kick(name))
    with pytest.raises(NotInRoom):
        room.moderate(FAR, kick("ben"))


def test_a_request_without_an_id_has_no_answer(room: Room) -> None:
    room.moderate(MO, kick("far", None))
    room.heard(MemberLeft(4, FAR, LeaveReason.KICKED))
    assert room.moderated(Moderated(MO, done=True)) == []


def test_all_hear_of_a_lock_and_its_moderator_by_the_id_of_the_request(room: Room) -> None:
    room.moderate(MO, wire.Lock(room=ROOM, id=7))
    assert told(room.lock(RoomLocked(4, locked=True, by=MO))) == [([BEN], LOCKED), ([MO], LOCKED | {"id": 7})]
    assert room.moderated(Moderated(MO, done=True)) == []
    assert room.locked
    assert room.lock(RoomLocked(5, locked=True)) == []


def test_who_locks_a_room_that_is_locked_is_answered_alone(room: Room) -> None:
    room.lock(RoomLocked(4, locked=True, by=FAR))
    room.moderate(MO, wire.Lock(room=ROOM, id=7))
    assert told(room.moderated(Moderated(MO, done=False))) == [([MO], LOCKED | {"id": 7})]


def test_the_request_of_a_moderator_who_is_kicked_meanwhile_names_no_answer(room: Room) -> None:
    room.moderate(BEN, wire.Lock(room=ROOM, id=7))
    *_, (to, frame) = told(room.heard(MemberLeft(4, BEN, LeaveReason.KICKED)))
    assert (to, frame) == ([BEN], {"type": "kicked", "room": "r", "payload": {"peer_id": "ben"}})
    assert room.moderated(Moderated(BEN, done=False)) == []


def test_a_closed_room_is_told_in_one_frame_and_is_empty(room: Room) -> None:
    room.lock(RoomLocked(4, locked=True, by=FAR))
    (send,) = room.close(RoomClosed(5, FAR))
    assert told([send]) == [([MO, BEN], {"type": "room-closed", "room": "r"})]
    assert (len(room.roster), room.empty, room.locked, room.version) == (0, True, False, 5)


def test_a_join_under_way_outlasts_the_end_of_the_room(room: Room) -> None:
    eve = Incarnation("eve.1")
    room.enter(Entry(member(eve), Greeting()))
    room.close(RoomClosed(4, MO))
    (send,) = room.heard(MemberJoined(5, member(eve)))
    assert json.loads(send.frame)["type"] == "joined"
