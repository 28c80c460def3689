from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mcp_actors.protocol.handover import Handover, MemberState, SessionState
from mcp_actors.sessions.late_handover import EXPECTED_SECONDS, LateHandover
from tests.support.sessions import OTHER_ROOM, ROOM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.node import Membership
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.protocol.outgoing import Relayed


class Recording:
    """A membership that records what it is to send."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, bytes]]] = []

    def deliver_late(self, messages: Sequence[tuple[str, Relayed]]) -> None:
        self.calls.append([(sender, message.body) for sender, message in messages])


def kept(number: int, room: RoomId = ROOM, **fields: str) -> bytes:
    said = "".join(f'"{name}":"{value}",' for name, value in fields.items())
    return f'{{"delivery":{number},{said}"room":"{room}"}}'.encode()


def delivered(received: int, *frames: bytes, last: int) -> dict[RoomId, list[list[tuple[str, bytes]]]]:
    """The messages that rooms are to send from a state, which is handed over twice."""
    late = LateHandover(received, 0.0)
    rooms = {ROOM: Recording(), OTHER_ROOM: Recording()}
    memberships = cast("dict[RoomId, Membership]", rooms)
    late.deliver(memberships)
    late.handed_over(None)
    late.handed_over(Handover(MemberState()))
    late.deliver(memberships)
    for _ in range(2):
        late.handed_over(Handover(MemberState(), SessionState(last, list(frames))))
        late.deliver(memberships)
    return {room: one.calls for room, one in rooms.items()}


def test_each_room_sends_the_messages_of_its_members_that_the_client_lacks() -> None:
    frames = [kept(5, sender="a"), kept(6, sender="b"), kept(7, OTHER_ROOM, sender="c"), kept(8, sender="a")]
    assert delivered(5, *frames, last=8) == {
        ROOM: [[("b", b'"sender":"b","room":"room"}'), ("a", b'"sender":"a","room":"room"}')]],
        OTHER_ROOM: [[("c", b'"sender":"c","room":"other"}')]],
    }


def test_messages_of_other_nodes_and_of_the_server_are_not_sent() -> None:
    frames = [kept(1, at="1-0.0@n", sender="a"), kept(2, type="ack"), b'{"delivery":3,"type":"reconnect"}']
    assert delivered(0, *frames, last=3) == {ROOM: [[]], OTHER_ROOM: [[]]}


def test_a_message_with_half_a_character_is_sent_as_it_is() -> None:
    frame = kept(1, sender="a", text="hi \\ud83d")
    assert delivered(0, frame, last=1)[ROOM] == [[("a", frame[len(b'{"delivery":1,') :])]]


def test_a_state_is_expected_for_some_time_and_not_again_once_it_is_delivered() -> None:
    late = LateHandover(0, 100.0)
    assert late.is_expected(100.0)
    assert not late.is_expected(100.0 + EXPECTED_SECONDS)
    late.handed_over(Handover(MemberState(), SessionState(0, [])))
    late.deliver({})
    assert not late.is_expected(100.0)
