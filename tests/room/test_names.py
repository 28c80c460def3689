"""The names of the members of a room."""

from __future__ import annotations

from mcp_actors.protocol.identifiers import Incarnation
from mcp_actors.room.names import Names

ADA, BOB = Incarnation("a.1"), Incarnation("b.1")


def test_several_members_may_have_one_name_and_each_has_its_last() -> None:
    names = Names()
    names.take(ADA, "x")
    names.take(BOB, "x")
    assert list(names.holders("x")) == [ADA, BOB]
    names.take(ADA, "y")
    assert (list(names.holders("x")), list(names.holders("y"))) == ([BOB], [ADA])
    assert (names.of(ADA), names.of(BOB), names.of(Incarnation("c.1"))) == ("y", "x", "")


def test_nothing_is_kept_of_members_that_are_gone_or_of_names_that_are_not_used() -> None:
    names = Names()
    for number in range(1000):
        names.take(ADA, f"name {number}")
    assert names.size == (1, 1)
    names.release(ADA)
    names.release(ADA)
    assert names.size == (0, 0)
    names.take(BOB, "x")
    names.clear()
    assert names.size == (0, 0)
