from __future__ import annotations

import msgspec
import pytest

from mcp_actors.protocol import handover
from mcp_actors.protocol.events import Step
from mcp_actors.protocol.handover import Behind, Handover, LeftBehind, MemberState, Offers, Pending, SessionState
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RoomId

BEN = Incarnation("s.ben-1")
MEMBER = MemberState(
    watching=True,
    offers=[Offers(BEN, 3, 4)],
    pending=[
        Pending(7, "an id", PeerId("ben"), [BEN], Step("offer", 3)),
        Pending(8, 9, None, [BEN, Incarnation("s.cia-1")], None),
    ],
)
SESSION = SessionState(41, [b'{"delivery":40,"x":"\xc3\xa9"}', b"\x00\xff"])


@pytest.mark.parametrize("session", [SESSION, None])
@pytest.mark.parametrize("at", ["", "5-1.999999@abcdefgh"])
def test_what_is_handed_over_is_read_as_it_was_written(session: SessionState | None, at: str) -> None:
    told = Handover(MEMBER, session, at)
    assert handover.unpack(handover.pack(told)) == told


def test_what_is_left_behind_is_read_as_it_was_written() -> None:
    left = LeftBehind(SESSION, [Behind(RoomId("room"), MEMBER, "5-1.999999@abcdefgh")])
    assert handover.unpack_left(handover.pack(left)) == left


def test_a_member_of_whom_nothing_is_known_takes_little() -> None:
    assert len(handover.pack(Handover(MemberState()))) < 10


def test_an_empty_state_is_that_of_a_member_whose_node_is_dead() -> None:
    told = handover.unpack(handover.pack(Handover(MemberState())))
    assert told.member == MemberState()
    assert told.session is None


def test_what_is_no_handover_is_not_taken_for_one() -> None:
    with pytest.raises(msgspec.ValidationError):
        handover.unpack(msgspec.msgpack.encode(["watching", None]))
