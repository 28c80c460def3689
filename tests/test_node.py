from __future__ import annotations

import asyncio
import gc
import json
from typing import TYPE_CHECKING, cast

import pytest

from mcp_actors.actors.mail import Greeting
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.codec import Limits, peer_decoder, user_decoder
from mcp_actors.protocol.errors import PeerIdTaken, RoomFull, Unavailable
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId, UserId
from tests.support.loop import RecordingOutlet, until

if TYPE_CHECKING:
    from mcp_actors.node import Membership
    from mcp_actors.protocol.messages import Message, Targeted
    from tests.conftest import ExpectedLogs

ROOM = RoomId("room123")
LIMITS = Limits(message_bytes=10_000, metadata_bytes=1000, id_length=128)
SIGNAL = b'{"type": "signal", "room": "room123", "payload": {"target_peer_id": "ben", "data": 1}}'
MESSAGE = b'{"type": "message", "room": "room123", "payload": {"content": "hello"}}'
MAX_INBOX = 10


def _node(*, room_capacity: int = 10, max_rooms: int = 10) -> Node:
    return Node(
        NodeId("node"),
        MemoryBroker(),
        room_capacity=room_capacity,
        max_rooms=max_rooms,
        max_inbox=MAX_INBOX,
        max_unanswered=100,
    )


async def _enter(node: Node, name: str, kind: Kind = Kind.PEER) -> tuple[Membership, RecordingOutlet]:
    outlet = RecordingOutlet()
    membership = node.membership(ROOM, kind, PeerId(name), session="s")
    await membership.enter(outlet, Greeting())
    outlet.frames.clear()
    return membership, outlet


def _signal() -> Targeted:
    return cast("Targeted", peer_decoder(LIMITS).decode(SIGNAL))


def _message() -> Message:
    return cast("Message", user_decoder(LIMITS).decode(MESSAGE))


async def test_a_membership_enters_and_leaves() -> None:
    node, outlet = _node(), RecordingOutlet()
    membership = node.membership(ROOM, Kind.PEER, PeerId("ana"), {"a": 1}, session="s")
    await membership.enter(outlet, Greeting(1, [{"urls": "stun:stun.test"}]))
    await membership.leave(2)
    joined, left = outlet.messages
    assert joined["id"] == 1
    assert joined["payload"]["ice_servers"] == [{"urls": "stun:stun.test"}]
    assert joined["payload"]["peers"] == [{"peer_id": "ana", "metadata": {"a": 1}, "order": 1}]
    assert left == {"type": "left", "room": "room123", "id": 2, "payload": {"peer_id": "ana"}}


async def test_a_user_enters_and_leaves() -> None:
    node, outlet = _node(), RecordingOutlet()
    membership = node.membership(ROOM, Kind.USER, UserId("uma"), session="s")
    await membership.enter(outlet, Greeting())
    await membership.leave(None)
    assert outlet.types == ["room-joined", "room-left"]


async def test_entering_asks_at_once_and_before_it_is_awaited() -> None:
    node = _node()
    first, second = RecordingOutlet(), RecordingOutlet()
    entering = [
        node.membership(ROOM, Kind.PEER, PeerId(name), session="s").enter(outlet, Greeting())
        for name, outlet in (("ana", first), ("ben", second))
    ]
    for entered in reversed(entering):
        await entered
    assert first.types == ["joined", "peer-joined"]
    assert second.types == ["joined"]


async def test_every_membership_is_an_incarnation_of_its_own() -> None:
    node, other = (
        _node(),
        Node(NodeId("other"), MemoryBroker(), room_capacity=1, max_rooms=1, max_inbox=1, max_unanswered=1),
    )
    members = [node.membership(ROOM, Kind.PEER, PeerId("ana"), session="s")._member for _ in range(3)]
    members.append(other.membership(ROOM, Kind.PEER, PeerId("ana"), session="s")._member)
    assert len({member.incarnation for member in members}) == 4
    assert [member.node for member in members] == ["node", "node", "node", "other"]
    assert members[0].metadata is not members[1].metadata


async def test_a_refused_join_raises_its_reason() -> None:
    node = _node(room_capacity=2)
    await _enter(node, "ana")
    with pytest.raises(PeerIdTaken):
        await _enter(node, "ana")
    await _enter(node, "ben")
    with pytest.raises(RoomFull):
        await _enter(node, "cem")


async def test_a_node_that_holds_as_many_rooms_as_it_may_raises_unavailable() -> None:
    node = _node(max_rooms=1)
    await _enter(node, "ana")
    with pytest.raises(Unavailable):
        node.membership(RoomId("another"), Kind.PEER, PeerId("ana"), session="s")
    await _enter(node, "ben")


async def test_signals_and_messages_reach_the_others() -> None:
    node = _node()
    ana, _ = await _enter(node, "ana")
    _, ben = await _enter(node, "ben")
    uma, _ = await _enter(node, "uma", Kind.USER)
    _, vic = await _enter(node, "vic", Kind.USER)
    assert ana.relay(_signal(), SIGNAL) is None
    assert uma.broadcast(_message(), MESSAGE) is None
    await until(lambda: ben.frames and vic.frames, "signal and message")
    assert ben.messages == [{"sender": "ana", **json.loads(SIGNAL)}]
    assert vic.messages == [{"sender": "uma", **json.loads(MESSAGE)}]


async def test_a_connection_that_ends_is_missed() -> None:
    node = _node()
    ana, outlet = await _enter(node, "ana")
    _, ben = await _enter(node, "ben")
    outlet.frames.clear()
    ana.end(LeaveReason.TIMEOUT)
    await until(lambda: ben.frames, "the news")
    assert ben.last()["payload"] == {"peer_id": "ana", "reason": "timeout"}
    assert outlet.frames == []


async def test_who_sends_faster_than_the_room_reads_waits() -> None:
    node = _node()
    ana, _ = await _enter(node, "ana")
    _, ben = await _enter(node, "ben")
    waits = [ana.relay(_signal(), SIGNAL) for _ in range(MAX_INBOX + 2)]
    assert waits[:MAX_INBOX] == [None] * MAX_INBOX
    late = [wait for wait in waits if wait is not None]
    assert len(late) == 2
    assert not any(wait.done() for wait in late)
    await asyncio.wait_for(asyncio.gather(*late), 2)
    assert len(ben.frames) == MAX_INBOX + 2
    assert ana.relay(_signal(), SIGNAL) is None


async def test_the_room_of_the_last_member_is_forgotten() -> None:
    node = _node()
    memberships = [(await _enter(node, name))[0] for name in ("ana", "ben")]
    for membership in memberships:
        await membership.leave(None)
    await until(lambda: len(node.rooms) == 0, "the room's retirement")


async def test_a_membership_in_a_room_that_was_lost_says_so(
    expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("pykka", "Unhandled exception in room 'room123'")
    expected_logs("mcp_actors.room", "room lost")
    node = _node()
    ana, outlet = await _enter(node, "ana")

    def bug(_frame: bytes) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(outlet, "put", bug)
    ben = node.membership(ROOM, Kind.PEER, PeerId("ben"), session="s")
    entering = ben.enter(RecordingOutlet(), Greeting())
    await until(lambda: not ana._room.is_alive(), "the room's end")
    with pytest.raises(Unavailable, match="join it again"):
        await entering
    with pytest.raises(Unavailable, match="join it again"):
        ana.relay(_signal(), SIGNAL)
    with pytest.raises(Unavailable, match="join it again"):
        ana.broadcast(_message(), MESSAGE)
    with pytest.raises(Unavailable, match="join it again"):
        await ana.leave(1)
    with pytest.raises(Unavailable, match="join it again"):
        await ben.enter(RecordingOutlet(), Greeting())
    ana.end(LeaveReason.DISCONNECTED)
    assert len(node.rooms) == 0


async def test_a_leave_that_waits_in_a_room_that_is_lost_says_so(
    expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("pykka", "Unhandled exception")
    expected_logs("mcp_actors.room", "room lost")
    node = _node()
    ana, _ = await _enter(node, "ana")
    _, outlet = await _enter(node, "ben")

    def bug(_frame: bytes) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(outlet, "put", bug)
    ana.relay(_signal(), SIGNAL)
    with pytest.raises(Unavailable):
        await ana.leave(1)


async def test_a_join_in_the_same_turn_as_the_last_leave_is_not_stranded() -> None:
    node = _node()
    ana, ben = RecordingOutlet(), RecordingOutlet()
    first = node.membership(ROOM, Kind.PEER, PeerId("ana"), session="s")
    await first.enter(ana, Greeting())
    left = first.leave(None)
    second = node.membership(ROOM, Kind.PEER, PeerId("ben"), session="s")
    entered = second.enter(ben, Greeting(1))
    await left
    await entered
    assert ben.types == ["joined"]
    await second.leave(2)
    assert ben.types == ["joined", "left"]
    await until(lambda: len(node.rooms) == 0, "the room's retirement")


async def test_a_refused_join_keeps_nothing_for_the_garbage_collector() -> None:
    node = _node()
    await node.membership(ROOM, Kind.PEER, PeerId("ana"), session="s").enter(RecordingOutlet(), Greeting())
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            try:
                await node.membership(ROOM, Kind.PEER, PeerId("ana"), session="s").enter(RecordingOutlet(), Greeting())
            except PeerIdTaken:
                continue
            raise AssertionError("it is taken")
        await asyncio.sleep(0)
        assert gc.collect() == 0
    finally:
        gc.enable()
