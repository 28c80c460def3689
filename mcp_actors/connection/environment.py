"""What all connections of a process share: their limits, and parts of the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcp_actors.auth.expiry import Expiry
from mcp_actors.connection.access_log import AccessLog
from mcp_actors.connection.counters import ConnectionCounters
from mcp_actors.counters.traffic import Traffic
from mcp_actors.memory_budget import MemoryBudget

if TYPE_CHECKING:
    from asyncio import Task

    from mcp_actors.auth.authentication import Authentication
    from mcp_actors.connection.connections import Connections
    from mcp_actors.connection.ip_limits import IpLimits
    from mcp_actors.connection.token_bucket import TokenBucket


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
