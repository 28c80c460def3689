"""How an agent enters a room, and returns to it: the first requests of a user or a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from mcp_actors.adapters.mcp.agent_client import RequestFailed
from mcp_actors.endpoints.agents import AGENT
from mcp_actors.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from mcp_actors.adapters.mcp.agent_client import AgentClient
    from mcp_actors.adapters.mcp.handle import Handle
    from mcp_actors.connection.connection import Endpoint


class Entrance(Protocol):
    """The first requests of one kind of client. They raise `RequestFailed`."""

    kind: ClassVar[Literal["user", "peer"]]
    leaving: ClassVar[str]
    """The type of the request that leaves a room."""
    endpoint: Endpoint

    async def enter(self, client: AgentClient, room: str, name: str) -> tuple[str, Any]:
        """Begin a session in a room; return its resume token, and the payload of the reply to the join.

        `name`: the id to claim; empty if a token says it.
        """

    async def resume(self, client: AgentClient, handle: Handle) -> bool:
        """Resume a session; False if it is not in the room of the handle any more."""


class UserEntrance:
    """See `Entrance`: a user says who it is, and then joins."""

    kind: ClassVar[Literal["user", "peer"]] = "user"
    leaving: ClassVar[str] = "leave-room"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def enter(self, client: AgentClient, room: str, name: str) -> tuple[str, Any]:
        """See `Entrance`."""
        connected = await client.request("connect", payload=_claim("user_id", name))
        return connected["resume"], await client.request("join-room", room)

    async def resume(self, client: AgentClient, handle: Handle) -> bool:
        """See `Entrance`."""
        payload = {**_claim("user_id", handle.name), "resume": handle.token, "received": 0}
        connected = await client.request("connect", payload=payload)
        return connected["resumed"] and client.is_in(handle.room)


class PeerEntrance:
    """See `Entrance`: a peer joins with its first request."""

    kind: ClassVar[Literal["user", "peer"]] = "peer"
    leaving: ClassVar[str] = "leave"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def enter(self, client: AgentClient, room: str, name: str) -> tuple[str, Any]:
        """See `Entrance`."""
        joined = await client.request("join", room, {**_claim("peer_id", name), "metadata": AGENT})
        return joined["resume"], joined

    async def resume(self, client: AgentClient, handle: Handle) -> bool:
        """See `Entrance`."""
        payload = {**_claim("peer_id", handle.name), "resume": handle.token, "received": 0}
        try:
            await client.request("join", handle.room, payload)
        except RequestFailed as error:
            if error.code == ErrorCode.NOT_IN_ROOM:
                return False
            raise
        return client.is_in(handle.room)


def _claim(field: str, name: str) -> dict[str, str]:
    return {field: name} if name else {}
