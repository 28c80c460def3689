from __future__ import annotations

from typing import Any

import pytest

from mcp_actors.protocol import handover
from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import (
    CloseCode,
    NotInRoom,
)
from mcp_actors.protocol.events import (
    ClaimRefused,
    CutoverAcked,
    HandedOver,
    Kind,
    LeaveReason,
    Member,
    MemberLeft,
    MemberMoved,
    MissedChange,
    NegotiationStep,
    OwnerFenced,
    PresenceChanged,
    Receipt,
    RemoteBroadcast,
    RemoteSignal,
    Removal,
)
from mcp_actors.protocol.handover import Handover, MemberState, Offers, Pending
from mcp_actors.protocol.identifiers import Incarnation, PeerId
from mcp_actors.protocol.outgoing import Relayed
from mcp_actors.room.acknowledgements import EPOCH
from mcp_actors.room.effects import (
    AckCutover,
    AwaitHandover,
    Close,
    CutoverComplete,
    Deliver,
    HandOver,
    Left,
    Moved,
    Publish,
    Recovered,
    Relay,
    Release,
    SendReceipt,
)
from tests.support.rooms import NODE, OTHER, ROOM, THIRD, World, decoded, message, negotiate, signal


def outcome(world: World, reply: object) -> object:
    """The outcome of the request with this reply."""
    (done,) = [one for one in world.done if one.reply == reply]
    return done.outcome


def moved(incarnation: Incarnation, node: Any, *, old: Any = OTHER, epoch: int = 1) -> MemberMoved:
    return MemberMoved(50, incarnation, old, node, epoch, (NODE, OTHER, THIRD))


def move_here(world: World, incarnation: Incarnation, epoch: int = 1) -> None:
    """The session of a member of another node moves here."""
    world.sent[incarnation] = []
    world.room.claim(incarnation, epoch, reply="claim")
    world.hear(moved(incarnation, NODE, epoch=epoch))


def move_away(world: World, incarnation: Incarnation) -> None:
    """The session of a local member moves to another node."""
    world.hear(moved(incarnation, OTHER, old=NODE))


def pending(delivery_id: int, request_id: int, *awaited: Incarnation, target: str | None = "ana") -> Pending:
    return Pending(delivery_id, request_id, None if target is None else PeerId(target), dict.fromkeys(awaited, 0), None)


def test_a_claimed_member_is_local_once_it_has_moved_and_nobody_is_told() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    world.clear()
    world.room.claim(ben, 1, reply="claim")
    with pytest.raises(NotInRoom):
        world.relay(ben, signal("ana"))
    world.sent[ben] = []
    move = moved(ben, NODE)
    world.hear(move)
    assert world.effects[0] == AckCutover(move)
    assert outcome(world, "claim") == move
    assert world.sent[ana] == []
    assert isinstance(world.relay(ben, signal("ana")), Relay)
    assert isinstance(world.relay(ana, signal("ben")), Relay)


@pytest.mark.parametrize("presence", [False, True])
def test_a_claimed_member_that_wants_presence_is_told_of_it_before_it_is_handed_over(presence: bool) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    world.sent[ben] = []
    world.room.claim(ben, 1, presence=presence)
    world.hear(moved(ben, NODE), PresenceChanged(51, ana, True))
    assert world.types(ben) == (["peer-away"] if presence else [])


def test_a_claim_is_not_resolved_by_a_move_to_another_node() -> None:
    world = World()
    world.peer("ana")
    ben = world.remote(Kind.PEER, "ben")
    world.room.claim(ben, 1, reply="claim")
    world.hear(moved(ben, THIRD, epoch=2))
    assert world.done == []
    world.hear(ClaimRefused(ben, Removal(LeaveReason.KICKED)))
    assert outcome(world, "claim") == Removal(LeaveReason.KICKED)
    world.hear(moved(ben, NODE, old=THIRD, epoch=1))
    assert ben not in world.room.roster.local


def test_a_room_is_not_empty_while_a_claim_is_pending() -> None:
    room = World().room
    room.claim(Incarnation("ben"), 1)
    assert not room.empty
    room.heard(ClaimRefused(Incarnation("ben")))
    assert room.empty


def test_a_member_that_moved_away_is_reached_at_its_new_node() -> None:
    world = World()
    ana, amy = world.peer("ana"), world.peer("amy")
    world.clear()
    move_away(world, ana)
    assert [type(effect) for effect in world.effects] == [AckCutover, Left, Moved]
    publish = world.relay(amy, signal("ana"))
    assert isinstance(publish, Publish)
    assert [member.node for member in publish.to] == [OTHER]


def test_what_a_member_sent_before_it_moved_away_is_relayed_until_it_is_handed_over() -> None:
    world = World()
    ana, una, uma, ugo = world.peer("ana"), world.user("una"), world.user("uma"), world.remote(Kind.USER, "ugo")
    world.peer("amy")
    world.remote(Kind.PEER, "ben")
    move_away(world, ana)
    move_away(world, una)
    assert isinstance(world.relay(ana, signal("amy", 7)), Relay)
    publish = world.relay(ana, signal("ben"))
    assert isinstance(publish, Publish)
    assert (publish.sender.incarnation, publish.sender.node, publish.sender.epoch) == (ana, NODE, 0)
    world.broadcast(una, message("hi", 8))
    assert world.sent[uma][-1]["payload"] == {"content": "hi"}
    assert [(one.sender.epoch, [to.incarnation for to in one.to]) for one in world.published[1:]] == [(0, [ugo])]
    world.room.handovers.depart(ana)
    with pytest.raises(NotInRoom):
        world.relay(ana, signal("amy"))


def test_what_a_fenced_member_sent_is_not_relayed_as_its_client_sends_it_again() -> None:
    world = World()
    ana, una = world.peer("ana"), world.user("una")
    world.peer("amy")
    for one in (ana, una):
        move_away(world, one)
        world.hear(OwnerFenced(51, one, 1))
    world.clear()
    assert world.relay(ana, signal("amy", 7)) is None
    world.broadcast(una, message("hi", 8))
    assert world.effects == []


def test_a_fenced_member_is_handed_over_at_once_and_what_arrives_for_it_is_left_to_its_new_node() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    move_away(world, ana)
    world.clear()
    world.hear(OwnerFenced(51, ana, 1))
    assert world.effects == [CutoverComplete(ana)]
    world.hear(RemoteSignal(ben, ana, b"{}", 1))
    assert world.effects == [CutoverComplete(ana)]


def test_a_fence_of_an_earlier_move_means_nothing() -> None:
    world = World()
    ana = world.peer("ana")
    world.peer("amy")
    world.hear(moved(ana, OTHER, old=NODE, epoch=3), OwnerFenced(51, ana, 2))
    assert isinstance(world.relay(ana, signal("amy")), Relay)


def test_the_wait_for_a_fence_ends_with_it_or_with_the_membership() -> None:
    world = World()
    names = ("ben", "cia", "dan")
    ben, cia, dan = (world.remote(Kind.PEER, name) for name in names)
    world.peer("ana")
    for one in (ben, cia, dan):
        assert not world.room.handovers.fence_owner(one, "too early")
        move_here(world, one)
        assert world.room.handovers.fence_owner(one, f"fence of {one}")
    world.clear()
    world.hear(OwnerFenced(51, ben, 1), moved(cia, THIRD, old=NODE, epoch=2))
    world.remote_leaves(dan)
    assert [one.reply for one in world.done] == [f"fence of {one}" for one in (ben, cia, dan)]


def held_world() -> tuple[World, dict[str, Incarnation]]:
    """Ben and una came here from the other node, where sam and sue still are; tim and tom are at a third one."""
    world = World()
    found = {name: world.remote(Kind.PEER, name) for name in ("ben", "sam")}
    found |= {name: world.remote(Kind.USER, name) for name in ("una", "sue")}
    found |= {"tim": world.remote(Kind.PEER, "tim", THIRD), "tom": world.remote(Kind.USER, "tom", THIRD)}
    world.peer("ana")
    world.user("uma")
    move_here(world, found["ben"])
    move_here(world, found["una"])
    world.hear(*(CutoverAcked(found[name], node, 1) for name in ("ben", "una") for node in (OTHER, THIRD)))
    world.clear()
    return world, found


def texts(world: World, incarnation: Incarnation) -> list[str]:
    return [one["text"] for one in world.sent[incarnation]]


def text(value: str) -> bytes:
    return b'{"text":"%b"}' % value.encode()


def test_messages_of_the_old_node_wait_for_the_handover_and_follow_it_without_an_offset() -> None:
    world, who = held_world()
    ben, sam, tim = who["ben"], who["sam"], who["tim"]
    world.hear(RemoteSignal(sam, ben, text("2"), 7, offset=b"1-0.0@n"), RemoteSignal(sam, ben, text("3"), 8))
    world.hear(RemoteSignal(tim, ben, text("other"), 9, offset=b"2-0.0@n"))
    assert [one for one in world.effects if isinstance(one, AwaitHandover)] == [AwaitHandover(ben)]
    assert texts(world, ben) == ["other"]
    late = [(sender, Relayed(b"", text(value)[1:])) for sender, value in (("sam", "1"), ("zoe", "void"))]
    world.apply(world.room.delivery.deliver_late(ben, late))
    assert texts(world, ben) == ["other", "1", "2", "3"]
    assert "at" not in world.sent[ben][2]
    receipts = [one.delivery_id for one in world.effects if isinstance(one, Deliver)]
    assert receipts == [9, 7, 8]
    world.hear(RemoteSignal(sam, ben, text("4"), 10))
    assert texts(world, ben)[-1] == "4"


def test_broadcasts_of_the_old_node_wait_for_the_handover_too() -> None:
    world, who = held_world()
    una, sue, tom = who["una"], who["sue"], who["tom"]
    world.hear(RemoteBroadcast(sue, una, text("2"), 7), RemoteBroadcast(tom, una, text("other"), 0))
    assert texts(world, una) == ["other"]
    assert [texts(world, one) for one in world.room.roster.local if "uma" in one] == [["2", "other"]]
    world.apply(world.room.delivery.deliver_late(una, [("sue", Relayed(b"", text("1")[1:]))]))
    assert texts(world, una) == ["other", "1", "2"]


@pytest.mark.parametrize("fenced", [True, False])
def test_messages_of_a_member_that_left_or_goes_on_elsewhere_are_void(fenced: bool) -> None:
    world, who = held_world()
    ben, sam = who["ben"], who["sam"]
    world.hear(RemoteSignal(sam, ben, text("1"), 7))
    if fenced:
        world.hear(moved(sam, THIRD), OwnerFenced(52, sam, 1))
    else:
        world.remote_leaves(sam)
    world.clear()
    world.apply(world.room.delivery.deliver_late(ben, [("sam", Relayed(b"", text("0")[1:]))]))
    assert world.sent[ben] == []
    if fenced:
        world.hear(RemoteSignal(sam, ben, text("again"), 7))
        assert texts(world, ben) == ["again"]


def test_a_limited_number_of_messages_waits_for_the_handover() -> None:
    world = World(max_pending_acks=2)
    ben, sam = world.remote(Kind.PEER, "ben"), world.remote(Kind.PEER, "sam")
    world.peer("ana")
    move_here(world, ben)
    world.clear()
    world.hear(*(RemoteSignal(sam, ben, text(str(number)), 0) for number in range(2)))
    assert world.sent[ben] == []
    world.hear(*(RemoteSignal(sam, ben, text(str(number)), 0) for number in range(2, 4)))
    assert texts(world, ben) == ["0", "1", "2", "3"]


def test_messages_that_wait_for_a_handover_go_with_a_member_that_moves_on() -> None:
    world, who = held_world()
    world.hear(RemoteSignal(who["sam"], who["ben"], text("1"), 7))
    world.hear(moved(who["ben"], THIRD, old=NODE, epoch=2))
    assert texts(world, who["ben"]) == ["1"]


def test_a_handover_of_an_earlier_owner_is_ignored() -> None:
    world, who = held_world()
    world.hear(HandedOver(who["ben"], handover.pack(Handover(MemberState(watching=True))), THIRD))
    assert world.effects == []
    assert who["ben"] not in world.room.roster.watching


def test_messages_that_wait_for_receipts_are_void_once_the_old_node_is_fenced() -> None:
    world, who = held_world()
    ben, tim = who["ben"], who["tim"]
    world.hear(OwnerFenced(52, ben, 1))
    state = MemberState(pending=[pending(3, 7, tim, target="tim")], watching=True)
    world.hear(HandedOver(ben, handover.pack(Handover(state)), OTHER), Receipt(ben, tim, 3, delivered=True))
    assert world.sent[ben] == []
    assert ben in world.room.roster.watching


def test_the_requests_of_a_member_that_moves_away_are_resolved() -> None:
    world = World()
    ana, amy = world.peer("ana"), world.peer("amy")
    world.room.leave(ana, replied=True, reply="leave")
    world.room.moderation.request(amy, wire.Lock(room=ROOM), "lock")
    move_away(world, ana)
    move_away(world, amy)
    assert [outcome(world, reply) for reply in ("leave", "lock")] == [None, None]
    world.room.handovers.depart(ana)
    move_here(world, ana, epoch=2)
    assert isinstance(world.relay(ana, signal("amy")), Publish)


def test_a_room_is_not_empty_until_a_member_that_moved_away_has_departed() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    move_away(world, ana)
    empty = [world.room.empty]
    world.hear(RemoteSignal(ben, ana, b'{"type":"signal"}', 0))
    assert world.types(ana)[-1] == "signal"
    world.hear(CutoverAcked(ana, OTHER, 1))
    world.room.handovers.depart(ana)
    empty.append(world.room.empty)
    assert empty == [False, True]
    world.clear()
    world.hear(RemoteSignal(ben, ana, b'{"type":"signal"}', 0))
    assert [one.receipt.delivered for one in world.effects if isinstance(one, SendReceipt)] == [False]


def receipts(world: World) -> list[Receipt]:
    return [one.receipt for one in world.effects if isinstance(one, SendReceipt)]


@pytest.mark.parametrize("end", ["acknowledged", "left", "fenced"])
def test_messages_to_a_member_that_was_handed_over_too_early_are_returned_until_all_nodes_know(end: str) -> None:
    world = World()
    uma, peg = world.user("uma"), world.peer("peg")
    una = world.remote(Kind.USER, "una", node=THIRD)
    for one in (uma, peg):
        move_away(world, one)
        world.room.handovers.depart(one)
    world.clear()
    late = [RemoteBroadcast(una, uma, b'{"type":"message"}', 3), RemoteSignal(una, peg, b'{"type":"signal"}', 4)]
    world.hear(*late)
    assert [(one.delivery_id, one.delivered, one.moved) for one in receipts(world)] == [
        (3, False, True),
        (4, False, True),
    ]
    assert [world.types(one) for one in (uma, peg)] == [[], []]
    assert not world.room.empty
    world.hear(CutoverAcked(uma, OTHER, 1), CutoverAcked(peg, OTHER, 1))
    match end:
        case "acknowledged":
            world.hear(CutoverAcked(uma, THIRD, 1), CutoverAcked(peg, THIRD, 1))
        case "left":
            world.remote_leaves(una)
        case _:
            world.hear(OwnerFenced(51, uma, 1), OwnerFenced(52, peg, 1))
    assert [one.to for one in world.effects if isinstance(one, Release)] == [uma, peg]
    assert world.room.empty


def test_a_broadcast_that_missed_a_user_on_its_way_is_to_be_sent_again() -> None:
    world = World()
    uma = world.user("uma")
    una, ugo = world.remote(Kind.USER, "una"), world.remote(Kind.USER, "ugo", node=THIRD)
    world.broadcast(uma, message("hi", 7))
    (sent,) = world.published
    world.clear()
    world.hear(Receipt(uma, una, sent.delivery_id, delivered=False, moved=True))
    world.hear(Receipt(uma, ugo, sent.delivery_id, delivered=True))
    assert [(one["id"], one["payload"]["code"]) for one in world.sent[uma]] == [(7, "unavailable")]


def test_the_cutover_is_complete_when_all_nodes_know_of_the_move() -> None:
    world = World()
    ana = world.peer("ana")
    move_away(world, ana)
    world.hear(CutoverAcked(ana, OTHER, 1))
    assert CutoverComplete(ana) not in world.effects
    world.hear(CutoverAcked(ana, THIRD, 1))
    assert world.effects[-1] == CutoverComplete(ana)


def test_the_cutover_is_complete_at_once_if_no_other_node_is_in_the_room() -> None:
    world = World()
    ana = world.peer("ana")
    world.hear(MemberMoved(50, ana, NODE, OTHER, 1, (NODE,)))
    assert world.effects[-1] == CutoverComplete(ana)


def test_a_broadcast_reaches_a_moved_user_at_the_node_where_its_sender_saw_it() -> None:
    world = World()
    uma, vic = world.user("uma"), world.remote(Kind.USER, "vic")
    xia = world.remote(Kind.USER, "xia", THIRD)
    ana = world.peer("ana")
    move_here(world, vic)
    move_away(world, uma)
    move_away(world, ana)

    def receivers() -> set[Incarnation]:
        world.clear()
        world.hear(RemoteBroadcast(xia, uma, b'{"type":"message"}', 0))
        return {one for one, messages in world.sent.items() if messages}

    assert receivers() == {uma}
    world.hear(CutoverAcked(uma, THIRD, 1))
    assert receivers() == set()
    world.hear(CutoverAcked(vic, THIRD, 1))
    assert receivers() == {vic}


def test_a_broadcast_that_is_late_is_judged_by_the_node_at_which_its_sender_was() -> None:
    world = World()
    world.user("uma")
    vic, xia = world.remote(Kind.USER, "vic"), world.remote(Kind.USER, "xia")
    move_here(world, vic)
    world.hear(MemberMoved(60, xia, OTHER, THIRD, 1, (NODE, OTHER, THIRD)), CutoverAcked(vic, THIRD, 1))
    world.clear()
    world.hear(RemoteBroadcast(xia, vic, b'{"type":"message"}', 0, epoch=0))
    world.apply(world.room.delivery.deliver_late(vic, []))
    assert world.types(vic) == []
    world.hear(RemoteBroadcast(xia, vic, b'{"type":"message"}', 0, epoch=1))
    assert world.types(vic) == ["message"]


@pytest.mark.parametrize("how", ["left", "moved"])
def test_a_node_that_had_no_members_in_between_reaches_a_user_that_moved_here(how: str) -> None:
    world = World()
    vic, xia = world.remote(Kind.USER, "vic"), world.remote(Kind.USER, "xia", THIRD)
    move_here(world, vic)
    if how == "left":
        world.remote_leaves(xia)
    else:
        world.hear(MemberMoved(60, xia, THIRD, OTHER, 1, (NODE, OTHER, THIRD)))
    yan = world.remote(Kind.USER, "yan", THIRD)
    world.clear()
    world.hear(RemoteBroadcast(yan, vic, b'{"type":"message"}', 0))
    assert world.types(vic) == ["message"]


def test_the_state_of_a_member_departs_with_it() -> None:
    world = World()
    ana = world.peer("ana", presence=True)
    ben = world.remote(Kind.PEER, "ben")
    offer = world.relay(ana, negotiate("offer", "ben", id=7))
    assert isinstance(offer, Publish)
    assert offer.step is not None
    number = offer.step.number
    move_away(world, ana)
    state = world.room.handovers.depart(ana)
    waiting = Pending(offer.delivery_id, 7, PeerId("ben"), {ben: 0}, NegotiationStep("offer", number))
    assert state == MemberState(watching=True, offers=[Offers(ben, number, 0)], pending=[waiting])
    assert world.room.handovers.depart(ana) == MemberState(offers=[Offers(ben, number, 0)])


def test_the_state_of_a_member_that_moved_here_is_adopted() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    move_here(world, ben)
    offers = [Offers(ana, 4, 9), Offers(Incarnation("gone"), 5, 6)]
    state = MemberState(watching=True, offers=offers, pending=[pending(3, 7, ana)])
    handed = Handover(state)
    world.clear()
    world.hear(HandedOver(ben, handover.pack(handed)), PresenceChanged(51, ana, detached=True))
    world.hear(Receipt(ben, ana, 3, delivered=True))
    assert world.effects[0] == HandOver(ben, handed)
    assert [(one["type"], one.get("id")) for one in world.sent[ben]] == [("peer-away", None), ("ack", 7)]
    assert world.room.handovers.depart(ben) == MemberState(watching=True, offers=offers[:1])


def test_a_dead_node_hands_over_nothing() -> None:
    world = World()
    ben = world.remote(Kind.PEER, "ben")
    move_here(world, ben)
    assert world.room.heard(HandedOver(ben, b"")) == [HandOver(ben, None)]


def test_the_later_of_two_numbers_of_an_offer_is_adopted() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    move_here(world, ben)
    world.room.handovers.adopt(ben, MemberState(offers=[Offers(ana, 4, 9)]))
    world.room.handovers.adopt(ben, MemberState(offers=[Offers(ana, 8, 3)]))
    assert world.room.handovers.depart(ben).offers == [Offers(ana, 8, 9)]


def test_the_state_of_a_member_that_is_not_local_is_not_adopted() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    assert world.room.handovers.adopt(ben, MemberState(watching=True, pending=[pending(3, 7, ana)])) == []
    assert world.room.handovers.depart(ben) == MemberState()


def test_receipts_that_come_before_the_state_wait_for_it_up_to_a_bound() -> None:
    world = World(max_pending_acks=2)
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    move_here(world, ben)
    world.hear(*(Receipt(ben, ana, number, delivered=True) for number in (1, 2, 3)))
    assert world.sent[ben] == []
    world.apply(
        world.room.handovers.adopt(ben, MemberState(pending=[pending(number, number, ana) for number in (1, 2, 3)]))
    )
    assert [one["id"] for one in world.sent[ben]] == [1, 2]


def test_an_adopted_message_to_a_member_that_has_left_is_answered_at_once() -> None:
    world = World()
    world.peer("ana")
    ben = world.remote(Kind.PEER, "ben")
    move_here(world, ben)
    world.apply(
        world.room.handovers.adopt(ben, MemberState(pending=[pending(3, 7, Incarnation("gone"), target="zoe")]))
    )
    (error,) = world.sent[ben]
    assert (error["id"], error["payload"]["code"]) == (7, "peer-not-found")


def test_receipts_for_what_a_member_sent_from_another_node_answer_nothing_that_it_sends_here() -> None:
    world = World()
    ben, cia = world.remote(Kind.PEER, "ben"), world.remote(Kind.PEER, "cia", THIRD)
    move_here(world, ben)
    publish = world.relay(ben, signal("cia", 8))
    assert isinstance(publish, Publish)
    assert publish.delivery_id == EPOCH + 1
    world.clear()
    world.hear(Receipt(ben, cia, 1, delivered=True))
    assert world.sent[ben] == []
    world.hear(moved(ben, OTHER, old=NODE, epoch=2))
    publish = world.relay(ben, signal("cia", 9))  # sent before it moved on
    assert isinstance(publish, Publish)
    assert publish.delivery_id == EPOCH + 2


def test_a_member_that_leaves_while_it_moves_is_forgotten() -> None:
    world = World()
    ana = world.peer("ana")
    move_away(world, ana)
    world.remote_leaves(ana)
    assert world.room.empty
    assert Close(ana, CloseCode.ROOM_LOST) in world.effects


def test_a_member_is_given_what_its_old_node_may_not_have_delivered() -> None:
    world = World()
    world.peer("ana")
    ben, cia = world.remote(Kind.PEER, "ben"), world.remote(Kind.PEER, "cia")
    move_here(world, ben)
    world.clear()
    zoe = Member(Kind.PEER, PeerId("zoe"), Incarnation("z"), OTHER, {"x": 1}, order=4)
    before = [RemoteSignal(cia, ben, b"{}", 1), RemoteSignal(cia, ben, b"{}", 0)]
    missed: list[RemoteSignal | RemoteBroadcast | MissedChange] = [
        RemoteSignal(cia, ben, b'{"type":"offer"}', 2, NegotiationStep("offer", 3)),
        RemoteSignal(cia, ben, b'{"type":"ice-candidate"}', 3, NegotiationStep("ice-candidate", 1)),
        MissedChange(PeerId("zoe"), zoe),
        MissedChange(PeerId("zoe"), reason=LeaveReason.LEFT),
        MissedChange(PeerId("cia"), detached=True),
        MissedChange(PeerId(""), locked=True),
    ]
    world.apply(world.room.handovers.recover(ben, missed, before, arrived=True))
    recovered = [decoded(one.message)["type"] for one in world.effects if isinstance(one, Recovered)]
    assert recovered == ["offer", "peer-joined", "peer-left", "room-locked"]
    receipts = [one.receipt for one in world.effects if isinstance(one, SendReceipt)]
    assert [(one.delivery_id, one.delivered, one.queued, one.superseded) for one in receipts] == [
        (1, True, False, 0),
        (2, True, True, 0),
        (3, False, False, 3),
    ]
    assert world.room.handovers.recover(cia, missed, before, arrived=True) == []


def test_members_that_a_stopping_node_leaves_to_others_are_sent_nothing_more() -> None:
    world = World()
    members = [world.peer(name) for name in ("ana", "ben")]
    for one in members:
        world.room.handovers.depart(one)
    world.clear()
    for version, one in enumerate(members, 90):  # the node is fenced before it has stopped
        world.hear(MemberLeft(version, one, LeaveReason.NODE_LOST))
    assert not any(world.sent.values())
