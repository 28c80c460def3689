"""The command line, as a person uses it: real processes in an empty directory."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from mcp_actors import __version__
from mcp_actors.secret import make
from tests.support.client import Client
from tests.support.server import Process

if TYPE_CHECKING:
    from pathlib import Path


def test_version_and_help_teach(tmp_path: Path) -> None:
    status, out, _ = Process(tmp_path, "--version").finish()
    assert (status, out.strip()) == (0, f"mcp_actors {__version__}")
    status, out, _ = Process(tmp_path, "--help").finish()
    assert status == 0
    for word in ("serve", "--port 9000", "--settings", "MCP_ACTORS_", "PROTOCOL.md"):
        assert word in out
    status, out, _ = Process(tmp_path, "serve", "--help").finish()
    assert status == 0
    assert "--host" in out


def test_serving_says_where_to_point_a_browser_and_a_client(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        with urllib.request.urlopen(f"http://localhost:{server.port}/", timeout=5) as page:
            assert b"<html" in page.read()
        assert server.stop() == 0


def test_a_command_is_not_needed_and_the_environment_sets_the_port(tmp_path: Path) -> None:
    with Process(tmp_path, PORT="0", MCP_ACTORS_HOST="127.0.0.1") as server:
        server.wait_until_serving()
        assert server.stop() == 0


def test_settings_come_from_a_file_and_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=0\n")
    (tmp_path / "my.env").write_text("MCP_ACTORS_LOG_LEVEL=loud\n")
    with Process(tmp_path) as server:
        server.wait_until_serving()
        assert server.stop() == 0
    status, out, err = Process(tmp_path, "serve", "--settings", "my.env").finish()
    assert (status, out) == (2, "")
    assert err.startswith("mcp-actors: MCP_ACTORS_LOG_LEVEL is 'loud'")


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["serve", "--port", "eighty"], {}, "--port is 'eighty'"),
        (["serve", "--port", "99999"], {}, "--port is '99999'"),
        (["serve", "--settings", "nowhere.env"], {}, "nowhere.env"),
        (["dance"], {}, "dance"),
        ([], {"MCP_ACTORS_PROT": "1"}, "Did you mean MCP_ACTORS_PORT?"),
        (["--processes", "2"], {}, "set REDIS_URL"),
        ([], {"REDIS_URL": "localhost"}, "starts with redis://"),
    ],
)
def test_a_wrong_setting_exits_2_and_says_what_to_change(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    status, out, err = Process(tmp_path, *arguments, **environ).finish()
    assert (status, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, err = Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", port).finish()
    assert status == 1
    assert f"port {port}" in err
    assert "--port" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("host", ["nosuch.invalid", "a" * 100, "é..x"])
def test_a_host_that_cannot_be_listened_on_is_named(tmp_path: Path, host: str) -> None:
    status, _, err = Process(tmp_path, "serve", "--host", host, "--port", "0", MCP_ACTORS_SECRET_KEY=make()).finish()
    assert status == 1
    assert err.startswith(f"mcp-actors: Cannot listen on {host}")
    assert "--host" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_closes_every_connection_with_1001_and_exits_0_in_two_seconds(
    tmp_path: Path, number: int
) -> None:
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        url = f"ws://localhost:{server.port}/ws/signaling/"
        peers = [await Client.open(url) for _ in range(50)]
        for index, peer in enumerate(peers):
            await peer.join("r", str(index))
        peers[0].stop_reading()
        began = time.monotonic()
        server.process.send_signal(number)
        status = await asyncio.to_thread(server.process.wait, 5)
        assert time.monotonic() - began < 2
        assert status == 0
        for peer in peers[1:]:
            await peer.expect_close(1001)
        for peer in peers:
            await peer.end()


def test_logs_are_json_lines_when_nobody_watches(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        server.process.send_signal(signal.SIGTERM)
        _, _, err = server.finish()
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == ["listening", "stopped"]
    assert {line["level"] for line in lines} == {"info"}


async def test_no_level_logs_what_peers_say_to_each_other(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0", MCP_ACTORS_DEBUG="True") as server:
        server.wait_until_serving()
        a, b = [await Client.open(f"ws://localhost:{server.port}/ws/signaling/") for _ in range(2)]
        await a.join("r", "a")
        await b.join("r", "b")
        payload = {"target_peer_id": "b", "offer": {"type": "offer", "sdp": "v=0 SECRET-ADDRESS"}}
        await a.say("offer", "r", payload)
        await a.say("offer", "r", payload | {"target_peer_id": "nobody"})
        await b.expect("offer")
        await a.expect("peer-joined")
        await a.expect_error("peer-not-found")
        await a.end()
        await b.end()
        server.process.send_signal(signal.SIGTERM)
        _, _, err = server.finish()
    events = [json.loads(line) for line in err.splitlines()]
    assert {"opened", "member joined", "error"} <= {event["event"] for event in events}
    assert any(event.get("room") == "r" and event.get("peer") == "a" for event in events)
    assert "SECRET-ADDRESS" not in err


def test_options_of_serve_need_no_command(tmp_path: Path) -> None:
    with Process(tmp_path, "--port", "0") as server:
        server.wait_until_serving()
        assert server.stop() == 0


async def test_echo_is_served_when_asked_for(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0", "--echo") as server:
        server.wait_until_serving()
        client = await Client.open(f"ws://localhost:{server.port}/echo")
        await client.send("back")
        assert await client.hear_text() == "back"
        await client.end()
        assert server.stop() == 0
