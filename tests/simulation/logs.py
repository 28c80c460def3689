"""The log of all nodes of a simulation."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from logging import INFO
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from tests.simulation.loop import SimulationLoop

FENCED = "node was fenced, its members have to join again"


class Logs:
    """The log of all nodes."""

    def __init__(self, loop: SimulationLoop) -> None:
        self.lines: list[tuple[float, str]] = []
        self.errors: list[str] = []
        self.on_fenced: Callable[[int], None] = lambda _node: None
        self._loop = loop

    @contextmanager
    def captured(self) -> Iterator[None]:
        """Keep what is logged in this context."""
        before = structlog.get_config()
        structlog.configure(
            processors=[self._take],
            wrapper_class=structlog.make_filtering_bound_logger(INFO),
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def _take(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        if not self._loop.over:
            if event["event"] == FENCED:
                self.on_fenced(int(self._loop.current.name.partition(".")[0].removeprefix("node")))
            shown = " ".join(f"{name}={value}" for name, value in event.items() if name not in ("event", "exc_info"))
            error = event.get("exc_info")
            text = f"{self._loop.current}: {method}: {event['event']} {shown}"
            if error:
                text += f" {error!r}" if isinstance(error, BaseException) else _current_error()
            self.lines.append((self._loop.now, text))
            if method in ("error", "exception", "critical"):
                self.errors.append(text)
        raise structlog.DropEvent


def _current_error() -> str:
    return " " + traceback.format_exc().strip().replace("\n", " | ")
