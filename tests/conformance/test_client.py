"""The client of checks explains how a server differs from what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.target import Target

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_another_message_than_the_expected_one_is_shown(server: Server) -> None:
    client = await Target(server.url("", "http")).peer()
    await client.say("ping", id=1)
    with pytest.raises(
        Failed, match=r"^`joined` with \{'order': 1\} and the id 1 was expected, not \{\"type\": \"pong\""
    ):
        await client.expect("joined", 1, order=1)
    assert client.transcript[0] == '> {"type": "ping", "id": 1}'
    await client.close()


async def test_silence_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_actors.conformance.client.PATIENCE", 0.1)
    client = await Target(server.url("", "http")).peer()
    with pytest.raises(Failed, match=r"a message was expected, but nothing came for 0\.1 seconds"):
        await client.hear()
    await client.close()


async def test_another_close_code_is_told(server: Server) -> None:
    client = await Target(server.url("", "http")).peer()
    for _ in range(40):
        await client.send("{")
    with pytest.raises(Failed, match=r"a close with 1000 was expected, but the connection was closed with 4500"):
        await client.expect_close(1000)
