"""Counts of reports about pairs."""

from __future__ import annotations

from mcp_actors.counters.pairs import LONGEST, PairCounters
from mcp_actors.protocol.pairs import PairFailure, PairOutcome


def test_reports_count_by_outcome_and_reason_and_their_seconds_by_outcome() -> None:
    counters = PairCounters()
    counters.count(PairOutcome.CONNECTED, None, 0.2)
    counters.count(PairOutcome.FAILED, PairFailure.NO_TURN, 4.0)
    counters.count(PairOutcome.FAILED, PairFailure.NO_TURN, 5.0)
    assert dict(counters.reports) == {
        (PairOutcome.CONNECTED, None): 1,
        (PairOutcome.FAILED, PairFailure.NO_TURN): 2,
    }
    assert {outcome: one.sum for outcome, one in counters.seconds.items()} == {
        PairOutcome.CONNECTED: 0.2,
        PairOutcome.HEALED: 0.0,
        PairOutcome.FAILED: 9.0,
    }


def test_one_report_cannot_spoil_the_average() -> None:
    counters = PairCounters()
    counters.count(PairOutcome.HEALED, None, 1e12)
    assert counters.seconds[PairOutcome.HEALED].sum == LONGEST
