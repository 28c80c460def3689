from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.actors.observers import Observers
from mcp_actors.protocol.events import Kind, LeaveReason, Member
from mcp_actors.protocol.identifiers import Incarnation, PeerId
from tests.support.rooms import NODE, ROOM

if TYPE_CHECKING:
    from mcp_actors.protocol.identifiers import RoomId
    from tests.conftest import ExpectedLogs

ANA = Member(Kind.PEER, PeerId("ana"), Incarnation("1"), NODE, {})


class Recorder:
    """An observer that records its calls, and fails after that if it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.calls: list[tuple[object, ...]] = []
        self._fails = fails

    def room_opened(self, room: RoomId) -> None:
        self._note("opened", room)

    def room_closed(self, room: RoomId) -> None:
        self._note("closed", room)

    def member_joined(self, room: RoomId, member: Member) -> None:
        self._note("joined", room, member)

    def member_left(self, room: RoomId, member: Member, reason: LeaveReason | None) -> None:
        self._note("left", room, member, reason)

    def _note(self, *call: object) -> None:
        self.calls.append(call)
        if self._fails:
            raise ValueError("broken")


def test_an_observer_that_fails_is_logged_once_and_harms_no_other(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.room", "membership observer failed")
    observers, broken, sound = Observers(), Recorder(fails=True), Recorder()
    observers.add(broken)
    observers.add(sound)
    observers.notify(lambda observer: observer.room_opened(ROOM))
    observers.notify(lambda observer: observer.member_joined(ROOM, ANA))
    observers.notify(lambda observer: observer.member_left(ROOM, ANA, None))
    observers.notify(lambda observer: observer.room_closed(ROOM))
    assert sound.calls == [("opened", ROOM), ("joined", ROOM, ANA), ("left", ROOM, ANA, None), ("closed", ROOM)]
    assert broken.calls == sound.calls
