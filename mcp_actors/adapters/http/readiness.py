"""Whether this process takes joins, as load balancers ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.connection.connections import Connections


class Readable(Protocol):
    """The broker, as it is seen here."""

    @property
    def ready(self) -> bool:
        """Whether rooms can be joined now."""


class Readiness:
    """Whether this process takes joins, and the reason if not. `has_keys`: whether it can verify access tokens."""

    def __init__(self, broker: Readable, connections: Connections, has_keys: Callable[[], bool] = lambda: True) -> None:
        self.stopping = False
        """Whether the process is about to drain: it still accepts connections, but load balancers must send no more."""
        self._broker = broker
        self._connections = connections
        self._has_keys = has_keys

    @property
    def problem(self) -> str | None:
        """The reason why no joins are taken; None if they are."""
        if self.stopping or self._connections.stopping:
            return "draining"
        if not self._broker.ready:  # only that of a cluster can be
            return "redis unavailable"
        if not self._has_keys():
            return "signing keys unavailable"
        return None if self._connections.refusal is None else "too many connections"
