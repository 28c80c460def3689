from __future__ import annotations

import pytest

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import NotInRoom, Unavailable
from mcp_actors.protocol.events import Kind, Member
from mcp_actors.protocol.identifiers import Incarnation, PeerId
from mcp_actors.room.pending import Claim, Held, Join, Leave, ModerationRequest, PendingRequests
from tests.support.rooms import NODE, ROOM, signal

ANA, BEN = Incarnation("ana"), Incarnation("ben")
LOCK, UNLOCK = wire.Lock(room=ROOM), wire.Unlock(room=ROOM)


def join(reply: object = None) -> Join:
    return Join(Member(Kind.PEER, PeerId("ana"), ANA, NODE, {}), reply=reply)


def test_the_requests_of_a_member_are_taken_by_kind_in_the_order_in_which_they_came() -> None:
    pending = PendingRequests(9)
    first, second = ModerationRequest(LOCK), ModerationRequest(UNLOCK)
    for request in (first, Leave(), second):
        pending.add(ANA, request)
    assert pending.of(ANA, ModerationRequest) == [first, second]
    assert pending.take(ANA, ModerationRequest) is first
    assert pending.find(ANA, ModerationRequest) is second
    assert pending.take(BEN, Leave) is None
    assert pending.take(ANA, Leave) is not None
    assert pending.take(ANA, Leave) is None
    assert list(pending.moderation()) == [second]


def test_a_table_without_requests_is_empty() -> None:
    pending = PendingRequests(9)
    assert not pending
    pending.add(ANA, Claim(1))
    assert pending
    assert pending.waits_for(Join, Claim)
    assert not pending.waits_for(Join, Leave)
    pending.take(ANA, Claim)
    assert not pending


def test_messages_are_held_behind_a_join_only_and_up_to_a_bound() -> None:
    pending = PendingRequests(1)
    held = Held(*signal("ben"))
    pending.add(ANA, join())
    pending.add(BEN, Leave())
    pending.hold(ANA, held)
    with pytest.raises(Unavailable):
        pending.hold(ANA, held)
    with pytest.raises(NotInRoom):
        pending.hold(BEN, held)
    found = pending.take(ANA, Join)
    assert found is not None
    assert found.held == [held]


def test_every_reply_is_found_with_those_of_held_and_repeated_requests() -> None:
    pending = PendingRequests(9)
    pending.add(ANA, join(1))
    pending.hold(ANA, Held(LOCK, reply=2))
    pending.add(ANA, Leave(reply=3))
    pending.add(BEN, ModerationRequest(LOCK, 4, repeats=[5]))
    assert pending.replies() == [1, 2, 3, 4, 5]
    assert pending.take_replies(ANA, Leave) == [3]
    assert pending.take_replies(BEN, Leave, ModerationRequest) == [4, 5]
    assert pending.replies() == [1, 2]
