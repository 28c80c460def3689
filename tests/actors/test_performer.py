from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from mcp_actors.actors.loop import LoopFuture
from mcp_actors.actors.observers import Observers
from mcp_actors.actors.performer import Performer
from mcp_actors.protocol.errors import CloseCode, NotInRoom
from mcp_actors.protocol.events import Kind, LeaveReason, Member, Removal
from mcp_actors.protocol.identifiers import Incarnation, PeerId
from mcp_actors.protocol.messages import RoomLocked
from mcp_actors.protocol.outgoing import Outgoing, Relayed
from mcp_actors.room.acknowledgements import no_peer, no_room
from mcp_actors.room.effects import Close, Deliver, Done, Drop, Publish, Reject, Relay, Send
from mcp_actors.room.room import Room
from tests.support.loop import RecordingClient
from tests.support.rooms import NODE, OTHER, ROOM, OtherNodes, signal

if TYPE_CHECKING:
    from mcp_actors.room.effects import Effect, ExpireLater

ANA, BEN, FAR = Incarnation("ana"), Incarnation("ben"), Incarnation("far")
REMOTE = Member(Kind.PEER, PeerId("far"), FAR, OTHER, {})
LOCAL = Member(Kind.PEER, PeerId("ana"), ANA, NODE, {})


LOCKED = Outgoing(RoomLocked(room=ROOM))


class Stage:
    """A performer with the clients ana and ben."""

    def __init__(self, *, full: bool = False) -> None:
        self.broker = OtherNodes(full=full)
        self.awaited: list[Incarnation] = []
        self.expiring: list[ExpireLater] = []
        room = Room(ROOM, capacity=9, max_pending_acks=9)
        self.performer = Performer(room, self.broker, Observers(), self.awaited.append, self.expiring.append)
        self.ana, self.ben = RecordingClient(), RecordingClient()
        self.performer.ports |= {ANA: self.ana, BEN: self.ben}

    def perform(self, *effects: Effect) -> None:
        self.performer.perform(effects)


def relayed(request_id: int | None = 7) -> Relayed:
    request, frame = signal("ben", request_id)
    return Relayed(b'"sender":"ana",', frame[1:], request)


def test_a_message_is_sent_to_its_receivers_and_they_are_counted() -> None:
    stage = Stage()
    stage.perform(Send((ANA, BEN), Outgoing(RoomLocked(room=ROOM))))
    assert stage.ana.types == stage.ben.types == ["room-locked"]
    assert stage.ana.bodies[0] is stage.ben.bodies[0]
    assert stage.performer.sent == 2
    assert stage.ana.bulk == stage.ben.bulk == [False]


@pytest.mark.parametrize(("size", "turns"), [(10, 7), (2000, 13), (100_000, 150)])
def test_a_message_to_many_takes_turns_by_what_it_weighs_and_what_follows_comes_behind_it(
    size: int, turns: int
) -> None:
    stage = Stage()
    crowd = {Incarnation(f"member-{number}"): RecordingClient() for number in range(150)}
    stage.performer.ports |= crowd
    stage.perform(Send(list(crowd), Relayed(b"", b'"x":"%b"}' % (b"x" * size))), Send((ANA,), LOCKED))
    taken = 1
    while stage.performer.unfinished:
        assert stage.ana.types == []
        stage.performer.go_on()
        taken += 1
    assert taken == turns
    assert [client.bulk for client in crowd.values()] == [[True]] * 150
    assert stage.ana.types == ["room-locked"]
    assert stage.ana.bulk == [False]


def test_what_a_message_to_many_has_left_is_not_performed_when_the_room_is_lost_but_answered() -> None:
    stage = Stage()
    crowd = {Incarnation(f"member-{number}"): RecordingClient() for number in range(100)}
    stage.performer.ports |= crowd
    replies: list[LoopFuture[None]] = []

    async def lose() -> None:
        replies.append(LoopFuture())
        stage.perform(Send(list(crowd), LOCKED), Done(replies[0]))
        stage.performer.lose_members()
        stage.performer.close(NotInRoom("lost"))
        with pytest.raises(NotInRoom):
            await replies[0]

    asyncio.run(lose())
    assert {client.closes[0] for client in crowd.values()} == {CloseCode.ROOM_LOST}


@pytest.mark.parametrize(("detached", "status"), [(False, "delivered"), (True, "queued")])
def test_a_relayed_message_is_acknowledged(detached: bool, status: str) -> None:
    stage = Stage()
    stage.ben.detached = detached
    stage.perform(Relay(ANA, BEN, relayed(), negotiation=3), Relay(ANA, BEN, relayed(None)))
    assert stage.ben.types == ["signal", "signal"]
    payload = {"status": status, "negotiation": 3}
    assert stage.ana.messages == [{"type": "ack", "room": ROOM, "id": 7, "payload": payload}]


@pytest.mark.parametrize("request_id", [None, 7])
def test_a_relayed_message_that_its_target_does_not_take_is_answered_with_an_error(request_id: int | None) -> None:
    stage = Stage()
    stage.ben.accepts = False
    stage.perform(Relay(ANA, BEN, relayed(request_id)))
    (error,) = stage.ana.messages
    assert (error["room"], error.get("id"), error["payload"]["code"]) == (ROOM, request_id, "peer-not-found")


@pytest.mark.parametrize("full", [False, True])
def test_a_message_to_a_client_that_does_not_keep_up_costs_its_sender_more_and_is_refused_if_it_cannot_wait(
    full: bool,
) -> None:
    stage = Stage()
    stage.ben.congested, stage.ben.full = True, full
    message = relayed()
    stage.perform(Relay(ANA, BEN, message))
    assert stage.ana.waiting == [len(message.head) + len(message.body)]
    assert stage.ben.waiting == []
    if full:
        (error,) = stage.ana.messages
        assert (error["id"], error["payload"]["code"], error["payload"]["retryable"]) == (7, "unavailable", True)
        assert stage.ben.messages == []
    else:
        assert stage.ana.messages[0]["payload"] == {"status": "delivered"}
        assert stage.ben.types == ["signal"]


def test_a_message_that_another_node_had_no_room_for_costs_its_sender_more() -> None:
    stage = Stage()
    stage.perform(Reject(ANA, no_room(PeerId("far")).about(ROOM, 7), waiting=100), Reject(BEN, no_peer(PeerId("far"))))
    assert (stage.ana.waiting, stage.ben.waiting) == ([100], [])
    assert stage.ana.types == stage.ben.types == ["error"]


def test_a_message_to_many_costs_its_sender_more_once_however_many_do_not_keep_up() -> None:
    stage = Stage()
    crowd = {Incarnation(f"member-{number}"): RecordingClient() for number in range(100)}
    stage.performer.ports |= crowd
    for client in crowd.values():
        client.congested = True
    message = relayed()
    stage.performer.perform([Send(list(crowd), message)], ANA)
    while stage.performer.unfinished:
        stage.performer.go_on()
    assert len(stage.ana.waiting) == 1
    assert all(client.bodies == [message.body] for client in crowd.values())
    stage.perform(Send(list(crowd), LOCKED))
    assert len(stage.ana.waiting) == 1


def test_a_message_of_another_node_that_cannot_wait_for_a_slow_client_is_reported_to_its_sender() -> None:
    stage = Stage()
    stage.ana.congested = stage.ana.full = True
    stage.perform(Deliver(ANA, relayed(), REMOTE, 5))
    (receipt,) = stage.broker.receipts
    assert (receipt.delivered, receipt.full) == (False, True)


@pytest.mark.parametrize("request_id", [None, 7])
def test_a_relayed_message_that_cannot_wait_for_its_target_is_answered_with_an_error(request_id: int | None) -> None:
    stage = Stage()
    stage.ben.full = True
    stage.perform(Relay(ANA, BEN, relayed(request_id)))
    stage.ben.detached = True
    stage.perform(Relay(ANA, BEN, relayed(request_id)))
    assert stage.ben.types == ["signal"]
    error = stage.ana.messages[-1]
    assert (error["room"], error.get("id"), error["payload"]["code"]) == (ROOM, request_id, "unavailable")
    assert error["payload"]["message"].startswith("Peer 'ben' is away")


def test_a_broker_that_takes_nothing_more_is_answered_to_the_sender() -> None:
    stage = Stage(full=True)
    stage.perform(Publish(LOCAL, (REMOTE,), relayed(), 1))
    (error,) = stage.ana.messages
    assert (error["id"], error["payload"]["code"]) == (7, "unavailable")


@pytest.mark.parametrize(
    ("delivery_id", "accepts", "detached", "full", "receipts"),
    [
        (0, True, False, False, []),
        (5, True, False, False, [(True, False, False)]),
        (5, True, False, True, [(True, False, False)]),
        (5, True, True, False, [(True, True, False)]),
        (5, True, True, True, [(False, False, True)]),
        (0, True, True, True, [(False, False, True)]),
        (0, False, False, False, [(False, False, False)]),
    ],
)
def test_a_message_of_another_node_is_confirmed_if_it_has_an_id_or_failed(
    delivery_id: int, accepts: bool, detached: bool, full: bool, receipts: list[tuple[bool, bool, bool]]
) -> None:
    stage = Stage()
    stage.ana.accepts, stage.ana.detached, stage.ana.full = accepts, detached, full
    stage.perform(Deliver(ANA, relayed(), REMOTE, delivery_id), Deliver(ANA, relayed(), None, delivery_id))
    assert [(one.delivered, one.queued, one.full) for one in stage.broker.receipts] == receipts
    assert stage.ana.types == ["signal", "signal"] * (accepts and not (full and detached))


def test_a_client_is_dropped_and_told_if_a_moderator_removed_it() -> None:
    stage = Stage()
    stage.perform(Close(ANA, CloseCode.ROOM_LOST), Drop(ANA), Close(ANA, CloseCode.INTERNAL))
    stage.perform(Drop(BEN, Removal(LeaveReason.KICKED)), Drop(BEN, Removal(LeaveReason.KICKED)))
    stage.perform(Reject(BEN, NotInRoom("no")))
    assert (stage.ana.closes, stage.ana.told) == ([CloseCode.ROOM_LOST], [])
    assert (stage.ben.closes, stage.ben.told) == ([], [("removed", ROOM, Removal(LeaveReason.KICKED))])
    assert stage.ben.messages == cast("list[object]", [])
    assert not stage.performer.ports
