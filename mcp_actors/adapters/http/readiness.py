"""Whether this process takes joins, as load balancers ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mcp_actors.connection.connections import Connections


class Readable(Protocol):
    """The broker, as it is seen here."""

    @property
    def ready(self) -> bool:
        """Whether rooms can be joined now."""


class Readiness:
    """Whether this process takes joins, and the reason if not."""

    def __init__(self, broker: Readable, connections: Connections) -> None:
        self.stopping = False
        """Whether the process is about to drain: it still accepts connections, but load balancers must send no more."""
        self._broker = broker
        self._connections = connections

    @property
    def problem(self) -> str | None:
        """The reason why no joins are taken; None if they are."""
        if self.stopping or self._connections.stopping:
            return "draining"
        if not self._broker.ready:  # only that of a cluster can be
            return "redis unavailable"
        return None if self._connections.refusal is None else "too many connections"
