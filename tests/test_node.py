from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.errors import PeerIdTaken, RoomFull, Unavailable
from mcp_actors.protocol.events import Kind, LeaveReason, MemberMoved
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId, UserId
from tests.support.loop import RecordingClient, until
from tests.support.rooms import NODE, OTHER, ROOM, OtherNodes, message, signal

if TYPE_CHECKING:
    from mcp_actors.node import Membership
    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.outgoing import Outgoing, Relayed
    from tests.conftest import ExpectedLogs

MAX_INBOX = 10


def make_node(
    node_id: NodeId = NODE, *, room_capacity: int = 10, max_rooms: int = 10, broker: MemoryBroker | None = None
) -> Node:
    return Node(
        node_id,
        broker or MemoryBroker(),
        room_capacity=room_capacity,
        max_rooms=max_rooms,
        max_inbox=MAX_INBOX,
        max_pending_acks=100,
    )


async def enter(node: Node, name: str, kind: Kind = Kind.PEER) -> tuple[Membership, RecordingClient]:
    client = RecordingClient()
    membership = node.membership(ROOM, kind, PeerId(name), session="s")
    await membership.enter(client)
    client.clear()
    return membership, client


async def test_a_membership_enters_and_leaves() -> None:
    node, ana, uma = make_node(), RecordingClient(), RecordingClient()
    peer = node.membership(ROOM, Kind.PEER, PeerId("ana"), {"a": 1}, session="s")
    await peer.enter(ana, presence=True)
    user = node.membership(ROOM, Kind.USER, UserId("uma"), session="s")
    await user.enter(uma)
    assert (peer.member_id, peer.presence, user.presence) == ("ana", True, False)
    assert ana.welcomes[0].peers[0].metadata == {"a": 1}
    assert [(member.id, member.incarnation) for member in node.roster(ROOM)] == [
        ("ana", peer.incarnation),
        ("uma", user.incarnation),
    ]
    assert node.rooms() == [ROOM]
    await peer.leave(2)
    await user.leave(None)
    assert ana.messages[-1] == {"type": "left", "room": ROOM, "id": 2, "payload": {"peer_id": "ana"}}
    assert uma.types == ["welcome", "peer-left", "room-left"]
    await until(lambda: not node.rooms(), "the room's retirement")


async def test_a_join_is_asked_for_at_once_and_before_it_is_awaited() -> None:
    node = make_node()
    first, second = RecordingClient(), RecordingClient()
    entering = [
        node.membership(ROOM, Kind.PEER, PeerId(name), session="s").enter(client)
        for name, client in (("ana", first), ("ben", second))
    ]
    for entered in reversed(entering):
        await entered
    assert first.types == ["welcome", "peer-joined"]
    assert second.types == ["welcome"]


async def test_every_membership_has_its_own_incarnation() -> None:
    nodes = [make_node(), make_node(NodeId("other"))]
    members = [node.membership(ROOM, Kind.PEER, PeerId("ana"), session="s") for node in nodes for _ in range(3)]
    assert len({member.incarnation for member in members}) == 6
    for member in members:
        await asyncio.gather(member.enter(RecordingClient()), return_exceptions=True)
    assert [node.roster(ROOM)[0].node for node in nodes] == ["node", "other"]


async def test_a_refused_join_raises_its_reason() -> None:
    node = make_node(room_capacity=2)
    await enter(node, "ana")
    with pytest.raises(PeerIdTaken):
        await enter(node, "ana")
    await enter(node, "ben")
    with pytest.raises(RoomFull):
        await enter(node, "cem")


async def test_what_was_sent_behind_a_refused_join_is_answered_until_its_sender_knows() -> None:
    node = make_node()
    await enter(node, "ana")
    client = RecordingClient()
    other = node.membership(ROOM, Kind.PEER, PeerId("ana"), session="s")
    entering = asyncio.ensure_future(other.enter(client))
    sent = 0
    while not entering.done():
        sent += 1
        other.relay(*signal("ana", sent))
        await asyncio.sleep(0)
    with pytest.raises(PeerIdTaken):
        await entering
    await until(lambda: len(client.messages) == sent, "all answers")
    assert [(one["payload"]["code"], one["id"]) for one in client.messages] == [
        ("not-in-room", number) for number in range(1, sent + 1)
    ]


async def test_a_membership_in_one_room_too_many_is_unavailable() -> None:
    node = make_node(max_rooms=1)
    await enter(node, "ana")
    with pytest.raises(Unavailable):
        node.membership(RoomId("another"), Kind.PEER, PeerId("ana"), session="s")
    await enter(node, "ben")


async def test_signals_and_broadcasts_reach_the_others() -> None:
    node = make_node()
    ana, _ = await enter(node, "ana")
    _, ben = await enter(node, "ben")
    uma, _ = await enter(node, "uma", Kind.USER)
    _, vic = await enter(node, "vic", Kind.USER)
    assert ana.relay(*signal("ben")) is None
    assert uma.broadcast(*message("hello")) is None
    await until(lambda: ben.messages and vic.messages, "signal and message")
    assert (ben.last()["sender"], vic.last()["sender"]) == ("ana", "uma")


async def test_a_connection_that_ends_is_announced() -> None:
    node = make_node()
    ana, client = await enter(node, "ana")
    _, ben = await enter(node, "ben")
    client.clear()
    ana.mark(detached=True)
    ana.end(LeaveReason.TIMEOUT)
    await until(lambda: ben.messages, "the announcement")
    assert ben.last()["payload"] == {"peer_id": "ana", "reason": "timeout"}
    assert client.messages == []


async def test_a_sender_that_is_faster_than_the_room_waits() -> None:
    node = make_node()
    ana, _ = await enter(node, "ana")
    _, ben = await enter(node, "ben")
    waits = [ana.relay(*signal("ben")) for _ in range(MAX_INBOX + 2)]
    assert waits[:MAX_INBOX] == [None] * MAX_INBOX
    late = [wait for wait in waits if wait is not None]
    assert len(late) == 2
    assert not any(wait.done() for wait in late)
    await asyncio.wait_for(asyncio.gather(*late), 2)
    assert len(ben.messages) == MAX_INBOX + 2
    assert ana.relay(*signal("ben")) is None


class Bug(RecordingClient):
    """A client that breaks the rule that it never fails."""

    def send(self, message: Outgoing | Relayed, bulk: bool = False) -> bool:
        raise RuntimeError("a bug")


async def test_a_membership_in_a_lost_room_is_unavailable(expected_logs: ExpectedLogs) -> None:
    expected_logs("pykka", "Unhandled exception in room 'room123'")
    expected_logs("mcp_actors.room", "room lost")
    node = make_node()
    ana, bug = (node.membership(ROOM, Kind.PEER, PeerId(name), session="s") for name in ("ana", "bug"))
    await ana.enter(RecordingClient())
    await bug.enter(Bug())
    ana.relay(*signal("bug"))
    with pytest.raises(Unavailable, match="join it again"):
        await ana.leave(1)
    with pytest.raises(Unavailable, match="join it again"):
        ana.relay(*signal("ben"))
    with pytest.raises(Unavailable, match="join it again"):
        await ana.come_back()
    assert await ana.depart() is None
    ana.mark(detached=True)
    ana.end(LeaveReason.DISCONNECTED)
    assert node.rooms() == []


async def test_a_join_in_the_same_turn_as_the_last_leave_is_not_lost() -> None:
    node = make_node()
    ana, ben = RecordingClient(), RecordingClient()
    first = node.membership(ROOM, Kind.PEER, PeerId("ana"), session="s")
    await first.enter(ana)
    left = first.leave(None)
    second = node.membership(ROOM, Kind.PEER, PeerId("ben"), session="s")
    entered = second.enter(ben)
    await left
    await entered
    assert ben.types == ["welcome"]
    await second.leave(2)
    assert ben.types == ["welcome", "left"]
    await until(lambda: not node.rooms(), "the room's retirement")


async def test_a_refused_join_keeps_nothing_for_the_garbage_collector() -> None:
    node = make_node()
    await enter(node, "ana")
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            try:
                await enter(node, "ana")
            except PeerIdTaken:
                continue
            raise AssertionError("it is taken")
        await asyncio.sleep(0)
        assert gc.collect() == 0
    finally:
        gc.enable()


class Observer:
    """Records what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def room_opened(self, room: RoomId) -> None:
        self.told.append(f"{room} opened")

    def room_closed(self, room: RoomId) -> None:
        self.told.append(f"{room} closed")

    def member_joined(self, room: RoomId, member: Member) -> None:
        self.told.append(f"{member.id} joined {room}")

    def member_left(self, room: RoomId, member: Member, reason: LeaveReason | None) -> None:
        self.told.append(f"{member.id} left {room}: {reason}")


async def test_an_observer_is_told_of_the_rooms_and_members_of_its_process_in_order() -> None:
    broker = OtherNodes()
    node, observer = make_node(broker=broker), Observer()
    node.observe(observer)
    ana, _ = await enter(node, "ana")
    uma, _ = await enter(node, "uma", Kind.USER)
    broker.remote(Kind.PEER, "far")
    await ana.leave(None)
    broker.say(MemberMoved(9, uma.incarnation, NODE, OTHER, 1, (NODE,)))
    await uma.depart()
    await until(lambda: not node.rooms(), "the room's retirement")
    assert observer.told == [
        "room123 opened",
        "ana joined room123",
        "uma joined room123",
        "ana left room123: left",
        "uma left room123: None",
        "room123 closed",
    ]


async def test_an_observer_is_told_of_the_members_of_a_lost_room(expected_logs: ExpectedLogs) -> None:
    expected_logs("pykka", "Unhandled exception in room 'room123'")
    expected_logs("mcp_actors.room", "room lost")
    node, observer = make_node(), Observer()
    node.observe(observer)
    ana, _ = await enter(node, "ana")
    await node.membership(ROOM, Kind.PEER, PeerId("bug"), session="s").enter(Bug())
    ana.relay(*signal("bug"))
    await until(lambda: not node.rooms(), "the loss of the room")
    assert observer.told[3:] == ["ana left room123: disconnected", "bug left room123: disconnected", "room123 closed"]
