"""Agents: users without a connection of their own, whose sessions are kept under one handle at all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.endpoints.messaging import MessagingEndpoint

if TYPE_CHECKING:
    from mcp_actors.auth.grants import Grant
    from mcp_actors.connection.connection import Connection
    from mcp_actors.protocol.identifiers import UserId
    from mcp_actors.protocol.messages import Connect
    from mcp_actors.sessions import Session

AGENT = {"agent": True}
"""The metadata by which others know an agent."""


class AgentEndpoint(MessagingEndpoint):
    """The requests of agents are those of users.

    An agent keeps the first resume token of its session: it is never told another, so that none is used up.
    """

    name = "agents"

    def _shown_metadata(self, grant: Grant | None) -> dict[str, Any]:
        return {**(super()._shown_metadata(grant) or {}), **AGENT}

    async def _come_back(self, connection: Connection, request: Connect, user: UserId) -> None:
        """Resume the session; nobody is shown the rooms again, as agents ask what they have missed."""
        await self._resume_session(connection, request.given, connection.identity.session_owner(user))
        if not connection.closed:
            self._greet(connection, request, user)

    def _resume(self, connection: Connection, session: Session, received: int) -> bool:
        return super()._resume(connection, session, max(received, session.replay.last - len(session.replay)))
