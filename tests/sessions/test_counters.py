"""Counts of sessions by state, of the sessions of a registry and by themselves."""

from __future__ import annotations

from mcp_actors.counters.traffic import Traffic
from mcp_actors.sessions.counters import Resumption, SessionCounters


def test_only_resumptions_that_succeed_have_a_duration() -> None:
    counters = SessionCounters(Traffic())
    for outcome in Resumption:
        counters.count_resumed(outcome, 0.5)
    assert all(counters.resumed[outcome] == 1 for outcome in Resumption)
    assert {outcome: seconds.sum for outcome, seconds in counters.seconds.items()} == {
        Resumption.HERE: 0.5,
        Resumption.MOVED: 0.5,
    }
