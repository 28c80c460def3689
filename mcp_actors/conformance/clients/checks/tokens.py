"""How clients use access tokens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.checks.resuming import QUIET
from mcp_actors.conformance.clients.registry import requirement
from mcp_actors.conformance.clients.scene import ADA

if TYPE_CHECKING:
    from mcp_actors.conformance.clients.scene import Scene
    from mcp_actors.conformance.clients.server import Connection

SECTION = "Authentication"


async def token_of(connection: Connection) -> tuple[str, dict[str, Any]]:
    """The token that a connection passes, and the fields of the answer to its request, if it made one."""
    offered = [one.strip() for one in connection.header("Sec-WebSocket-Protocol").split(",")]
    for one in (*offered, *connection.path.partition("?")[2].split("&")):
        for prefix in ("mcp-actors.token.", "token="):
            if one.startswith(prefix):
                return one.removeprefix(prefix), {}
    if header := connection.header("Authorization"):
        return header.removeprefix("Bearer "), {}
    request = await connection.expect("authenticate")
    return request["payload"]["token"], {"id": request["id"]} if "id" in request else {}


async def authenticated(scene: Scene, *tokens: str) -> Connection:
    """Let the client connect with a token, and join."""
    connection = await scene.connect(*tokens)
    _, given = await token_of(connection)
    await connection.say("authenticated", {"sub": ADA, "can": ["signal"], "expires_in": 60}, **given)
    await scene.welcome(connection)
    await scene.event("joined")
    return connection


@requirement("TOKENS-1", "A client MUST pass its token in one of the four ways.", SECTION)
async def passes(scene: Scene) -> None:
    found, _ = await token_of(await scene.connect("token-1"))
    if found != "token-1":
        raise Failed(f"the token 'token-1' was expected, not {found!r}")


@requirement("TOKENS-2", "A client whose token is refused MUST NOT try again with the same token.", SECTION)
async def refused(scene: Scene) -> None:
    connection = await scene.connect("token-1")
    _, given = await token_of(connection)
    refusal = {"code": "unauthorized", "message": "The token is not for this server.", "retryable": False}
    await connection.say("error", refusal, **given)
    await connection.close(4502)
    await scene.event("error", "closed")
    await scene.server.no_connection(QUIET)


@requirement("TOKENS-3", "After `token-expiring` a client MUST send `authenticate` with a new token.", "token-expiring")
async def renews(scene: Scene) -> None:
    connection = await authenticated(scene, "token-1", "token-2")
    await asyncio.sleep(0)
    await connection.say("token-expiring", {"expires_in": 60})
    found = (await connection.expect("authenticate"))["payload"].get("token")
    if found != "token-2":
        raise Failed(f"the token 'token-2' was expected, not {found!r}")
