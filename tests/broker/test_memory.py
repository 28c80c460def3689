from __future__ import annotations

import pytest
from hypothesis import given

from mcp_actors.broker import Recovered
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.protocol.events import (
    ClaimRefused,
    Kind,
    LeaveReason,
    Member,
    MemberJoined,
    MemberMoved,
    Receipt,
    RemoteBroadcast,
    RemoteSignal,
)
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId
from tests.broker.contract import MAX_ROOM_BANS, REQUESTS, ROOM, BrokerContract, Model, Recorder, summary


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker(max_room_bans=MAX_ROOM_BANS)


def test_it_shares_no_sessions() -> None:
    assert not MemoryBroker().shared


def test_a_join_before_listen_raises() -> None:
    member = Member(Kind.PEER, PeerId("ana"), Incarnation("1"), NodeId("node"), {})
    with pytest.raises(RuntimeError, match="listen"):
        MemoryBroker().join(ROOM, member, 10)


def test_events_arrive_within_the_call() -> None:
    broker, received = MemoryBroker(), []
    broker.listen(lambda room, event: received.append((room, event)))
    member = Member(Kind.PEER, PeerId("ana"), Incarnation("1"), NodeId("node"), {})
    broker.join(ROOM, member, 10)
    assert [(room, type(event)) for room, event in received] == [(ROOM, MemberJoined)]
    assert member.order == 0


def test_frames_and_receipts_loop_back() -> None:
    broker, received = MemoryBroker(), []
    broker.listen(lambda _room, event: received.append(event))
    ana = Member(Kind.PEER, PeerId("ana"), Incarnation("1"), NodeId("node"), {})
    ben = Member(Kind.PEER, PeerId("ben"), Incarnation("2"), NodeId("node"), {})
    receipt = Receipt(ana.incarnation, ben.incarnation, 7, delivered=True)
    broker.relay(ROOM, ana, ben, b"{}", 7)
    broker.broadcast(ROOM, ana, [ben], b"{}", 8)
    broker.send_receipt(ROOM, ana, receipt)
    assert received == [
        RemoteSignal(ana.incarnation, ben.incarnation, b"{}", 7),
        RemoteBroadcast(ana.incarnation, ben.incarnation, b"{}", 8),
        receipt,
    ]


async def test_no_session_or_member_comes_from_another_node() -> None:
    broker, received = MemoryBroker(), []
    broker.listen(lambda _room, event: received.append(event))
    member = Member(Kind.PEER, PeerId("ana"), Incarnation("1"), NodeId("node"), {}, epoch=1)
    broker.claim(ROOM, member)
    assert received == [ClaimRefused(member.incarnation)]
    assert await broker.acquire_session("s", 1, "peer:", 0.0) is None
    move = MemberMoved(1, member.incarnation, NodeId("other"), NodeId("node"), 1, ())
    assert await broker.recover(ROOM, Kind.PEER, move, "", 0.0) == Recovered()


async def test_an_empty_room_is_forgotten() -> None:
    broker = MemoryBroker()
    recorder = Recorder(broker)
    for _ in range(100):
        recorder.leave(recorder.join(Kind.PEER, "ana"), reason=LeaveReason.DISCONNECTED)
    assert (await broker.administration.list_rooms("", "", 1)).rooms == []
    assert broker.health() == {"broker": "memory", "rooms": 0, "bans": 0}


@given(REQUESTS)
def test_any_schedule_of_requests_has_the_events_of_the_model(requests: list[tuple[str, Kind, str]]) -> None:
    broker, received = MemoryBroker(), []
    broker.listen(lambda _room, event: received.append(event))
    model = Model(capacity=2)
    known: list[Member] = []
    for number, (request, kind, name) in enumerate(requests):
        if request == "join" or not known:
            known.append(Member(kind, PeerId(name), Incarnation(str(number)), NodeId("node"), {}))
            member = known[-1]
        else:
            member = known[len(name) * number % len(known)]
        if request == "leave":
            model.leave(member)
            broker.leave(ROOM, member.incarnation, LeaveReason.LEFT)
        else:
            model.join(member)
            broker.join(ROOM, member, 2)
    assert summary(received) == model.said
