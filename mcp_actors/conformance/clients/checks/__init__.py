"""The checks of clients, by subject; they register themselves."""

from mcp_actors.conformance.clients.checks import closing, moving, reading, resuming, tokens

__all__ = ["closing", "moving", "reading", "resuming", "tokens"]
