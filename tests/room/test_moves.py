from __future__ import annotations

from mcp_actors.protocol.events import MemberMoved
from mcp_actors.protocol.identifiers import Incarnation, NodeId
from mcp_actors.room.moves import Moves

ANA, BEN = Incarnation("ana"), Incarnation("ben")
OLD, NEW, THIRD = NodeId("old"), NodeId("new"), NodeId("third")
MOVE = MemberMoved(11, ANA, OLD, NEW, 1, (OLD, NEW, THIRD))


def _left(move: MemberMoved = MOVE) -> Moves:
    """As the node sees it at which ana was."""
    moves = Moves()
    moves.leave(move, watching=False)
    return moves


def _arrived(move: MemberMoved = MOVE) -> Moves:
    """As the node sees it at which ana is now."""
    moves = Moves()
    moves.arrive(move)
    return moves


def test_nothing_is_under_way_at_first_nor_when_all_is_over() -> None:
    assert not Moves()
    for moves in (_left(), _arrived()):
        assert moves
        moves.forget(ANA)
        assert not moves


def test_a_member_is_complete_when_all_nodes_but_its_own_have_heard_of_its_move() -> None:
    moves = _left()
    assert not moves.is_complete(ANA)
    moves.switched(ANA, NEW, 1)
    assert not moves.is_complete(ANA)
    moves.switched(ANA, THIRD, 1)
    assert moves.is_complete(ANA)


def test_a_member_is_complete_at_once_where_no_other_node_is_in_the_room() -> None:
    assert _left(MemberMoved(11, ANA, OLD, NEW, 1, (OLD,))).is_complete(ANA)


def test_who_did_not_move_or_is_here_is_never_complete() -> None:
    moves = _arrived(MemberMoved(11, ANA, OLD, NEW, 1, ()))
    assert not moves.is_complete(ANA)
    assert not moves.is_complete(BEN)


def test_what_a_node_says_to_all_is_for_one_that_was_here_until_it_has_heard_of_the_move() -> None:
    moves = _left()
    assert moves.still_for(THIRD) == [ANA]
    assert moves.still_for(OLD) == []
    moves.switched(ANA, THIRD, 1)
    assert moves.still_for(THIRD) == []
    assert moves.still_for(NEW) == [ANA]


def test_what_a_node_says_to_all_is_for_one_that_is_here_once_it_has_heard_of_the_move() -> None:
    moves = _arrived()
    assert moves.comes_here(ANA, NEW)
    assert not moves.comes_here(ANA, THIRD)
    moves.switched(ANA, THIRD, 1)
    assert moves.comes_here(ANA, THIRD)
    assert not moves.comes_here(ANA, OLD)
    assert moves.comes_here(BEN, OLD)


def test_each_node_is_told_a_message_in_one_place_alone_at_any_time() -> None:
    left, arrived = _left(), _arrived()
    for heard in (NodeId("nobody"), THIRD):
        for moves in (left, arrived):
            moves.switched(ANA, heard, 1)
        assert arrived.comes_here(ANA, THIRD) is (ANA not in left.still_for(THIRD))


def test_nothing_is_kept_of_an_arrival_that_all_have_heard_of() -> None:
    moves = _arrived()
    for node in (OLD, THIRD):
        moves.switched(ANA, node, 1)
    assert moves.arriving == {}


def test_a_word_about_an_earlier_move_says_nothing_of_the_later() -> None:
    again = MemberMoved(12, ANA, OLD, NEW, 3, MOVE.others)
    left, arrived = _left(again), _arrived(again)
    for moves in (left, arrived):
        moves.switched(ANA, THIRD, 1)
    assert left.still_for(THIRD) == [ANA]
    assert not arrived.comes_here(ANA, THIRD)


def test_a_word_about_somebody_else_changes_nothing() -> None:
    moves = _left()
    moves.switched(BEN, NEW, 1)
    moves.forget(BEN)
    assert moves.still_for(NEW) == [ANA]


def test_who_has_left_is_forgotten_with_its_receipts() -> None:
    moves = _arrived()
    assert moves.receipts == {ANA: []}
    moves.forget(ANA)
    assert moves.receipts == {}
    assert moves.arriving == {}
