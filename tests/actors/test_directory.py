from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from mcp_actors.actors.directory import Directory
from mcp_actors.actors.mail import Call
from mcp_actors.actors.room import RoomActor
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.protocol.errors import RoomFull, Unavailable
from mcp_actors.protocol.events import Kind, LeaveReason, Member, MemberLeft
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from tests.support.loop import RecordingClient, until
from tests.support.rooms import OtherNodes

if TYPE_CHECKING:
    import pykka


ROOM = RoomId("room123")
OTHER = RoomId("room456")
NODE = NodeId("node")
MANY = 2000


def _directory(*, capacity: int = 10, max_rooms: int = MANY) -> Directory:
    return Directory(MemoryBroker(), capacity=capacity, max_rooms=max_rooms, max_pending_acks=100, max_inbox=100)


def _peer(name: str, incarnation: str = "") -> Member:
    return Member(Kind.PEER, PeerId(name), Incarnation(incarnation or name), NODE, {})


async def _enter(ref: pykka.ActorRef[RoomActor], name: str) -> None:
    await ref.ask(Call(RoomActor.enter, (_peer(name), RecordingClient(), False, False)), block=False)


async def _exit(ref: pykka.ActorRef[RoomActor], name: str) -> None:
    await ref.ask(Call(RoomActor.leave, (Incarnation(name), LeaveReason.LEFT)), block=False)


async def test_a_room_is_started_when_it_is_first_asked_for() -> None:
    directory = _directory()
    assert len(directory) == 0
    ref = directory.room(ROOM)
    assert ref.is_alive()
    assert len(directory) == 1


async def test_each_room_has_one_actor() -> None:
    directory = _directory()
    assert directory.room(ROOM) is directory.room(ROOM)
    assert directory.room(OTHER) is not directory.room(ROOM)
    assert len(directory) == 2


async def test_a_room_with_members_stays() -> None:
    directory = _directory()
    ref = directory.room(ROOM)
    await _enter(ref, "ana")
    await _enter(ref, "ben")
    await _exit(ref, "ana")
    assert ref.is_alive()
    assert directory.room(ROOM) is ref


async def test_an_empty_room_leaves_the_directory_and_stops() -> None:
    directory = _directory()
    ref = directory.room(ROOM)
    await _enter(ref, "ana")
    await _exit(ref, "ana")
    await until(lambda: len(directory) == 0, "the room's retirement")
    assert not ref.is_alive()


async def test_a_room_that_has_refused_its_only_join_leaves_the_directory() -> None:
    directory = _directory(capacity=0)
    ref = directory.room(ROOM)
    with pytest.raises(RoomFull):
        await _enter(ref, "ana")
    await until(lambda: len(directory) == 0, "the room's retirement")
    assert not ref.is_alive()


async def test_a_room_that_is_asked_for_after_it_retired_is_a_new_one() -> None:
    directory = _directory()
    old = directory.room(ROOM)
    await _enter(old, "ana")
    await _exit(old, "ana")
    await until(lambda: len(directory) == 0, "the room's retirement")
    new = directory.room(ROOM)
    assert new is not old
    await _enter(new, "ana")
    assert new.is_alive()


async def test_the_number_of_open_rooms_is_bounded() -> None:
    directory = _directory(max_rooms=2)
    refs = [directory.room(RoomId(name)) for name in ("a", "b")]
    with pytest.raises(Unavailable, match="holds 2 rooms"):
        directory.room(RoomId("c"))
    assert len(directory) == 2
    assert directory.room(RoomId("a")) is refs[0]


async def test_another_room_may_open_when_one_retires() -> None:
    directory = _directory(max_rooms=1)
    ref = directory.room(ROOM)
    await _enter(ref, "ana")
    with pytest.raises(Unavailable):
        directory.room(OTHER)
    await _exit(ref, "ana")
    await until(lambda: len(directory) == 0, "the room's retirement")
    assert directory.room(OTHER).is_alive()


async def test_events_of_a_room_that_is_not_open_are_dropped() -> None:
    broker = MemoryBroker()
    directory = Directory(broker, capacity=10, max_rooms=10, max_pending_acks=100, max_inbox=100)
    broker.join(ROOM, _peer("ana"), 10)
    broker.leave(ROOM, Incarnation("ana"), LeaveReason.LEFT)
    assert len(directory) == 0


async def test_events_reach_their_room_only() -> None:
    broker = OtherNodes()
    directory = Directory(broker, capacity=10, max_rooms=10, max_pending_acks=100, max_inbox=100)
    here, there = directory.room(ROOM), directory.room(OTHER)
    broker.say(MemberLeft(1, Incarnation("nobody"), LeaveReason.LEFT))
    assert len(here.actor_inbox) == 1  # type: ignore[arg-type]
    assert len(there.actor_inbox) == 0  # type: ignore[arg-type]


async def test_the_broker_waits_for_a_room_with_a_full_inbox() -> None:
    broker = OtherNodes()
    directory = Directory(broker, capacity=10, max_rooms=10, max_pending_acks=100, max_inbox=2)
    directory.room(ROOM)
    event = MemberLeft(1, Incarnation("nobody"), LeaveReason.LEFT)
    waits = [broker.say(event) for _ in range(3)]
    assert waits[:2] == [None, None]
    assert waits[2] is not None
    await waits[2]


async def test_the_roster_of_a_room_has_its_members_on_all_nodes() -> None:
    broker = OtherNodes()
    directory = Directory(broker, capacity=10, max_rooms=10, max_pending_acks=100, max_inbox=100)
    await _enter(directory.room(ROOM), "ana")
    broker.remote(Kind.PEER, "ben")
    await until(lambda: len(directory.roster(ROOM)) == 2, "the remote peer")
    assert [member.id for member in directory.roster(ROOM)] == ["ana", "ben"]
    assert directory.ids() == [ROOM]
    assert directory.roster(OTHER) == []


async def test_two_thousand_rooms_start_and_retire_without_a_thread() -> None:
    threads = threading.active_count()
    directory = _directory()
    rooms = [directory.room(RoomId(f"room{number}")) for number in range(MANY)]
    answers = [
        ref.ask(Call(RoomActor.enter, (_peer("ana"), RecordingClient(), False, False)), block=False) for ref in rooms
    ]
    for answer in answers:
        await answer
    assert len(directory) == MANY
    assert threading.active_count() == threads
    for ref in rooms:
        ref.tell(Call(RoomActor.leave, (Incarnation("ana"), LeaveReason.DISCONNECTED)))
    await until(lambda: len(directory) == 0, "the rooms' retirement")
    assert not any(ref.is_alive() for ref in rooms)
    assert threading.active_count() == threads
