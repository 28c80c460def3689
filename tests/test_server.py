"""The server process, as an operator sees it: listening, greeting, signals and logs."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from mcp_actors import server as server_process
from mcp_actors.auth.secret import make
from tests.support.client import Client
from tests.support.server import Process, Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ExpectedLogs


def test_the_greeting_names_the_addresses_of_the_page_and_the_endpoints(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        with urllib.request.urlopen(f"http://localhost:{server.port}/", timeout=5) as page:
            assert b"<html" in page.read()
        assert server.stop() == 0


@pytest.mark.parametrize("host", ["[::1]", "::1", "::ffff:127.0.0.1", "127.0.0.1"])
def test_addresses_of_this_machine_need_no_secret_and_the_greeting_answers(tmp_path: Path, host: str) -> None:
    hosts = {"MCP_ACTORS_ALLOWED_HOSTS": "signaling.example.com"}
    with Process(tmp_path, "serve", "--host", host, "--port", "0", **hosts) as server:
        server.wait_until_serving()
        greeting = "".join(server.greeting)
        url = greeting.split("demo call")[1].split()[0]
        with urllib.request.urlopen(url, timeout=5) as page:  # noqa: S310
            assert b"<html" in page.read()
        assert server.stop() == 0


def test_the_greeting_names_an_allowed_host(tmp_path: Path) -> None:
    server = Server(tmp_path, host="0.0.0.0", allowed_hosts=(".example.com",))  # noqa: S104
    assert server._server._name() == "example.com"


def test_a_port_in_use_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, err = Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", port).finish()
    assert status == 1
    assert f"port {port}" in err
    assert "--port" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("host", ["nosuch.invalid", "a" * 100, "é..x"])
def test_a_host_that_cannot_be_listened_on_is_an_error_that_names_it(tmp_path: Path, host: str) -> None:
    status, _, err = Process(tmp_path, "serve", "--host", host, "--port", "0", MCP_ACTORS_SECRET_KEY=make()).finish()
    assert status == 1
    assert err.startswith(f"mcp-actors: Cannot listen on {host}")
    assert "--host" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_closes_every_connection_with_1001_and_exits_0_promptly(tmp_path: Path, number: int) -> None:
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


async def test_listening_on_all_interfaces_without_allowed_hosts_is_a_warning(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors", "reachable under any host name; set MCP_ACTORS_ALLOWED_HOSTS")
    server = Server(tmp_path, host="0.0.0.0")  # noqa: S104
    await server.start()
    await server.stop()


def test_logs_are_json_lines_where_standard_error_is_not_a_terminal(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        server.process.send_signal(signal.SIGTERM)
        _, _, err = server.finish()
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == ["listening", "stopped"]
    assert {line["level"] for line in lines} == {"info"}


async def test_messages_between_peers_are_logged_at_no_level(tmp_path: Path) -> None:
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


def test_the_kernel_buffers_of_connections_are_limited_unless_that_is_left_to_the_system() -> None:
    def buffers(limit: int) -> list[int]:
        listening = server_process.listen("127.0.0.1", 0, send_buffer=limit, receive_buffer=limit)
        try:
            options = (socket.SO_SNDBUF, socket.SO_RCVBUF)
            return [one.getsockopt(socket.SOL_SOCKET, option) for one in listening for option in options]
        finally:
            for one in listening:
                one.close()

    assert all(20_000 <= size <= 40_000 for size in buffers(20_000))
    assert not all(20_000 <= size <= 40_000 for size in buffers(0))
