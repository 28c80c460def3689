"""The checks of all requirements; importing this package registers them."""

from __future__ import annotations

from mcp_actors.conformance.checks import cluster, joining, messages, negotiating, relaying, sessions, tokens, users

__all__ = ["cluster", "joining", "messages", "negotiating", "relaying", "sessions", "tokens", "users"]
