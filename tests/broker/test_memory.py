from __future__ import annotations

import pytest
from hypothesis import given

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.protocol.events import Kind, LeaveReason, Member, MemberJoined, Receipt
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId
from tests.broker.contract import REQUESTS, ROOM, BrokerContract, Ear, Model, summary


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker()


def test_nobody_else_could_take_over_its_sessions() -> None:
    assert not MemoryBroker().shared


def test_nobody_joins_before_somebody_listens() -> None:
    member = Member(Kind.PEER, PeerId("ana"), Incarnation("1"), NodeId("node"), {})
    with pytest.raises(RuntimeError, match="listen"):
        MemoryBroker().join(ROOM, member, 10)


def test_events_are_heard_within_the_call() -> None:
    broker, heard = MemoryBroker(), []
    broker.listen(lambda room, event: heard.append((room, event)))
    member = Member(Kind.PEER, PeerId("ana"), Incarnation("1"), NodeId("node"), {})
    broker.join(ROOM, member, 10)
    assert [(room, type(event)) for room, event in heard] == [(ROOM, MemberJoined)]
    assert member.order == 0


def test_it_has_no_other_node_to_send_to() -> None:
    broker = MemoryBroker()
    member = Member(Kind.PEER, PeerId("ana"), Incarnation("1"), NodeId("other"), {})
    with pytest.raises(RuntimeError, match="other node"):
        broker.relay(ROOM, member, member, b"{}", 0)
    with pytest.raises(RuntimeError, match="other node"):
        broker.announce(ROOM, member, [member], b"{}", 0)
    with pytest.raises(RuntimeError, match="other node"):
        broker.confirm(ROOM, member, Receipt(Incarnation("1"), Incarnation("2"), 0, delivered=True))


def test_a_room_that_emptied_is_forgotten() -> None:
    broker = MemoryBroker()
    ear = Ear(broker)
    for _ in range(100):
        ear.leave(ear.join(Kind.PEER, "ana"), reason=LeaveReason.DISCONNECTED)
    assert broker._rooms == {}


@given(REQUESTS)
def test_whatever_is_asked_is_answered_as_the_plainest_broker_would(requests: list[tuple[str, Kind, str]]) -> None:
    broker, heard = MemoryBroker(), []
    broker.listen(lambda _room, event: heard.append(event))
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
    assert summary(heard) == model.said
