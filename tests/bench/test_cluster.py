from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from bench.cluster import Cluster, ClusterError
from bench.engine import Engine
from bench.ports import free_ports
from tests.support.server import END_DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
print("up", sys.argv[1], flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""A node that starts quickly."""


def server(port: int) -> list[str]:
    return [sys.executable, "-c", SERVER, str(port)]


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def test_nodes_use_consecutive_ports_and_their_logs_are_passed_on() -> None:
    heard: list[tuple[int, str]] = []
    with Cluster(2, "", command=server, hear=lambda port, line: heard.append((port, line))) as cluster:
        first, second = cluster.nodes
        assert second.port == first.port + 1
        assert within(5, lambda: (second.port, f"up {second.port}") in heard)
    assert not first.running


def test_each_node_may_have_a_path_of_its_own_to_redis() -> None:
    def telling(port: int) -> list[str]:
        return [sys.executable, "-c", f"import os; print(os.environ['REDIS_URL'], flush=True)\n{SERVER}", str(port)]

    urls = ["redis://127.0.0.1:1", "redis://127.0.0.1:2"]
    with Cluster(2, urls, command=telling) as cluster:
        assert within(5, lambda: [node.lines[:1] for node in cluster.nodes] == [[url] for url in urls])


def test_a_node_can_be_killed_frozen_and_started_again() -> None:
    with Cluster(1, "", command=server) as cluster:
        (node,) = cluster.nodes
        node.freeze()
        assert not node.ready()
        node.unfreeze()
        assert node.ready()
        before = node.pid
        node.kill()
        assert not node.running
        node.start()
        node.wait_until_ready()
        assert node.pid != before
        assert cluster.stop() == [-signal.SIGTERM]


def test_the_error_of_a_node_that_ends_holds_its_output() -> None:
    broken = Cluster(1, "", command=lambda _port: [sys.executable, "-c", "raise SystemExit('startup failed')"])
    with pytest.raises(ClusterError, match="startup failed"), broken:
        pass


def test_a_port_in_use_is_named_in_the_error() -> None:
    with (
        Engine() as engine,
        pytest.raises(ClusterError, match=f"port {engine.port} is taken"),
        Cluster(1, "", port=engine.port),
    ):
        pass


def test_the_command_serves_until_ctrl_c() -> None:
    port = free_ports(2)
    command = [sys.executable, "-m", "bench", "cluster", "--processes", "2", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line and "|" not in line:
                break
        for offset in range(2):
            with urllib.request.urlopen(f"http://127.0.0.1:{port + offset}/readyz", timeout=END_DEADLINE) as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGINT)
        said.append(process.stdout.read())
        assert process.wait(END_DEADLINE) == 0, "".join(said)
    assert any(f"http://localhost:{port + 1}/?room=x" in line for line in said)
    assert any(line.startswith(f"{port} | ") for line in said)
