"""What all connections of a process share: the endpoint, the limits of each connection, and the parts of the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mcp_actors.auth.expiry import Expiry
from mcp_actors.connection.access_log import AccessLog
from mcp_actors.connection.counters import ConnectionCounters
from mcp_actors.counters.traffic import Traffic
from mcp_actors.memory_budget import MemoryBudget

if TYPE_CHECKING:
    from asyncio import Task

    from mcp_actors.auth.authentication import Authentication
    from mcp_actors.auth.authorization import Admission
    from mcp_actors.auth.grants import Permission
    from mcp_actors.connection.connection import Connection
    from mcp_actors.connection.connections import Connections
    from mcp_actors.connection.ip_limits import IpLimits
    from mcp_actors.connection.token_bucket import TokenBucket
    from mcp_actors.protocol.messages import Request
    from mcp_actors.protocol.outgoing import Dialect

Handler = Callable[["Connection", Any, bytes], None]
"""Handles a request of a connection, given as such and as its text."""


class Endpoint(Protocol):
    """The requests of one path of the server."""

    name: str
    """A word for it, in logs and metrics."""

    permission: Permission
    """The permission that a token must grant to send to others."""

    dialect: Dialect
    """How the clients speak."""

    handlers: Mapping[type[Request], Handler]
    """The handler of each type of request, called with the connection, the request and its text. May raise."""

    decode: Callable[[bytes], Request]
    """Decodes and validates a frame. Raises `BadMessage` and `MessageTooBig`."""

    def opened(self, connection: Connection, token: str | None, admission: Admission | None) -> None:
        """Handle a new connection, with the access token of its handshake and what the application decided about it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of each connection: messages and bytes that wait to be read by the client, and bad messages in a row.

    A connection that exceeds this rate of bad messages, with no valid one between them, is closed.
    """

    max_outbox_messages: int
    max_outbox_bytes: int
    bad_messages: TokenBucket


@dataclass(frozen=True, slots=True)
class Environment:
    """The parts that all connections of a process share. Without `authentication` no tokens are asked for."""

    connections: Connections
    addresses: IpLimits
    bounds: Bounds
    authentication: Authentication | None = None
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    expiry: Expiry = field(default_factory=Expiry)
    """The deadlines of grants; with `authentication` that is the same."""
    traffic: Traffic = field(default_factory=Traffic)
    counters: ConnectionCounters = field(default_factory=ConnectionCounters)
    access_log: AccessLog = field(default_factory=AccessLog)
    running: set[Task[None]] = field(default_factory=set)
    """Requests that run in the background: the event loop keeps only weak references to tasks."""
