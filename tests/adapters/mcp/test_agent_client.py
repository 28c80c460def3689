"""Clients of endpoints in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.mcp.agent_client import LEFT, AgentClient, RequestFailed
from mcp_actors.adapters.mcp.caller import Caller
from mcp_actors.endpoints.agents import AgentEndpoint
from mcp_actors.environment import load
from mcp_actors.limits import message_limits
from mcp_actors.protocol.codec import user_decoder
from mcp_actors.protocol.errors import CloseCode

if TYPE_CHECKING:
    from tests.support.server import Server


def _client(server: Server, ends: list[str] | None = None) -> AgentClient:
    app = server.app
    decode = user_decoder(message_limits(load(environ={}))).decode
    endpoint = AgentEndpoint(app.node, app.sessions, app.connections, app.authentication, decode)
    client = AgentClient(app.environment, endpoint, "192.0.2.1", lambda: None if ends is None else ends.append("end"))
    client.open(Caller("192.0.2.1"))
    return client


async def test_requests_have_replies_and_errors_of_their_own(server: Server) -> None:
    client = _client(server)
    assert (await client.request("connect", payload={"user_id": "bot"}))["user_id"] == "bot"
    with pytest.raises(RequestFailed, match="join it first") as failed:
        await client.request("message", "r", {"content": 1})
    assert failed.value.code == "not-in-room"
    await client.request("join-room", "r")
    assert client.is_in("r")
    client.close()


async def test_it_is_a_connection_among_others_until_it_is_closed(server: Server) -> None:
    ends: list[str] = []
    client = _client(server, ends)
    assert len(server.app.connections) == 1
    client.close()
    client.close()
    assert (client.close_code, ends) == (LEFT, ["end"])
    with pytest.raises(RequestFailed, match="The membership has ended"):
        await client.request("ping")


async def test_it_says_why_the_server_has_closed_it(server: Server) -> None:
    client = _client(server)
    client.last_words = "No bots."
    await client.request("connect", payload={"user_id": "bot"})
    (connection,) = server.app.connections
    connection.close(CloseCode.KICKED)
    assert client.describe_end() == "A moderator has removed you from the room. No bots."


async def test_it_makes_way_when_the_server_drains(server: Server) -> None:
    client = _client(server)
    await client.request("connect", payload={"user_id": "bot"})
    await client.request("join-room", "r")
    (connection,) = server.app.connections
    connection.ask_to_reconnect(5.0)
    await server.app.connections.all_gone()
    assert len(server.app.sessions.detached) == 1
    assert "stopping" in client.describe_end()
