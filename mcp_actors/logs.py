"""Logging: structured, for people on a terminal and as JSON lines elsewhere, all to standard error.

Levels: ERROR a bug, WARNING something an operator must act on, INFO the life of the process, DEBUG single connections,
peers and rooms. What peers say to each other is logged at no level, as SDP and candidates hold addresses, nor tokens.
So a traceback comes without the values of variables, which structlog shows where `rich` is installed.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor


def set_up(level: str, style: Literal["auto", "text", "json"]) -> None:
    """Send the logs of this process, of Tornado and of Pykka too, to standard error."""
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("asyncio", "tornado.general"):  # Tornado tells of each malformed request, with the words of a client
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("tornado.general").addFilter(_is_for_operators)


def _is_for_operators(record: logging.LogRecord) -> bool:
    """Whether a record of Tornado is worth its level: it warns of each TLS handshake that fails, as clients' do."""
    return not (isinstance(record.msg, str) and record.msg.startswith("SSL Error"))
