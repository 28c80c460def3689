"""Counts of connections: by endpoint, and by close codes of which only known ones count by themselves."""

from __future__ import annotations

from mcp_actors.connection.counters import OTHER, ConnectionCounters
from mcp_actors.protocol.errors import CloseCode


def test_connections_are_numbered_and_counted_by_endpoint() -> None:
    counters = ConnectionCounters()
    assert [counters.count_opened("signaling"), counters.count_opened("messaging")] == [1, 2]
    counters.count_closed("signaling", CloseCode.IDLE, 2.5)
    assert dict(counters.open) == {"signaling": 0, "messaging": 1}
    assert dict(counters.opened) == {"signaling": 1, "messaging": 1}
    assert counters.seconds.sum == 2.5


def test_a_code_that_a_client_invents_counts_as_other() -> None:
    counters = ConnectionCounters()
    for code in (1000, 3123, 4999, 4000):
        counters.count_closed("signaling", code, 0)
    assert dict(counters.closed) == {1000: 1, OTHER: 2, CloseCode.SLOW_PEER: 1}
