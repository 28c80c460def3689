"""Structured logging to standard error: text on a terminal, JSON lines elsewhere.

Levels: ERROR for a bug, WARNING for what an operator must act on, INFO for the life of the process, DEBUG for single
connections, peers and rooms. Above DEBUG the lines of each event are limited; see `line_limit`. Tokens and messages
between peers, which hold addresses, are logged at no level. So tracebacks omit the values of variables, which structlog
shows where `rich` is installed.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Literal

import structlog

from mcp_actors.line_limit import LineLimit, shorten, shorten_traceback

if TYPE_CHECKING:
    from structlog.typing import Processor


_Logger = type("_Logger", (structlog.make_filtering_bound_logger("notset"),), {})
"""The class of all loggers. Its methods are those of the present level, as each logger is made once and kept."""


class LogControl:
    """Changes how much is logged while the process runs."""

    def __init__(self, limit: LineLimit) -> None:
        self._limit = limit

    def set(self, level: str, access_rate: float) -> None:
        """Log what has this level or a higher one, and so many lines of the access log per second."""
        self._limit.access_rate = access_rate
        for name, value in vars(structlog.make_filtering_bound_logger(level)).items():
            if callable(value):
                setattr(_Logger, name, value)
        root = logging.getLogger()
        root.setLevel(level.upper())
        for noisy in ("asyncio", "tornado.general"):  # Tornado quotes malformed requests at INFO
            logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
        logging.getLogger("mcp").setLevel(max(logging.ERROR, root.level))  # it warns of what agents send


def set_up(level: str, style: Literal["auto", "text", "json"], access_rate: float = 100.0) -> LogControl:
    """Send the logs of this process and its libraries to standard error.

    `access_rate`: lines of the access log per second.
    """
    limit = LineLimit(time.monotonic)
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if text
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[limit, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=_Logger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                shorten,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                shorten_traceback,
                renderer,
            ],
        )
    )
    handler.addFilter(limit)
    root = logging.getLogger()
    root.handlers = [handler]
    logging.getLogger("tornado.general").addFilter(_is_for_operators)
    control = LogControl(limit)
    control.set(level, access_rate)
    return control


def pass_on(access_rate: float = 100.0) -> None:
    """Pass events on to `logging`, as text, unless the application has configured structlog.

    The application decides which of them are shown, and where.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            LineLimit(time.monotonic, access_rate),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _is_for_operators(record: logging.LogRecord) -> bool:
    """Drop Tornado's warnings about failed TLS handshakes, which are the fault of clients."""
    return not (isinstance(record.msg, str) and record.msg.startswith("SSL Error"))
