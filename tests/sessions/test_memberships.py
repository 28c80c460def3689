from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from mcp_actors.protocol.errors import AlreadyInRoom, Kicked, NotInRoom, RoomClosed, TooManyRooms
from mcp_actors.protocol.events import LeaveReason, Removal
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.sessions.memberships import Memberships
from tests.support.sessions import OTHER_ROOM, ROOM, FakeMembership

if TYPE_CHECKING:
    from mcp_actors.node import Membership


def membership(member_id: str = "ana") -> Membership:
    return cast("Membership", FakeMembership(member_id))


def test_a_membership_is_found_by_its_room_and_no_other() -> None:
    rooms = Memberships(3)
    rooms[ROOM] = one = membership()
    assert rooms.membership(ROOM) is one
    with pytest.raises(NotInRoom):
        rooms.membership(OTHER_ROOM)


def test_a_session_may_be_in_a_room_under_one_id_only() -> None:
    rooms = Memberships(3)
    rooms[ROOM] = membership("ana")
    assert rooms.may_be(ROOM, "ana")
    assert not rooms.may_be(ROOM, "ben")
    assert rooms.may_be(OTHER_ROOM, "ben")


def test_rooms_that_are_joined_are_told_from_those_whose_join_is_pending() -> None:
    rooms = Memberships(3)
    names = [ROOM, OTHER_ROOM, RoomId("third")]
    for room in names:
        rooms[room] = membership()
    rooms.joining[OTHER_ROOM] = 0
    assert list(rooms.joined(except_for={ROOM})) == names[2:]


def test_forbidden_rooms_are_left_and_the_latest_are_remembered() -> None:
    rooms = Memberships(2)
    left, stays = FakeMembership(), FakeMembership()
    rooms[ROOM], rooms[OTHER_ROOM] = cast("Membership", left), cast("Membership", stays)
    rooms.forbid([ROOM, RoomId("not joined")])
    assert (left.told, stays.told, list(rooms)) == ([LeaveReason.LEFT], [], [OTHER_ROOM])
    rooms.forbid([RoomId(f"room {i}") for i in range(3)])
    assert list(rooms.forbidden) == ["not joined", "room 0", "room 1", "room 2"]


def test_a_room_is_joined_once() -> None:
    rooms = Memberships(3)
    rooms.check_join(ROOM)
    rooms[ROOM] = membership()
    with pytest.raises(AlreadyInRoom):
        rooms.check_join(ROOM)


def test_no_more_rooms_are_joined_than_the_limit() -> None:
    rooms = Memberships(2)
    rooms[ROOM], rooms[OTHER_ROOM] = membership(), membership()
    with pytest.raises(TooManyRooms) as refused:
        rooms.check_join(RoomId("third"))
    assert refused.value.details == {"limit": 2}


def test_no_more_rooms_are_being_left_than_the_limit() -> None:
    rooms = Memberships(2)
    for name in "ab":
        rooms.leaving[RoomId(name)] = membership()
    rooms.check_join(ROOM)
    rooms[ROOM] = membership()
    rooms.leaving[RoomId("c")] = membership()
    with pytest.raises(TooManyRooms):
        rooms.check_join(OTHER_ROOM)


def test_rooms_that_are_being_left_are_present_until_a_new_membership_takes_their_place() -> None:
    rooms = Memberships(3)
    old, new, other = membership(), membership(), membership()
    rooms.leaving.update({ROOM: old, OTHER_ROOM: other})
    assert rooms.present() == {ROOM: old, OTHER_ROOM: other}
    rooms[ROOM] = new
    assert rooms.present() == {ROOM: new, OTHER_ROOM: other}


def test_a_membership_that_has_ended_takes_no_other_with_it() -> None:
    rooms = Memberships(3)
    old, new = membership(), membership()
    rooms[ROOM] = new
    rooms.leaving[ROOM] = old
    rooms.discard(ROOM, old)
    assert (dict(rooms), rooms.leaving) == ({ROOM: new}, {})
    rooms.discard(ROOM, old)
    rooms.discard(ROOM, new)
    assert dict(rooms) == {}


@pytest.mark.parametrize(
    ("reason", "error"), [(LeaveReason.KICKED, Kicked), (LeaveReason.ROOM_CLOSED, RoomClosed)], ids=str
)
def test_a_room_that_moderators_removed_the_session_from_refuses_its_return(
    reason: LeaveReason, error: type[Exception]
) -> None:
    rooms = Memberships(3)
    rooms[ROOM] = membership()
    rooms.remove(ROOM, Removal(reason))
    assert ROOM not in rooms
    rooms.check_return(OTHER_ROOM)
    with pytest.raises(error):
        rooms.check_return(ROOM)


def test_a_removal_ends_the_membership_that_is_being_left_and_not_the_next_one() -> None:
    rooms = Memberships(3)
    rooms[ROOM], rooms.leaving[ROOM] = membership(), membership()
    rooms.remove(ROOM, Removal(LeaveReason.KICKED))
    assert (ROOM in rooms, rooms.leaving) == (True, {})


def test_the_latest_removals_are_remembered_up_to_the_limit_of_rooms() -> None:
    rooms = Memberships(2)
    for name in "abc":
        rooms.remove(RoomId(name), Removal(LeaveReason.KICKED))
    assert list(rooms.removed) == ["b", "c"]


def test_all_rooms_are_told_whether_the_client_is_connected_and_when_the_session_ends() -> None:
    rooms = Memberships(3)
    joined, leaving = FakeMembership(), FakeMembership()
    rooms[ROOM] = cast("Membership", joined)
    rooms.leaving[OTHER_ROOM] = cast("Membership", leaving)
    rooms.mark(detached=True)
    rooms.end(LeaveReason.TIMEOUT)
    assert joined.told == ["detached", LeaveReason.TIMEOUT]
    assert leaving.told == []
    assert rooms.present() == {}
