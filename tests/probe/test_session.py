"""Round trips, and a session that outlives its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import connect
from mcp_actors.probe.peer import Peer
from mcp_actors.probe.session import check_latency, check_resume
from tests.support.tokens import REQUIRED, token

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_the_median_of_round_trips_is_measured(server: Server) -> None:
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other:
        check = await check_latency(one, other)
    assert check.outcome == "ok"
    assert check.milliseconds is not None
    assert check.milliseconds > 0


@pytest.mark.settings(**REQUIRED)
async def test_a_token_that_allows_no_signals_is_told(server: Server) -> None:
    endpoint = server.url("/ws/signaling/")
    mute, ada = token("mute", can=["message"]), token("ada")
    async with Peer.enter(endpoint, "r", mute) as one, Peer.enter(endpoint, "r", ada) as other:
        for check in (await check_latency(one, other), await check_resume(other, one)):
            assert check.outcome == "failed"
            assert "does not allow" in check.advice


@pytest.mark.parametrize("alone", [False, True], ids=["two peers", "one peer"])
async def test_a_session_goes_on_after_its_connection_is_cut(server: Server, alone: bool) -> None:
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other:
        order = one.room.order
        check = await check_resume(one, None if alone else other)
        assert check.outcome == "ok", check
        assert one.room.order == order


@pytest.mark.settings(resume_window=0)
async def test_a_server_without_sessions_is_told(server: Server) -> None:
    async with Peer.enter(server.url("/ws/signaling/"), "r") as one:
        check = await check_resume(one, None)
    assert check.outcome == "failed"
    assert "MCP_ACTORS_RESUME_WINDOW" in check.advice


async def test_a_signal_that_has_no_target_is_told(server: Server) -> None:
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other, connect(endpoint):
        await other.room.leave()
        check = await check_latency(one, other)
    assert check.outcome == "failed"
    assert "peer-not-found" in check.text
