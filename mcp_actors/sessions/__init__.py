"""Sessions: what survives a broken connection - who it is, the rooms it is in, and what may not have arrived."""

from mcp_actors.sessions.registry import Sessions
from mcp_actors.sessions.session import VERIFIED, Session, Wire

__all__ = ["VERIFIED", "Session", "Sessions", "Wire"]
