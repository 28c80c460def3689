"""The composition root: what it wires reaches the wire, and stopping leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors import __version__
from tests.support.client import Closed
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ExpectedLogs


async def test_it_serves_both_endpoints_and_stops_with_1001(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.start()
    peer, user = await server.peer(), await server.user()
    await peer.join("r", "p")
    await user.say("connect", None, {"user_id": "u"})
    connected = await user.expect("connected")
    assert connected["payload"]["server"] == {"name": "mcp_actors", "version": __version__}
    stopping = asyncio.ensure_future(server.app.stop())
    await peer.expect_close(1001)
    await user.expect_close(1001)
    await stopping
    assert len(server.app.connections) == 0
    with pytest.raises(OSError, match=r"\[Errno"):
        await server.peer()


async def test_a_single_process_whose_sessions_nobody_could_take_does_not_drain(tmp_path: Path) -> None:
    server = Server(tmp_path, drain_seconds=600)
    await server.start()
    peer = await server.peer()
    await peer.join("r", "p")
    stopping = asyncio.ensure_future(server.app.stop())
    with pytest.raises(Closed) as closed:
        await peer.hear()
    assert closed.value.code == 1001
    await stopping


async def test_stopping_leaves_no_room(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.start()
    peers = [await server.peer() for _ in range(3)]
    for index, peer in enumerate(peers):
        await peer.join("r", str(index))
        await peer.join(f"own {index}", "p")
    assert len(server.app.node.rooms) == 4
    await server.stop()
    while len(server.app.node.rooms):
        await asyncio.sleep(0)


async def test_an_operator_who_opens_the_server_to_all_without_naming_hosts_is_warned(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors", "MCP_ACTORS_ALLOWED_HOSTS")
    server = Server(tmp_path, host="0.0.0.0")  # noqa: S104
    await server.start()
    await server.stop()
