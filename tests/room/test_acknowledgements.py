from __future__ import annotations

import pytest
from msgspec import structs

from mcp_actors.protocol.errors import PeerNotFound, Unavailable
from mcp_actors.protocol.events import CutoverAcked, Kind, NegotiationStep, Receipt, RecoveryEnded, RemoteSignal
from mcp_actors.protocol.handover import MemberState, Pending
from mcp_actors.protocol.identifiers import PeerId
from mcp_actors.room.acknowledgements import REMEMBERED
from mcp_actors.room.effects import Publish, Relay, Send, SendReceipt
from tests.room.test_delivery import broadcast, number, publish, receipt
from tests.room.test_handovers import moved
from tests.support.rooms import NODE, OTHER, ROOM, THIRD, World, message, negotiate, signal


def test_a_published_signal_with_an_id_is_acknowledged_once_when_its_receipt_comes() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    effect = publish(world, ana, signal("ben", 7))
    world.clear()
    world.hear(receipt(effect), receipt(effect))
    assert world.sent[ana] == [{"type": "ack", "room": ROOM, "id": 7, "payload": {"status": "delivered"}}]


@pytest.mark.parametrize("request_id", [None, 7])
def test_a_signal_that_another_node_could_not_deliver_is_answered_with_an_error(request_id: int | None) -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    effect = publish(world, ana, signal("ben", request_id))
    world.clear()
    world.hear(receipt(effect, delivered=False))
    (error,) = world.sent[ana]
    assert (error["room"], error.get("id"), error["payload"]["code"]) == (ROOM, request_id, "peer-not-found")


def test_a_signal_is_answered_with_an_error_when_its_target_leaves_before_the_receipt() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    publish(world, ana, signal("ben", 7))
    world.clear()
    world.remote_leaves(ben)
    assert world.types(ana) == ["peer-left", "error"]
    assert world.sent[ana][1]["id"] == 7


def test_a_receipt_for_a_sender_that_has_left_is_dropped() -> None:
    world = World()
    ana = world.peer("ana")
    world.peer("amy")
    world.remote(Kind.PEER, "ben")
    with_id, without = publish(world, ana, signal("ben", 7)), publish(world, ana, signal("ben"))
    world.leave(ana)
    assert world.room.heard(receipt(with_id)) == world.room.heard(receipt(without, delivered=False)) == []


@pytest.mark.parametrize("whole", [True, False])
def test_messages_whose_receipts_are_lost_are_relayed_when_they_are_sent_again(*, whole: bool) -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    first = publish(world, ana, signal("ben", 7))
    publish(world, ana, signal("ben", 8))
    world.clear()
    world.apply(world.room.handovers.recover_receipts(ana, [receipt(first)], whole=whole))
    assert [one["id"] for one in world.sent[ana]] == [7]
    request, _ = signal("ben", 8)
    assert world.room.delivery.acks.is_under_way(ana, request) is whole


def test_the_messages_that_wait_for_receipts_are_bounded() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    waiting = [publish(world, ana, signal("ben", one)) for one in range(100)]
    with pytest.raises(Unavailable, match="100 messages"):
        world.relay(ana, signal("ben", 100))
    publish(world, ana, signal("ben"))  # it has no id, so it does not wait
    world.room.delivery.acks.forget(ana, waiting[0].delivery_id)
    publish(world, ana, signal("ben", 100))


def test_a_published_broadcast_is_acknowledged_when_every_node_has_it_or_is_gone() -> None:
    world = World()
    uma = world.user("uma")
    world.remote(Kind.USER, "wim", OTHER)
    yan = world.remote(Kind.USER, "yan", THIRD)
    (effect,) = broadcast(world, uma, 3)
    world.clear()
    world.hear(receipt(effect))
    assert world.sent[uma] == []
    world.remote_leaves(yan)
    assert world.types(uma) == ["user-left", "ack"]


def test_a_published_offer_is_acknowledged_with_its_number() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    effect = publish(world, ana, negotiate("offer", "ben", id=7))
    assert effect.step == NegotiationStep("offer", number(effect))
    world.clear()
    world.hear(receipt(effect))
    assert world.sent[ana][0]["payload"] == {"status": "delivered", "negotiation": number(effect)}


@pytest.mark.parametrize("request_id", [None, 7])
def test_the_sender_of_a_message_that_another_node_found_superseded_is_told(request_id: int | None) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    fields = {} if request_id is None else {"id": request_id}
    effect = publish(world, ana, negotiate("answer", "ben", 1, **fields))
    world.clear()
    world.hear(Receipt(ana, ben, effect.delivery_id, delivered=False, superseded=3))
    (error,) = world.sent[ana]
    assert (error.get("id"), error["payload"]["code"]) == (request_id, "stale-negotiation")
    assert error["payload"]["details"] == {"negotiation": 3}


def test_a_message_that_is_sent_again_while_it_is_under_way_is_sent_and_answered_once() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    effect = publish(world, ana, signal("ben", 7))
    world.clear()
    assert world.relay(ana, signal("ben", 7, again=True)) is None
    world.hear(receipt(effect))
    assert [one["id"] for one in world.sent[ana]] == [7]


def test_a_message_that_is_sent_again_after_it_was_passed_on_is_only_answered_again() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    effect = publish(world, ana, negotiate("offer", "ben", id=7))
    world.hear(receipt(effect))
    world.hear(receipt(publish(world, ana, signal("ben", 8))))
    world.clear()
    world.relay(ana, negotiate("offer", "ben", id=7, again=True))
    world.relay(ana, signal("ben", 8, again=True))
    acks = [(one["type"], one["id"], one["payload"]) for one in world.sent[ana]]
    assert effect.step is not None
    number = {"negotiation": effect.step.number}
    assert acks == [("ack", 7, {"status": "delivered"} | number), ("ack", 8, {"status": "delivered"})]
    assert [one for one in world.effects if isinstance(one, Publish | Relay)] == []


def test_a_message_that_was_not_delivered_is_passed_on_when_it_is_sent_again() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    world.hear(receipt(publish(world, ana, signal("ben", 7)), delivered=False))
    publish(world, ana, signal("ben", 7, again=True))
    publish(world, world.peer("amy"), signal("ben", 7, again=True))


def test_a_message_that_is_sent_again_to_a_peer_that_has_joined_since_is_passed_on() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben", THIRD)
    world.hear(receipt(publish(world, ana, signal("ben", 7))))
    world.remote_leaves(ben)
    with pytest.raises(PeerNotFound):
        world.relay(ana, signal("ben", 7, again=True))
    world.remote(Kind.PEER, "ben")
    publish(world, ana, signal("ben", 7, again=True))


def test_the_latest_messages_of_each_member_are_remembered() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    for request_id in range(REMEMBERED + 1):
        world.hear(receipt(publish(world, ana, signal("ben", request_id))))
    assert isinstance(world.relay(ana, signal("ben", 1, again=True)), Send)
    publish(world, ana, signal("ben", 0, again=True))


def test_a_broadcast_that_is_sent_again_after_it_was_passed_on_is_only_answered_again() -> None:
    world = World()
    uma, vic = world.user("uma"), world.user("vic")
    world.broadcast(uma, message("x", 7))
    world.clear()
    world.broadcast(uma, message("x", 7, again=True))
    assert (world.types(uma), world.types(vic)) == (["ack"], [])


@pytest.mark.parametrize("request_id", [None, 7])
def test_the_sender_of_a_message_that_another_node_had_no_room_for_is_told(request_id: int | None) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    effect = publish(world, ana, signal("ben", request_id))
    world.clear()
    world.hear(Receipt(ana, ben, effect.delivery_id, delivered=False, full=True))
    (error,) = world.sent[ana]
    assert (error.get("id"), error["payload"]["code"], error["payload"]["retryable"]) == (
        request_id,
        "unavailable",
        True,
    )
    assert "is away" in error["payload"]["message"]


def test_a_message_with_the_id_of_another_is_sent_unless_it_is_said_to_be_the_same() -> None:
    world = World()
    ana, amy = world.peer("ana"), world.peer("amy")
    world.remote(Kind.PEER, "ben")
    for _ in range(2):
        publish(world, ana, signal("ben", 7))
    publish(world, amy, signal("ben", 7, again=True))


def test_a_broadcast_that_is_sent_again_while_it_is_under_way_is_sent_once() -> None:
    world = World()
    uma = world.user("uma")
    world.remote(Kind.USER, "vic")
    assert len(broadcast(world, uma, 7)) == 1
    assert world.room.delivery.broadcast(uma, *message("x", 7, again=True)) == ()


def test_a_message_that_is_under_way_from_another_node_is_not_sent_again_here() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    world.room.claim(ben, 1)
    world.hear(moved(ben, NODE))
    world.room.handovers.adopt(ben, MemberState(pending=[Pending(3, 7, PeerId("ana"), {ana: 0}, None)]))
    assert world.relay(ben, signal("ana", 7, again=True)) is None


@pytest.mark.parametrize("request_id", [None, 7])
def test_a_signal_to_a_member_that_moved_away_may_be_sent_again(request_id: int | None) -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    effect = publish(world, ana, signal("ben", request_id))
    world.clear()
    world.hear(structs.replace(receipt(effect, delivered=False), moved=True))
    (error,) = world.sent[ana]
    assert (error.get("id"), error["payload"]["code"], error["payload"]["retryable"]) == (
        request_id,
        "unavailable",
        True,
    )


def test_a_receipt_says_whether_the_target_moved_away_or_left() -> None:
    world = World()
    ana, ben, cia = world.peer("ana"), world.peer("ben"), world.remote(Kind.PEER, "cia")
    world.hear(moved(ana, OTHER, old=NODE))
    world.room.handovers.depart(ana)
    world.leave(ben)
    world.clear()
    world.hear(*(RemoteSignal(cia, target, b"{}", 1) for target in (ana, ben)))
    receipts = [one.receipt for one in world.effects if isinstance(one, SendReceipt)]
    assert [(one.target, one.delivered, one.moved) for one in receipts] == [(ana, False, True), (ben, False, False)]


@pytest.mark.parametrize("kind", [Kind.PEER, Kind.USER])
def test_what_was_sent_to_the_lost_node_of_a_member_is_answered_when_the_recovery_ends(kind: Kind) -> None:
    world = World()
    ana, uma = world.peer("ana"), world.user("uma")
    ben = world.remote(kind, "ben")
    sender = ana if kind is Kind.PEER else uma

    def send(request_id: int) -> None:
        if kind is Kind.PEER:
            publish(world, ana, signal("ben", request_id))
        else:
            broadcast(world, uma, request_id)

    send(7)
    world.hear(moved(ben, THIRD, epoch=2))
    send(8)
    world.clear()
    world.hear(RecoveryEnded(52, ben, 2))
    (error,) = world.sent[sender]
    assert (error["id"], error["payload"]["code"]) == (7, "unavailable")
    world.hear(moved(ben, OTHER, old=THIRD, epoch=3), RecoveryEnded(53, ben, 3), RecoveryEnded(52, ben, 2))
    assert [one["id"] for one in world.sent[sender]] == [7, 8]


def test_a_message_that_is_handed_over_after_the_recovery_of_its_target_is_answered() -> None:
    world = World()
    ben, cia = world.remote(Kind.PEER, "ben"), world.remote(Kind.PEER, "cia")
    world.room.claim(ben, 1)
    world.hear(moved(ben, NODE), moved(cia, THIRD, epoch=2), RecoveryEnded(51, cia, 2))
    sent = [Pending(number, number, PeerId("cia"), {cia: epoch}, None) for number, epoch in ((7, 0), (8, 2))]
    world.clear()
    world.apply(world.room.handovers.adopt(ben, MemberState(pending=sent)))
    assert [(one["id"], one["payload"]["code"]) for one in world.sent[ben]] == [(7, "unavailable")]


def test_a_receipt_that_comes_after_the_handover_of_its_sender_is_sent_on_to_its_new_node() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben", THIRD)
    effect = publish(world, ana, signal("ben", 7))
    world.hear(moved(ana, OTHER, old=NODE))
    world.room.handovers.depart(ana)
    world.clear()
    world.hear(receipt(effect))
    (sent,) = world.effects
    assert isinstance(sent, SendReceipt)
    assert (sent.sender.incarnation, sent.sender.node, sent.receipt) == (ana, OTHER, receipt(effect))
    world.hear(*(CutoverAcked(ana, node, 1) for node in (OTHER, THIRD)))
    world.clear()
    world.hear(receipt(effect))
    assert world.effects == []
