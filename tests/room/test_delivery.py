from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.protocol.errors import BadMessage, NotInRoom, PeerNotFound, StaleNegotiation
from mcp_actors.protocol.events import Kind, NegotiationStep, Receipt, RemoteBroadcast, RemoteSignal
from mcp_actors.protocol.identifiers import Incarnation
from mcp_actors.room.effects import Deliver, Publish, Relay, Send, SendReceipt
from tests.support.rooms import OTHER, ROOM, THIRD, World, message, negotiate, signal

if TYPE_CHECKING:
    from mcp_actors.protocol.messages import Targeted


def publish(world: World, sender: Incarnation, request: tuple[Targeted, bytes]) -> Publish:
    effect = world.relay(sender, request)
    assert isinstance(effect, Publish)
    return effect


def broadcast(world: World, sender: Incarnation, request_id: int | None = None) -> list[Publish]:
    world.published.clear()
    world.broadcast(sender, message("x", request_id))
    return world.published


def receipt(of: Publish, *, delivered: bool = True) -> Receipt:
    return Receipt(of.sender.incarnation, of.to[0].incarnation, of.delivery_id, delivered)


def number(effect: Relay | Publish | Send | None) -> int:
    """The number that the target of an offer sees."""
    assert isinstance(effect, Relay | Publish)
    found = json.loads(effect.message.frame)["negotiation"]
    assert isinstance(found, int)
    return found


def offer(world: World, sender: Incarnation, target: str) -> int:
    return number(world.relay(sender, negotiate("offer", target)))


def receipts(world: World) -> list[Receipt]:
    return [effect.receipt for effect in world.effects if isinstance(effect, SendReceipt)]


def test_a_signal_goes_to_its_target_in_its_own_text_with_the_sender_in_front() -> None:
    world = World()
    ana, ben, cem = world.peer("ana"), world.peer("ben"), world.peer("cem")
    world.clear()
    request, frame = signal("ben", 7)
    relay = world.relay(ana, (request, frame))
    assert isinstance(relay, Relay)
    assert (relay.sender, relay.to, relay.message.request) == (ana, ben, request)
    assert relay.message.frame == b'{"sender":"ana",' + frame[1:]
    assert world.sent[ana] == world.sent[cem] == []


@pytest.mark.parametrize("leaves", [True, False])
def test_a_member_that_leaves_or_never_joined_can_send_nothing(leaves: bool) -> None:
    world = World()
    ana, uma = world.peer("ana"), world.user("uma")
    world.peer("ben")
    if leaves:
        world.ask_leave(ana)
        world.ask_leave(uma)
    else:
        ana = uma = Incarnation("stranger")
    for _ in range(2):
        with pytest.raises(NotInRoom):
            world.relay(ana, signal("ben"))
        with pytest.raises(NotInRoom):
            world.broadcast(uma, message("x"))
        world.hear()


def test_a_target_that_is_not_in_the_room_is_not_found() -> None:
    world = World()
    ana = world.peer("ana")
    world.user("uma")
    world.ask_join(Kind.PEER, "cem")
    for target in ("nobody", "", "uma", "cem", "ANA", "x" * 5000):
        with pytest.raises(PeerNotFound) as caught:
            world.relay(ana, signal(target))
        assert len(str(caught.value)) < 100


def test_a_target_that_leaves_is_not_found() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    world.ask_leave(ben)
    for _ in range(2):
        with pytest.raises(PeerNotFound, match="No peer 'ben' in this room"):
            world.relay(ana, signal("ben"))
        world.hear()


def test_a_message_to_oneself_is_a_bad_message() -> None:
    world = World()
    ana = world.peer("ana")
    with pytest.raises(BadMessage) as caught:
        world.relay(ana, signal("ana"))
    assert caught.value.details == {"field": "payload.target_peer_id"}


def test_a_broadcast_goes_to_every_other_connection_of_every_user() -> None:
    world = World()
    ana, uma, uma_too, vic = world.peer("ana"), world.user("uma"), world.user("uma"), world.user("vic")
    world.clear()
    request, frame = message({"hello": 1})
    world.broadcast(uma, (request, frame))
    assert world.sent[uma_too] == world.sent[vic] == [{"sender": "uma", **json.loads(frame)}]
    assert world.sent[ana] == world.sent[uma] == []
    assert len(world.effects) == 1


@pytest.mark.parametrize("alone", [True, False])
def test_a_broadcast_with_an_id_is_acknowledged(alone: bool) -> None:
    world = World()
    uma = world.user("uma")
    if not alone:
        world.user("vic")
    world.clear()
    world.broadcast(uma, message("x", 0))
    assert world.sent[uma] == [{"type": "ack", "room": ROOM, "id": 0, "payload": {"status": "delivered"}}]


def test_a_signal_for_another_node_is_published_with_the_stamp_of_its_sender() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    effect = publish(world, ana, signal("ben"))
    assert [member.incarnation for member in effect.to] == [ben]
    assert json.loads(effect.message.frame)["sender"] == "ana"
    assert effect.delivery_id == 0


def test_a_broadcast_is_published_once_to_each_node_with_users() -> None:
    world = World()
    uma, vic = world.user("uma"), world.user("vic")
    world.remote(Kind.PEER, "ben")
    one = world.remote(Kind.USER, "wim", OTHER)
    world.remote(Kind.USER, "xia", OTHER)
    two = world.remote(Kind.USER, "yan", THIRD)
    world.clear()
    (effect,) = broadcast(world, uma)
    assert [member.incarnation for member in effect.to] == [one, two]
    assert world.types(vic) == ["message"]


@pytest.mark.parametrize("delivery_id", [0, 4])
def test_a_broadcast_of_another_node_goes_to_the_users_here(delivery_id: int) -> None:
    world = World()
    ana, uma, vic = world.peer("ana"), world.user("uma"), world.user("vic")
    wim = world.remote(Kind.USER, "wim")
    world.clear()
    world.hear(RemoteBroadcast(wim, uma, b'{"sender":"wim"}', delivery_id, b"1-0.0@n"))
    assert world.sent[uma] == world.sent[vic] == [{"at": "1-0.0@n", "sender": "wim"}]
    assert world.sent[ana] == []
    assert [one.delivered for one in receipts(world)] == [True] * bool(delivery_id)


def test_a_signal_of_another_node_is_delivered_with_its_offset() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    world.clear()
    world.hear(RemoteSignal(ben, ana, b'{"sender":"ben"}', 5, offset=b"1-0.0@n"))
    assert world.sent[ana] == [{"at": "1-0.0@n", "sender": "ben"}]
    (effect,) = world.effects
    assert isinstance(effect, Deliver)
    assert effect.sender is not None
    assert (effect.sender.incarnation, effect.delivery_id) == (ben, 5)


def test_a_signal_of_another_node_for_a_member_that_leaves_is_not_delivered() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    world.ask_leave(ana)
    world.clear()
    world.apply(world.room.heard(RemoteSignal(ben, ana, b"{}", 0)))
    world.apply(world.room.heard(RemoteSignal(Incarnation("nobody"), ana, b"{}", 0)))
    assert receipts(world) == [Receipt(ben, ana, 0, delivered=False)]


def test_an_offer_carries_its_number_beside_its_sender() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    for sender, target, expected in ((ana, "ben", 1), (ben, "ana", 2), (ben, "ana", 3)):
        request, frame = negotiate("offer", target)
        effect = world.relay(sender, (request, frame))
        assert isinstance(effect, Relay)
        name = b"ana" if sender == ana else b"ben"
        assert effect.message.frame == b'{"sender":"%b","negotiation":%d,' % (name, expected) + frame[1:]
        assert effect.negotiation == expected


@pytest.mark.parametrize("kind", ["answer", "ice-candidate"])
@pytest.mark.parametrize("negotiation", [None, 1, 7])
def test_an_answer_or_a_candidate_is_relayed_unchanged(kind: str, negotiation: int | None) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    offer(world, ana, "ben")
    request, frame = negotiate(kind, "ana", negotiation)
    effect = world.relay(ben, (request, frame))
    assert isinstance(effect, Relay)
    assert (effect.message.frame, effect.negotiation) == (b'{"sender":"ben",' + frame[1:], 0)


@pytest.mark.parametrize(("of_ben", "kind"), [(True, "answer"), (True, "ice-candidate"), (False, "ice-candidate")])
def test_a_message_about_a_superseded_offer_is_refused_with_the_newest_number(of_ben: bool, kind: str) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    first, second = offer(world, ana, "ben"), offer(world, ana, "ben")
    sender, target = (ben, "ana") if of_ben else (ana, "ben")
    with pytest.raises(StaleNegotiation) as caught:
        world.relay(sender, negotiate(kind, target, first))
    assert caught.value.details == {"negotiation": second}
    assert not caught.value.retryable
    assert world.relay(sender, negotiate(kind, target, second))
    assert world.relay(sender, negotiate(kind, target))


def test_numbers_are_forgotten_when_either_peer_leaves() -> None:
    world = World()
    ana, ben, cem = world.peer("ana"), world.peer("ben"), world.peer("cem")
    assert [offer(world, ana, "ben"), offer(world, ana, "ben"), offer(world, cem, "ana")] == [1, 2, 1]
    world.leave(ben)
    world.peer("ben")
    assert [offer(world, ana, "ben"), offer(world, cem, "ana")] == [1, 2]


def test_an_offer_of_another_node_is_known_from_its_arrival_on() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    world.hear(RemoteSignal(ben, ana, b'{"type":"offer"}', 0, NegotiationStep("offer", 4)))
    world.relay(ana, negotiate("answer", "ben", 4))
    assert offer(world, ana, "ben") > 4
    world.hear(RemoteSignal(ben, ana, b'{"type":"offer"}', 0, NegotiationStep("offer", 8)))
    with pytest.raises(StaleNegotiation):
        world.relay(ana, negotiate("answer", "ben", 4))


@pytest.mark.parametrize("kind", ["answer", "ice-candidate"])
def test_a_superseded_message_of_another_node_is_not_delivered(kind: Any) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    first, second = offer(world, ana, "ben"), offer(world, ana, "ben")
    world.clear()
    for one in (first, second):
        world.hear(RemoteSignal(ben, ana, b'{"type":"x"}', one, NegotiationStep(kind, one)))
    assert world.types(ana) == ["x"]
    assert receipts(world) == [Receipt(ben, ana, first, delivered=False, superseded=second)]
