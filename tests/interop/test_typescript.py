"""The TypeScript clients, in the same room as a user on the documented envelope."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import mcp_clients
from tests.support.tokens import REQUIRED, bearer, token

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True, **REQUIRED)

CLIENTS: dict[str, tuple[str, str, str | None, tuple[str, ...]]] = {
    "v1 over HTTP": ("v1.mjs", "/mcp", "2025-11-25", ()),
    "v1 over a WebSocket": ("v1.mjs", "/ws/mcp/", None, ()),
    "v2 as it is by default": ("v2.mjs", "/mcp", "2025-11-25", ("legacy",)),
    "v2 without a handshake": ("v2.mjs", "/mcp", "2026-07-28", ("auto",)),
}


@pytest.mark.parametrize(("script", "path", "version", "more"), CLIENTS.values(), ids=CLIENTS)
async def test_a_typescript_client_talks_with_a_user(
    server: Server, node: str, script: str, path: str, version: str | None, more: tuple[str, ...]
) -> None:
    user = await server.user(**bearer("ada"))
    await user.expect("authenticated")
    await user.enter("r", "ada")
    url = server.url(path, "ws" if path.startswith("/ws") else "http")
    running = asyncio.create_task(mcp_clients.run(node, script, url, token("bot"), "r", *more))
    await user.expect("user-joined", user_id="bot", metadata={"agent": True}, verified=True)
    said = await user.hear()
    assert (said["sender"], said["payload"]["content"]) == ("bot", "hello")
    await user.say("message", "r", {"content": {"text": "hello, bot"}})
    status, told = await running
    assert status == 0, told
    found: dict[str, Any] = json.loads(told)
    assert found.get("version") == version
    assert {"join_room", "send_message", "receive_messages", "leave_room"} <= set(found["tools"])
    assert [one["id"] for one in found["roster"]] == ["ada", "bot"]
    assert [(one["from"], one["content"]) for one in found["messages"]] == [("ada", {"text": "hello, bot"})]
    await user.expect("user-left", user_id="bot")
