"""Scrapes of real servers: one process, and several that answer for each other."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from prometheus_client.parser import text_string_to_metric_families as read_text
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from bench.ports import free_ports
from mcp_actors.auth.secret import make
from tests.metrics.test_catalogue import ALERTS, promtool, shown
from tests.support.client import DEADLINE, Client
from tests.support.server import END_DEADLINE, Process, hear, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.engine import Engine
    from tests.support.server import Server

PEERS = 24

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="finds the children of a process in /proc")


async def scrape(port: int) -> str:
    client = AsyncHTTPClient(force_instance=True)
    response = await client.fetch(f"http://localhost:{port}/metrics", request_timeout=DEADLINE)
    return response.body.decode()


def samples(text: str, name: str) -> dict[str, float]:
    """The values of a metric by process, those of other labels added."""
    found: dict[str, float] = {}
    for family in read_text(text):
        for sample in family.samples:
            if sample.name == name:
                process = sample.labels.get("process", "")
                found[process] = found.get(process, 0) + sample.value
    return found


async def test_promtool_accepts_what_a_server_answers(server: Server) -> None:
    a, b = await server.pair()
    for number in range(16):
        await a.say("signal", "r", {"target_peer_id": "b", "data": number})
        await b.expect("signal")
    text = await scrape(server.port)
    assert not promtool("check", "metrics", given=text)
    assert samples(text, "mcp_actors_relay_latency_seconds_count") == {"": 1}


CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: mcp_actors
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """Prometheus itself, which scrapes a server and has the alerts."""

    def __init__(self, directory: Path, target: int) -> None:
        self._port = free_ports()
        config = directory / "prometheus.yml"
        config.write_text(CONFIG.format(rules=ALERTS, port=target))
        self._process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"),
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    async def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urlencode(parameters)}"
        answer = json.loads((await AsyncHTTPClient().fetch(url, raise_error=False)).body)
        assert answer["status"] == "success", answer
        return answer["data"]

    async def has_scraped(self) -> bool:
        """Whether it has the metrics of the server more than once, so that it knows rates."""
        try:
            found = await self.ask("query", query="count_over_time(mcp_actors_ready[1m])")
        except (OSError, ValueError):
            return False  # it does not listen, or is not ready
        return bool(found["result"]) and float(found["result"][0]["value"][1]) > 1

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


ABSENT = ("redis", "authoriz", "webhook", "scrape_missing", " > 0")
"""Parts of expressions that have no value without Redis, rules of the application, webhooks, processes, or errors."""


def asked(expression: str) -> str:
    """An expression of the dashboard, with values for its variables."""
    return expression.replace("$__rate_interval", "1m").replace('"$job"', '".*"').replace('"$instance"', '".*"')


@pytest.mark.settings(mcp=True)
async def test_prometheus_scrapes_a_server_and_answers_every_expression_of_the_dashboard(
    server: Server, tmp_path: Path
) -> None:
    assert shutil.which("prometheus"), "install it: apt-get install prometheus"
    a, b = await server.pair()
    prometheus = await asyncio.to_thread(Prometheus, tmp_path, server.port)
    try:
        async with asyncio.timeout(END_DEADLINE):
            while not await prometheus.has_scraped():
                await a.say("signal", "r", {"target_peer_id": "b", "data": 1})
                await b.expect("signal")
                await asyncio.sleep(0.1)
        empty = [one for one in set(shown()) if not (await prometheus.ask("query", query=asked(one)))["result"]]
        assert not [one for one in empty if not any(word in one for word in ABSENT)]
        assert all(group["rules"] for group in (await prometheus.ask("rules"))["groups"])
        firing = await prometheus.ask("alerts")
        assert not [one for one in firing["alerts"] if one["state"] == "firing"]
    finally:
        await asyncio.to_thread(prometheus.stop)


@pytest.fixture
def node(tmp_path: Path, engine: Engine, prefix: str) -> Iterator[Process]:
    """Three processes that serve one port."""
    environ = {
        "REDIS_URL": engine.url,
        "MCP_ACTORS_REDIS_PREFIX": prefix,
        "MCP_ACTORS_SECRET_KEY": make(),
        "MCP_ACTORS_DRAIN_SECONDS": "0",
        "MCP_ACTORS_WORKER_TIMEOUT": "0",  # else one that a test stops is replaced after a while
        "TMPDIR": str(tmp_path),
    }
    with Process(tmp_path, "--port", "0", "--processes", "3", **environ) as process:
        yield process.wait_until_serving()


def sockets(directory: Path) -> list[Path]:
    """The directory of the sockets through which the processes ask each other, if it is there."""
    return list(directory.glob("mcp-actors-*"))


@needs_proc
async def test_one_scrape_has_all_processes_and_the_restart_of_one_resets_only_its_own(
    node: Process, tmp_path: Path
) -> None:
    url = f"ws://localhost:{node.port}/ws/signaling/"
    peers = [await Client.open(url) for _ in range(PEERS)]
    before = samples(await scrape(node.port), "mcp_actors_connections_opened_total")
    assert before.keys() == {"1", "2", "3"}
    assert sum(before.values()) == PEERS
    os.kill(workers(node.process)[0], signal.SIGKILL)
    await asyncio.to_thread(hear, node.process, "worker died, restarting it")
    assert (await asyncio.to_thread(hear, node.process, "listening"))["process"] == 1
    text = await scrape(node.port)
    assert samples(text, "mcp_actors_connections_opened_total") == {**before, "1": 0}
    assert samples(text, "mcp_actors_scrape_missing_processes").popitem()[1] == 0
    assert samples(text, "process_open_fds").keys() == {"1", "2", "3"}
    assert not promtool("check", "metrics", given=text)
    for peer in peers:
        await peer.end()
    assert await asyncio.to_thread(node.stop) == 0
    assert not sockets(tmp_path)


@needs_proc
async def test_a_process_that_hangs_is_missing_and_not_waited_for(node: Process, tmp_path: Path) -> None:
    (directory,) = sockets(tmp_path)
    assert directory.stat().st_mode & 0o077 == 0
    stopped = workers(node.process)[2]
    os.kill(stopped, signal.SIGSTOP)
    try:
        text = ""
        while not text:  # the kernel gives some connections to the process that hangs
            with suppress(HTTPClientError, OSError):
                text = await scrape(node.port)
        assert samples(text, "mcp_actors_scrape_missing_processes").popitem()[1] == 1
        assert len(samples(text, "mcp_actors_rooms")) == 2
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert await asyncio.to_thread(node.stop) == 0
