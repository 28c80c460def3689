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


def set_up(level: str, style: Literal["auto", "text", "json"]) -> None:
    """Send the logs of this process and its libraries to standard error."""
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
        wrapper_class=structlog.make_filtering_bound_logger(level),
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
    root.setLevel(level.upper())
    for noisy in ("asyncio", "tornado.general"):  # Tornado quotes malformed requests at INFO
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("tornado.general").addFilter(_is_for_operators)


def pass_on() -> None:
    """Pass events on to `logging`, as text, unless the application has configured structlog.

    The application decides which of them are shown, and where.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            LineLimit(time.monotonic),
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
