from __future__ import annotations

import pytest

from mcp_actors.protocol.events import CutoverAcked, Kind, Member, MemberMoved, Receipt, RemoteSignal
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId
from mcp_actors.room.migrations import Migrations

ANA, BEN = Incarnation("ana"), Incarnation("ben")
OLD, NEW, THIRD = NodeId("old"), NodeId("new"), NodeId("third")
MEMBER = Member(Kind.PEER, PeerId("ana"), ANA, OLD, {})
MOVE = MemberMoved(11, ANA, OLD, NEW, 1, (OLD, NEW, THIRD))


def left(move: MemberMoved = MOVE) -> Migrations:
    """The migrations of ana's old node."""
    migrations = Migrations()
    migrations.leave(move, MEMBER, b"stamp", watching=False)
    return migrations


def arrived(move: MemberMoved = MOVE, *others: Incarnation) -> Migrations:
    """The migrations of ana's new node; the others are still at her old one."""
    migrations = Migrations()
    migrations.arrive(move, others)
    return migrations


def acked(migrations: Migrations, node: NodeId, who: Incarnation = ANA, epoch: int = 1) -> None:
    migrations.cutover_acked(CutoverAcked(who, node, epoch))


@pytest.mark.parametrize("migrations", [left(), arrived()])
def test_a_member_that_leaves_the_room_is_forgotten(migrations: Migrations) -> None:
    assert migrations
    migrations.forget(ANA)
    assert not migrations


def test_a_move_is_complete_when_every_other_node_knows_of_it() -> None:
    migrations = left()
    for node in (NEW, THIRD):
        assert not migrations.is_complete(ANA)
        acked(migrations, node)
    assert migrations.is_complete(ANA)
    assert left(MemberMoved(11, ANA, OLD, NEW, 1, (OLD,))).is_complete(ANA)


def test_only_moves_from_this_node_are_complete() -> None:
    migrations = arrived(MemberMoved(11, ANA, OLD, NEW, 1, ()))
    assert not migrations.is_complete(ANA)
    assert not migrations.is_complete(BEN)


def test_a_broadcast_is_for_a_member_at_one_of_its_nodes_at_any_time() -> None:
    old, new = left(), arrived()
    for node in (NodeId("nobody"), THIRD):
        acked(old, node)
        acked(new, node)
        is_new = node == THIRD
        assert old.still_addressed_here(THIRD) == ([] if is_new else [ANA])
        assert new.is_addressed_here(ANA, THIRD) is is_new
    assert old.still_addressed_here(OLD) == []
    assert new.is_addressed_here(ANA, NEW)
    assert new.is_addressed_here(BEN, OLD)


def test_an_arrival_is_forgotten_when_its_state_is_here_and_every_node_knows_of_it() -> None:
    migrations = arrived()
    for node in (OLD, THIRD):
        acked(migrations, node)
        assert migrations
    migrations.take_receipts(ANA)
    assert not migrations


def test_an_acknowledgement_of_an_earlier_move_is_ignored() -> None:
    again = MemberMoved(12, ANA, OLD, NEW, 3, MOVE.others)
    old, new = left(again), arrived(again)
    for migrations in (old, new):
        acked(migrations, THIRD)
        acked(migrations, THIRD, BEN, epoch=3)
    assert old.still_addressed_here(THIRD) == [ANA]
    assert not new.is_addressed_here(ANA, THIRD)


def test_receipts_are_kept_up_to_a_bound_until_they_are_taken() -> None:
    migrations = arrived()
    receipts = [Receipt(ANA, BEN, number, delivered=True) for number in range(3)]
    for receipt in receipts:
        migrations.keep_receipt(receipt, 2)
    assert migrations.take_receipts(ANA) == receipts[:2]
    migrations.keep_receipt(receipts[0], 2)
    assert migrations.take_receipts(ANA) == migrations.take_receipts(BEN) == []


def test_messages_of_members_of_the_old_node_are_held_until_they_are_taken() -> None:
    migrations = arrived(MOVE, BEN)
    assert migrations.is_held(ANA, BEN)
    assert not migrations.is_held(BEN, ANA)
    events = [RemoteSignal(BEN, ANA, b"", number) for number in range(2)]
    assert [migrations.hold(ANA, event) for event in events] == [1, 2]
    assert migrations.senders(ANA) == {BEN}
    assert migrations.take_held(ANA) == events
    assert not migrations.is_held(ANA, BEN)
    assert migrations.take_held(ANA) == migrations.take_held(BEN) == []
    assert migrations.senders(BEN) == set()


@pytest.mark.parametrize("how", ["leaves", "is fenced"])
def test_an_arrival_is_forgotten_when_nobody_is_left_who_might_have_sent_something(how: str) -> None:
    migrations = arrived(MOVE, BEN)
    migrations.take_receipts(ANA)
    for node in (OLD, THIRD):
        acked(migrations, node)
    assert migrations
    migrations.hold(ANA, RemoteSignal(BEN, ANA, b"", 1))
    if how == "leaves":
        migrations.forget(BEN)
    else:
        migrations.fence(BEN, 1)
    assert not migrations


def test_a_fenced_member_is_complete_and_no_broadcast_is_for_it_here() -> None:
    migrations = left()
    migrations.fence(ANA, 0)
    assert not migrations.is_fenced(ANA)
    migrations.fence(ANA, 1)
    assert migrations.is_fenced(ANA)
    assert migrations.is_complete(ANA)
    assert migrations.still_addressed_here(THIRD) == []


def test_a_state_is_awaited_until_it_is_here_or_its_node_is_fenced() -> None:
    taken, fenced = arrived(), arrived()
    assert taken.awaits_state(ANA)
    taken.take_receipts(ANA)
    fenced.fence(ANA, 1)
    assert not any([taken.awaits_state(ANA), fenced.awaits_state(ANA), taken.awaits_state(BEN)])


def test_a_member_comes_from_the_node_of_its_last_move() -> None:
    migrations = arrived()
    assert migrations.comes_from(ANA, OLD)
    assert migrations.comes_from(BEN, OLD)
    assert not migrations.comes_from(ANA, THIRD)
