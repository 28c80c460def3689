"""Connections that are no WebSockets yet: the address with the most gives up its oldest."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.adapters.tornado.handshakes import Handshakes


class Connection:
    """A connection of an address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_the_oldest_connection_of_the_address_with_the_most_is_closed_first() -> None:
    handshakes, connections = Handshakes(), [Connection(address) for address in "baabc"]
    for connection in connections:
        handshakes.add(connection, connection.address)
    closed: list[Connection] = []
    while handshakes.close_one():
        (gone,) = {one for one in connections if one.closed} - set(closed)
        closed.append(gone)
    assert [one.address for one in closed[:2]] in (["a", "b"], ["b", "a"])
    assert closed[2:] == [connections[4], *sorted(closed[3:], key=connections.index)]
    assert len(handshakes) == 0


def test_a_connection_may_be_forgotten_twice() -> None:
    handshakes, connection = Handshakes(), Connection("a")
    handshakes.add(connection, "a")
    handshakes.remove(connection)
    handshakes.remove(connection)
    assert (len(handshakes), handshakes.of("a"), handshakes.close_one()) == (0, 0, False)


@given(st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 30), st.none())))
def test_the_counts_are_those_of_the_open_connections(steps: list[str | int | None]) -> None:
    """A letter adds a connection of that address, a number removes one, and None gives one up."""
    handshakes, known = Handshakes(), list[Connection]()
    for step in steps:
        if isinstance(step, str):
            known.append(Connection(step))
            handshakes.add(known[-1], step)
        elif step is None:
            counts = Counter(one.address for one in known)
            assert handshakes.close_one() == bool(known)
            gone = [one for one in known if one.closed]
            assert len(gone) == bool(known)
            for one in gone:
                assert counts[one.address] == max(counts.values())
                assert one is next(other for other in known if other.address == one.address)
                known.remove(one)
        elif step < len(known):
            handshakes.remove(known.pop(step))
        assert len(handshakes) == len(known)
        assert [handshakes.of(address) for address in "abc"] == [
            sum(one.address == address for one in known) for address in "abc"
        ]
