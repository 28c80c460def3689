"""Round trips, and a session that outlives its connection."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest

from bench.chaos.network import Network
from mcp_actors.client import connect
from mcp_actors.probe.peer import Peer
from mcp_actors.probe.session import check_latency, check_resume
from tests.support.server import Server
from tests.support.tokens import REQUIRED, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bench.engine import Engine


async def test_the_median_of_round_trips_is_measured(server: Server) -> None:
    endpoint = server.url("/ws/signaling/")
    async with Peer.enter(endpoint, "r") as one, Peer.enter(endpoint, "r") as other:
        check = await check_latency(one, other)
    assert check.outcome == "ok"
    assert check.milliseconds is not None
    assert check.milliseconds > 0


async def test_peers_at_two_processes_first_hear_of_each_other(engine: Engine, prefix: str, tmp_path: Path) -> None:
    with Network(Random(1)) as network:  # noqa: S311 - no secret
        path = network.path(engine.port)
        async with (
            served(tmp_path, path.port, prefix) as far,
            served(tmp_path, engine.port, prefix) as near,
            Peer.enter(far, "r") as one,
        ):
            path.hold("down")
            async with Peer.enter(near, "r") as other:
                checking = asyncio.create_task(check_latency(one, other))
                await asyncio.sleep(0.1)
                assert other.room.peer_id not in one.room.peers
                assert not checking.done()
                path.mend()
                check = await checking
    assert check.outcome == "ok", check


@asynccontextmanager
async def served(folder: Path, redis_port: int, prefix: str) -> AsyncIterator[str]:
    """The endpoint of a server that shares its rooms."""
    server = Server(folder, redis_url=f"redis://127.0.0.1:{redis_port}", redis_prefix=prefix)
    await server.start()
    yield server.url("/ws/signaling/")
    await server.stop()


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
