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
    PresenceChanged,
)
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId

MEMBER = Member(Kind.PEER, PeerId("peer123"), Incarnation("node.1"), NodeId("node"), {"name": "Ana"})


def test_a_member_has_no_order_until_the_broker_gives_one() -> None:
    assert MEMBER.order == 0


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("owner", [False, True])
def test_a_rival_yields_its_id_to_the_owner_alone(owner: bool, detached: bool, verified: bool) -> None:
    holder = msgspec.structs.replace(MEMBER, detached=detached, verified=verified)
    assert holder.yields_to(msgspec.structs.replace(MEMBER, verified=owner)) is owner


@pytest.mark.parametrize(
    "event",
    [
        MemberJoined(1, MEMBER),
        MemberLeft(2, Incarnation("node.1"), LeaveReason.DISCONNECTED),
        PresenceChanged(3, Incarnation("node.1"), detached=True),
        JoinRefused(Incarnation("node.1"), ErrorCode.ROOM_FULL),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_is_frozen_and_can_be_packed(event: Event) -> None:
    with pytest.raises(AttributeError):
        event.version = 9  # type: ignore[attr-defined]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=type(event)) == event


def test_kinds_and_reasons_have_the_words_of_the_protocol() -> None:
    assert set(Kind) == {"peer", "user"}
    assert set(LeaveReason) == {"left", "disconnected", "timeout", "node-lost", "replaced", "kicked", "room-closed"}
