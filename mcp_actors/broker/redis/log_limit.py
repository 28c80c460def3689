"""Warnings about what may happen with every request, but is worth one line in a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger("mcp_actors.redis")

INTERVAL = 60.0
"""Seconds between two warnings of one event."""


class LogLimit:
    """Logs each event at most once per `INTERVAL`; `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def warning(self, event: str, **fields: Any) -> None:
        """Log an event, unless it was logged lately."""
        now = self._clock()
        if now - self._logged_at.get(event, -INTERVAL) >= INTERVAL:
            self._logged_at[event] = now
            log.warning(event, **fields)
