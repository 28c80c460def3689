"""Events as tests make them."""

from __future__ import annotations

from mcp_actors.broker.event_log import EventType, MembershipEvent
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import Incarnation, RoomId


def event(number: int, room: str = "r", kind: EventType = EventType.MEMBER_JOINED) -> MembershipEvent:
    """An event about the peer with a number."""
    reason = LeaveReason.LEFT if kind is EventType.MEMBER_LEFT else None
    name = str(number)
    return MembershipEvent(kind, RoomId(room), Incarnation(f"s.{name}"), Kind.PEER, name, False, {"n": number}, reason)
