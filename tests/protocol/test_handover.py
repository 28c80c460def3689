from __future__ import annotations

import msgspec
import pytest

from mcp_actors.protocol import handover
from mcp_actors.protocol.events import NegotiationStep
from mcp_actors.protocol.handover import Behind, Handover, LeftBehind, MemberState, Offers, Pending, SessionState
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RoomId

BEN = Incarnation("s.ben-1")
MEMBER = MemberState(
    watching=True,
    offers=[Offers(BEN, 3, 4)],
    pending=[
        Pending(7, "an id", PeerId("ben"), {BEN: 0}, NegotiationStep("offer", 3)),
        Pending(8, 9, None, {BEN: 0, Incarnation("s.cia-1"): 2}, None),
    ],
)
SESSION = SessionState(41, [b'{"delivery":40,"x":"\xc3\xa9"}', b"\x00\xff"])


@pytest.mark.parametrize("session", [SESSION, None])
@pytest.mark.parametrize("offset", ["", "5-1.999999@abcdefgh"])
def test_a_handover_is_unpacked_as_it_was_packed(session: SessionState | None, offset: str) -> None:
    told = Handover(MEMBER, session, offset)
    assert handover.unpack(handover.pack(told)) == told


def test_the_state_that_a_stopped_node_left_is_unpacked_as_it_was_packed() -> None:
    left = LeftBehind(SESSION, [Behind(RoomId("room"), MEMBER, "5-1.999999@abcdefgh")])
    assert handover.unpack_left(handover.pack(left)) == left


def test_an_empty_state_is_small() -> None:
    assert len(handover.pack(Handover(MemberState()))) < 10


def test_an_empty_state_is_unpacked() -> None:
    told = handover.unpack(handover.pack(Handover(MemberState())))
    assert told.member == MemberState()
    assert told.session is None


def test_other_data_is_not_unpacked_as_a_handover() -> None:
    with pytest.raises(msgspec.ValidationError):
        handover.unpack(msgspec.msgpack.encode(["watching", None]))
