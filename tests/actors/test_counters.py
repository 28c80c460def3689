"""Counts of rooms and members, as an observer."""

from __future__ import annotations

from mcp_actors.actors.counters import RoomCounters
from mcp_actors.protocol.events import Kind, LeaveReason, Member
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId

ROOM = RoomId("r")
PEER = Member(Kind.PEER, PeerId("p"), Incarnation("1"), NodeId("n"), {})
USER = Member(Kind.USER, UserId("u"), Incarnation("2"), NodeId("n"), {})


def test_rooms_and_members_are_counted_as_they_come_and_go() -> None:
    counters = RoomCounters()
    counters.room_opened(ROOM)
    counters.room_opened(RoomId("s"))
    for member in (PEER, USER, USER):
        counters.member_joined(ROOM, member)
    counters.member_left(ROOM, USER, LeaveReason.KICKED)
    counters.member_left(ROOM, PEER, None)
    counters.room_closed(ROOM)
    assert (counters.open, counters.opened) == (1, 2)
    assert dict(counters.members) == {Kind.PEER: 0, Kind.USER: 1}
    assert dict(counters.joins) == {Kind.PEER: 1, Kind.USER: 2}
    assert dict(counters.leaves) == {(Kind.USER, LeaveReason.KICKED): 1, (Kind.PEER, None): 1}
