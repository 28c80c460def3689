"""Sessions: what survives a broken connection: the client's identity, its rooms, and its undelivered messages."""

from mcp_actors.sessions.confinement import forbidden
from mcp_actors.sessions.counters import Resumption
from mcp_actors.sessions.greeting import Greeting
from mcp_actors.sessions.ports import ClientConnection, SessionLimits
from mcp_actors.sessions.registry import Sessions
from mcp_actors.sessions.session import VERIFIED, Session

__all__ = [
    "VERIFIED",
    "ClientConnection",
    "Greeting",
    "Resumption",
    "Session",
    "SessionLimits",
    "Sessions",
    "forbidden",
]
