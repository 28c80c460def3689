"""Counts of what clients report about their connections to each other, for metrics."""

from __future__ import annotations

from collections import defaultdict

from mcp_actors.counters.histogram import Histogram
from mcp_actors.protocol.pairs import PairFailure, PairOutcome

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
"""Bounds, in seconds, of what people wait for."""

LONGEST = 3600.0
"""Seconds that one report counts at most, so that a wrong one does not spoil the average."""


class PairCounters:
    """Reports by outcome and reason, which is None unless the pair failed; and their seconds by outcome."""

    def __init__(self) -> None:
        self.reports: dict[tuple[PairOutcome, PairFailure | None], int] = defaultdict(int)
        self.seconds = {outcome: Histogram(BOUNDS) for outcome in PairOutcome}

    def count(self, outcome: PairOutcome, reason: PairFailure | None, seconds: float) -> None:
        """Count one report."""
        self.reports[outcome, reason] += 1
        self.seconds[outcome].observe(min(seconds, LONGEST))
