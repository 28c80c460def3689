"""What a running process takes from changed settings, on SIGHUP: a real process, whose settings file is edited."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mcp_actors.reloading import changed
from mcp_actors.settings import Settings
from tests.support.client import Client
from tests.support.server import Process

if TYPE_CHECKING:
    from pathlib import Path


def hear(server: Process, event: str) -> dict[str, Any]:
    """The next line of the log with this event."""
    assert server.process.stderr is not None
    for line in server.process.stderr:
        if (found := json.loads(line))["event"] == event:
            return dict(found)
    raise AssertionError(f"{event} was not logged")


async def reload(server: Process, file: Path, settings: str) -> None:
    await asyncio.to_thread(file.write_text, settings)
    server.process.send_signal(signal.SIGHUP)
    await asyncio.to_thread(hear, server, "reloading")


async def connect_and_leave(server: Process) -> None:
    peer = await Client.open(f"ws://localhost:{server.port}/ws/signaling/")
    await peer.join("r", "ana")
    await peer.close()


async def test_the_level_and_the_access_log_change_while_the_server_runs(tmp_path: Path) -> None:
    file = tmp_path / "server.env"
    file.write_text("")
    with Process(tmp_path, "--port", "0", "--settings", str(file)) as server:
        await asyncio.to_thread(server.wait_until_serving)
        await connect_and_leave(server)
        await reload(server, file, "MCP_ACTORS_ACCESS_LOG=True")
        loaded = await asyncio.to_thread(hear, server, "settings loaded")
        assert (loaded["log_level"], loaded["access_log"]) == ("info", True)
        await connect_and_leave(server)
        line = await asyncio.to_thread(hear, server, "connection closed")
        assert (line["connection"], line["ids"], line["level"], line["logger"]) == (
            2,
            "ana",
            "info",
            "mcp_actors.access",
        )
        await reload(server, file, "MCP_ACTORS_LOG_LEVEL=debug")
        await asyncio.to_thread(hear, server, "settings loaded")
        await connect_and_leave(server)
        assert (await asyncio.to_thread(hear, server, "opened"))["connection"] == 3
        await reload(server, file, "MCP_ACTORS_LOG_LEVEL=warning")
        server.process.send_signal(signal.SIGTERM)
        status, _, err = await asyncio.to_thread(server.finish)
    assert status == 0
    assert "stopped" not in err  # which is logged at info


async def test_settings_that_need_a_restart_are_named_without_their_values(tmp_path: Path) -> None:
    file = tmp_path / "server.env"
    file.write_text("")
    with Process(tmp_path, "--port", "0", "--settings", str(file)) as server:
        await asyncio.to_thread(server.wait_until_serving)
        await reload(server, file, f"MCP_ACTORS_MAX_ROOMS=5\nMCP_ACTORS_SECRET_KEY={'s3' * 20}")
        line = await asyncio.to_thread(hear, server, "settings changed that need a restart")
        assert line["settings"] == ["MCP_ACTORS_SECRET_KEY", "MCP_ACTORS_MAX_ROOMS"]
        await reload(server, file, "MCP_ACTORS_LOG_LEVEL=loud")
        line = await asyncio.to_thread(hear, server, "settings cannot be read, keeping the present ones")
        assert "MCP_ACTORS_LOG_LEVEL" in line["reason"]
        assert await asyncio.to_thread(server.stop) == 0


def test_changes_are_found_in_all_groups() -> None:
    before = Settings()
    after = replace(
        before,
        redis=replace(before.redis, url="redis://a"),
        connections=replace(before.connections, message_rate=1.0),
    )
    assert changed(before, after) == ["redis_url", "connection_message_rate"]
    assert changed(before, before) == []
