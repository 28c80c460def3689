"""Limits of the log, so that no client can fill it: lines of one event in a time, and characters of a line.

Every line at INFO or above passes here, those of libraries, too; single modules need no limits of their own.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from structlog.typing import EventDict, WrappedLogger

AUDIT = "mcp_actors.audit"
"""The logger of what operators change. Its lines are not limited: no client can cause them."""

BURST, INTERVAL = 20, 10.0
"""Lines of one event at once, and seconds until there may be another one."""

ACCESS_LOGGER = "mcp_actors.access"
"""The logger whose lines have a budget of their own, all of them together."""

ACCESS_BURST = 10.0
"""Seconds of that budget that may be spent at once."""

MAX_EVENTS = 1000
"""Events that are counted by themselves; the code has a few hundred."""

MAX_VALUE, MAX_TRACEBACK = 200, 10_000
"""Characters of one value and of a traceback. Of a longer traceback the end is kept."""

ROUNDING = 1e-6
"""Seconds by which sums of intervals may be off."""

QUERY = re.compile(r"\?\S+")
"""The query of a URL, which may contain a token."""


class LineLimit(logging.Filter):
    """Drops lines of an event that occurs too often. The next line has their number as `dropped`; `clock`: seconds.

    It is a processor of structlog, so that a line that is dropped costs little, and a filter of the lines of libraries.
    `access_rate`: lines of the access log per second.
    """

    def __init__(self, clock: Callable[[], float], access_rate: float = 100.0) -> None:
        super().__init__()
        self.access_rate = access_rate
        self._clock = clock
        self._due: dict[Hashable, float] = {}
        self._dropped: dict[Hashable, int] = {}

    def __call__(self, logger: Any, method: str, fields: EventDict) -> EventDict:
        """Pass a line of the product on. Raises `DropEvent`."""
        if method != "debug" and logger.name != AUDIT:
            if logger.name == ACCESS_LOGGER:
                dropped = self._take(ACCESS_LOGGER, ACCESS_BURST * self.access_rate, 1 / self.access_rate)
            else:
                dropped = self._take((logger.name, fields.get("event")))
            if dropped is None:
                raise structlog.DropEvent
            if dropped:
                fields["dropped"] = dropped
        return fields

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a line; one of a library counts by the place in the code that logs it."""
        if isinstance(record.msg, dict) or record.levelno < logging.INFO:
            return True
        dropped = self._take((record.name, record.pathname, record.lineno))
        record.dropped = dropped
        return dropped is not None

    def _take(self, event: Hashable, burst: float = BURST, interval: float = INTERVAL) -> int | None:
        """Count a line. Return how many of its event were dropped before it; None if it is to be dropped, too."""
        if event not in self._due and len(self._due) >= MAX_EVENTS:
            event = None
        now = self._clock()
        due = max(self._due.get(event, 0.0), now) + interval
        if due > now + max(burst, 1.0) * interval + ROUNDING:
            self._dropped[event] = self._dropped.get(event, 0) + 1
            return None
        self._due[event] = due
        return self._dropped.pop(event, 0)


def shorten(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Cut long values, and leave out queries of URLs in lines of libraries."""
    record = fields["_record"]
    if not fields["_from_structlog"]:
        fields["event"] = QUERY.sub("?...", fields["event"])
        if getattr(record, "dropped", 0):
            fields["dropped"] = record.dropped
    for name, value in fields.items():
        if name not in ("_record", "_from_structlog", "exc_info", "exception"):
            fields[name] = _shortened(value)
    return fields


def shorten_traceback(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Cut a long traceback."""
    text = fields.get("exception")
    if isinstance(text, str) and len(text) > MAX_TRACEBACK:
        fields["exception"] = f"...{text[-MAX_TRACEBACK:]}"
    return fields


def _shortened(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}..."
