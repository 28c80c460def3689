"""What a process without others records of its rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.events import Kind, LeaveReason, Member
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from mcp_actors.webhooks.recorder import Recorder

if TYPE_CHECKING:
    from mcp_actors.broker.event_log import MembershipEvent

ROOM = RoomId("r")


def member(name: str) -> Member:
    return Member(Kind.PEER, PeerId(name), Incarnation(f"s.{name}"), NodeId("n"), {"name": name})


def told(events: list[MembershipEvent]) -> list[tuple[str, str]]:
    return [(one.type.value, one.id) for one in events]


def test_a_room_is_opened_by_its_first_member_and_closed_by_its_last() -> None:
    events: list[MembershipEvent] = []
    recorder = Recorder(events.append)
    recorder.room_opened(ROOM)
    recorder.member_joined(ROOM, member("a"))
    recorder.member_left(ROOM, member("a"), LeaveReason.REPLACED)
    recorder.member_joined(ROOM, member("b"))
    recorder.member_left(ROOM, member("b"), LeaveReason.LEFT)
    recorder.room_closed(ROOM)
    assert told(events) == [
        ("room-opened", "a"),
        ("member-joined", "a"),
        ("member-left", "a"),
        ("member-joined", "b"),
        ("member-left", "b"),
        ("room-closed", "b"),
    ]
    assert [one.reason for one in events] == [None, None, "replaced", None, "left", None]


def test_a_room_that_nobody_entered_was_not_there() -> None:
    events: list[MembershipEvent] = []
    recorder = Recorder(events.append)
    recorder.room_opened(ROOM)
    recorder.room_closed(ROOM)
    assert events == []
