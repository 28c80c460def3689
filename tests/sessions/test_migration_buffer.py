from __future__ import annotations

import asyncio

from mcp_actors.protocol.handover import Handover, MemberState, SessionState
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.sessions.migration_buffer import MigrationBuffer
from tests.support.sessions import OTHER_ROOM, ROOM


def handover(number: int) -> Handover:
    return Handover(MemberState(), SessionState(number, []))


async def test_all_rooms_are_waited_for_whether_they_are_handed_over_before_or_after() -> None:
    buffer = MigrationBuffer()
    buffer.handed_over(ROOM, handover(7))
    waiting = asyncio.ensure_future(buffer.wait_for({ROOM, OTHER_ROOM}, 5.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    buffer.handed_over(OTHER_ROOM, None)
    await waiting
    await buffer.wait_for({ROOM, OTHER_ROOM}, 0.0)


async def test_a_room_that_is_not_handed_over_is_not_waited_for_forever() -> None:
    await MigrationBuffer().wait_for({ROOM}, 0.001)


def test_the_first_handover_of_a_room_counts_and_a_lost_node_does_not_undo_it() -> None:
    buffer = MigrationBuffer()
    first = handover(7)
    for told in (None, first, None, handover(8)):
        buffer.handed_over(ROOM, told)
    assert buffer.handovers == {ROOM: first}
    assert buffer.state(0).number == 7


def test_the_state_comes_with_any_of_the_rooms() -> None:
    buffer = MigrationBuffer()
    buffer.handed_over(ROOM, Handover(MemberState()))
    buffer.handed_over(OTHER_ROOM, handover(7))
    assert buffer.state(0) == SessionState(7, [])


def test_the_last_of_several_states_counts() -> None:
    buffer = MigrationBuffer()
    buffer.handed_over(ROOM, handover(7))
    buffer.handed_over(OTHER_ROOM, handover(9))
    assert buffer.state(0).number == 9


def test_rooms_that_are_not_claimed_yet_are_told_once() -> None:
    buffer = MigrationBuffer()
    places = [(str(room), "ana", f"s.{room}", False) for room in (ROOM, OTHER_ROOM)]
    assert not buffer.has_state
    buffer.handed_over(ROOM, Handover(MemberState(), SessionState(1, []), others=places))
    buffer.handed_over(RoomId("third"), Handover(MemberState(), others=places))
    assert buffer.unclaimed({ROOM}) == places[1:]
    assert buffer.has_state


def test_without_a_state_the_numbers_continue_after_the_unknown_messages() -> None:
    assert MigrationBuffer().state(13) == SessionState(13, [])
