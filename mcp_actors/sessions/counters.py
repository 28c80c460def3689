"""Counts of the sessions of this process, and of how clients came back to theirs."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING

from mcp_actors.counters.histogram import SLOW, Histogram

if TYPE_CHECKING:
    from mcp_actors.counters.traffic import Traffic
    from mcp_actors.sessions.state import State


class Resumption(StrEnum):
    """The outcome of an attempt to resume a session."""

    HERE = "here"
    """The session was at this process."""

    MOVED = "moved"
    """It was at another process, and is here now."""

    UNKNOWN = "unknown"
    """There is none: it has ended, its token was used up, or it belongs to another client."""

    REFUSED = "refused"
    """The client may not come back: it was removed by moderators, or comes back too often."""

    UNAVAILABLE = "unavailable"
    """It cannot be decided or done now."""

    ABANDONED = "abandoned"
    """The client has gone meanwhile, or the session has ended."""


class SessionCounters:
    """Sessions by state, and resumptions by outcome. `traffic` has the messages to their clients."""

    __slots__ = ("by_state", "incomplete", "opened", "resumed", "seconds", "traffic")

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.opened = 0
        self.by_state: dict[State, int] = defaultdict(int)
        self.resumed: dict[Resumption, int] = defaultdict(int)
        self.incomplete = 0
        """Resumed sessions of whose messages some were lost."""
        self.seconds = {outcome: Histogram(SLOW) for outcome in (Resumption.HERE, Resumption.MOVED)}

    def count_opened(self, state: State) -> None:
        """Count a new session."""
        self.opened += 1
        self.by_state[state] += 1

    def count_transition(self, before: State, state: State) -> None:
        """Count a session in its new state."""
        self.by_state[before] -= 1
        self.by_state[state] += 1

    def count_resumed(self, outcome: Resumption, seconds: float) -> None:
        """Count an attempt to resume."""
        self.resumed[outcome] += 1
        if outcome in self.seconds:
            self.seconds[outcome].observe(seconds)
