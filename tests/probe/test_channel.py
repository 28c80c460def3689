"""Data channels between two peers of a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aioice.ice

from mcp_actors.probe import channel
from mcp_actors.probe.channel import check_direct, relay_only
from mcp_actors.probe.peer import Peer

if TYPE_CHECKING:
    import pytest

    from tests.support.server import Server


async def test_a_channel_opens_directly(server: Server) -> None:
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other:
        check = await check_direct(one, other)
    assert check.outcome == "ok", check


async def test_a_machine_without_a_network_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: [])
    monkeypatch.setattr(channel, "TIMEOUT", 1.0)
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other:
        check = await check_direct(one, other)
    assert check.outcome == "failed"
    assert "no address" in check.text
    assert check.advice


async def test_an_offer_that_reaches_nobody_is_told(server: Server) -> None:
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other:
        await other.room.leave()
        check = await check_direct(one, other)
    assert check.outcome == "failed"
    assert "peer-not-found" in check.text


def test_only_the_turn_server_is_used_where_that_is_wanted() -> None:
    configuration = relay_only({"urls": ["turn:turn.example.com"], "username": "a", "credential": "b"})
    assert [server.urls for server in configuration.iceServers or ()] == [["turn:turn.example.com"]]
    assert configuration.iceTransportPolicy.name == "RELAY"
