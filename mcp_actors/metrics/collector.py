"""The metrics of a server inside an application, for the application's own registry of prometheus_client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.metrics.exposition import descriptions, families
from mcp_actors.metrics.readings import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Metric

    from mcp_actors.metrics.readings import Sources


class Collector:
    """To be registered: `prometheus_client.REGISTRY.register(signaling.metrics)`.

    `sources` returns the parts of the server, None while it is not started: then there are no metrics.
    """

    def __init__(self, sources: Callable[[], Sources | None]) -> None:
        self._sources = sources

    def describe(self) -> list[Metric]:
        """Return all metrics without values, so that the registry knows their names."""
        return descriptions()

    def collect(self) -> list[Metric]:
        """Return the metrics of this process."""
        sources = self._sources()
        return [] if sources is None else families(read(sources))
