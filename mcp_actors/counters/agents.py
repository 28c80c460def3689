"""Counts of what agents do, for metrics."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class CallOutcome(StrEnum):
    """What came of a call: done, an error that the model was told, wrong arguments, or too many calls."""

    DONE = "done"
    FAILED = "failed"
    INVALID = "invalid"
    LIMITED = "limited"


class AgentCounters:
    """Calls by tool and outcome; memberships that were begun, resumed here, and ended by their lease.

    `waiting`: calls that wait for messages.
    """

    def __init__(self) -> None:
        self.calls: dict[tuple[str, CallOutcome], int] = defaultdict(int)
        self.joined = self.resumed = self.expired = self.waiting = 0

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Count a call while it waits."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1
