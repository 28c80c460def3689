from __future__ import annotations

import msgspec
import pytest

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    Event,
    JoinRefused,
    Kind,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    MemberMarked,
)
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId

MEMBER = Member(Kind.PEER, PeerId("peer123"), Incarnation("node.1"), NodeId("node"), {"name": "Ana"})


def test_a_member_has_no_order_until_the_broker_gives_one() -> None:
    assert MEMBER.order == 0


@pytest.mark.parametrize(
    ("away", "owner", "newcomer_owns", "yields"),
    [
        (False, False, False, False),
        (True, False, False, True),
        (False, True, False, False),
        (True, True, False, False),
        (False, False, True, True),
        (True, False, True, True),
        (False, True, True, True),
        (True, True, True, True),
    ],
)
def test_an_owner_has_its_id_from_anybody_and_others_only_from_who_is_away_and_no_owner(
    away: bool, owner: bool, newcomer_owns: bool, yields: bool
) -> None:
    holder = msgspec.structs.replace(MEMBER, away=away, verified=owner)
    assert holder.yields_to(msgspec.structs.replace(MEMBER, verified=newcomer_owns)) is yields


@pytest.mark.parametrize(
    "event",
    [
        MemberJoined(1, MEMBER),
        MemberLeft(2, Incarnation("node.1"), LeaveReason.DISCONNECTED),
        MemberMarked(3, Incarnation("node.1"), away=True),
        JoinRefused(Incarnation("node.1"), ErrorCode.ROOM_FULL),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_is_frozen_and_survives_the_way_between_nodes(event: Event) -> None:
    with pytest.raises(AttributeError):
        event.version = 9  # type: ignore[union-attr, misc]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=type(event)) == event


def test_kinds_and_reasons_are_the_words_of_the_wire() -> None:
    assert set(Kind) == {"peer", "user"}
    assert set(LeaveReason) == {"left", "disconnected", "timeout", "node-lost", "replaced", "kicked", "room-closed"}
