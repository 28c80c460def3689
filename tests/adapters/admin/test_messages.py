"""Messages of operators in the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.admin import ask, post

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_all_members_or_one_of_them_is_told(servers: list[Server]) -> None:
    here, there = servers
    a, b = await here.pair()
    assert await post(there, "/rooms/r/messages", {"content": {"text": "é"}}) == {"room": "r", "sent": True}
    for client in (a, b):
        told = await client.expect("announcement", content={"text": "é"})
        assert (told["room"], "sender" in told) == ("r", False)
    assert (await post(there, "/rooms/r/messages", {"content": 1, "to": {"kind": "peer", "id": "b"}}))["sent"]
    assert (await post(there, "/rooms/r/messages", {"content": 2}))["sent"]
    await b.expect("announcement", content=1)
    for client in (a, b):
        await client.expect("announcement", content=2)


async def test_nobody_is_told_what_is_for_somebody_else(servers: list[Server]) -> None:
    here, there = servers
    await here.pair()
    for to in ({"kind": "user", "id": "b"}, {"kind": "peer", "id": "c"}):
        assert not (await post(there, "/rooms/r/messages", {"content": 1, "to": to}))["sent"]
    assert not (await post(there, "/rooms/empty/messages", {"content": 1}))["sent"]


@pytest.mark.settings(max_message_bytes=1024)
async def test_a_message_is_no_longer_than_those_of_clients(server: Server) -> None:
    assert (await ask(server, "POST", "/rooms/r/messages", {"content": "x" * 1022})).status == 200
    answer = await ask(server, "POST", "/rooms/r/messages", {"content": "x" * 1023})
    assert answer.status == 413
    assert "MCP_ACTORS_MAX_MESSAGE_BYTES" in answer.content["error"]["message"]
    assert (await ask(server, "POST", "/rooms/r/messages", {"to": {"kind": "peer", "id": "b"}})).status == 400
