"""Agents: users and peers without a connection of their own, whose sessions are kept under one handle everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mcp_actors.endpoints.endpoint import Endpoint
from mcp_actors.endpoints.messaging import MessagingEndpoint
from mcp_actors.endpoints.signaling import SignalingEndpoint
from mcp_actors.protocol.errors import NotInRoom
from mcp_actors.protocol.identifiers import shown

if TYPE_CHECKING:
    from mcp_actors.auth.grants import Grant
    from mcp_actors.connection.connection import Connection
    from mcp_actors.protocol.identifiers import PeerId, UserId
    from mcp_actors.protocol.messages import Connect, Join
    from mcp_actors.sessions import Session

AGENT = {"agent": True}
"""The metadata by which others know an agent."""


class KeepsFirstToken(Endpoint):
    """An agent keeps the first resume token of its session: it is never told another, so that none is used up."""

    keeps_first_token: ClassVar[bool] = True

    def _greeted(self, connection: Connection, session: Session) -> None:
        return

    def _resume(self, connection: Connection, session: Session, received: int, asked_at: float) -> bool:
        kept_from = session.replay.last - len(session.replay)
        return super()._resume(connection, session, max(received, kept_from), 0.0)


class AgentEndpoint(KeepsFirstToken, MessagingEndpoint):
    """The requests of agents that talk are those of users."""

    name = "agents"

    def _shown_metadata(self, grant: Grant | None) -> dict[str, Any]:
        return {**(super()._shown_metadata(grant) or {}), **AGENT}

    async def _come_back(self, connection: Connection, request: Connect, user: UserId) -> None:
        """Resume the session; nobody is shown the rooms again, as agents ask what they have missed."""
        await self._resume_session(connection, request.given, connection.identity.session_owner(user))
        if not connection.closed:
            self._greet(connection, request, user)


class AgentPeerEndpoint(KeepsFirstToken, SignalingEndpoint):
    """The requests of agents with a WebRTC stack are those of peers; one that cannot resume does not join anew."""

    name = "agents"

    def _enter(self, connection: Connection, request: Join, peer: PeerId) -> None:
        if request.given.resume and not connection.resumed:
            raise NotInRoom(f"You are not in room {shown(request.room)} any more; join it again.")
        super()._enter(connection, request, peer)
