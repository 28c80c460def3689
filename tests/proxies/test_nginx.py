"""settings/nginx.conf, in a real nginx, in front of real nodes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Self

import pytest

from bench.ports import free_ports
from mcp_actors.auth.secret import make
from mcp_actors.settings import DEFAULTS
from tests.proxies.clients import (
    DEADLINE,
    LIMITED,
    NODES,
    ROOMS,
    asked_to_reconnect,
    find,
    first_lost,
    joined_pair,
    limited_pair,
    met_in_rooms,
    opened,
    replaced,
    talk,
    told_by,
)
from tests.support.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack
    from types import TracebackType

    from tests.support.server import Process

FILE = Path(__file__).parents[2] / "settings" / "nginx.conf"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx:
    """The example configuration with ports of the test, all files in a directory of its own."""

    def __init__(self, binary: str, directory: Path, nodes: Sequence[str], *, by_room: bool = False) -> None:
        self.port = free_ports()
        self._by_room = by_room
        (directory / "nginx.conf").write_text(self._configuration(directory, nodes))
        running = ["daemon off;", f"pid {directory}/pid;", "error_log stderr notice;"]
        running += ["user root;"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [binary, "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr", "-g", " ".join(running)],
            stderr=subprocess.PIPE,
            text=True,
        )

    def _configuration(self, directory: Path, nodes: Sequence[str]) -> str:
        text = FILE.read_text()
        if self._by_room:
            text = replaced(text, "\n        least_conn;", "")
            text = replaced(text, "#hash $room_or_any", "hash $room_or_any")
        for example, node in zip((8000, 8001, 8002), nodes, strict=True):
            text = replaced(text, f"server 127.0.0.1:{example} ", f"server {node} ")
        text = replaced(text, "\n        listen 80;", f"\n        listen 127.0.0.1:{self.port};")
        own = "".join(f"{name}_temp_path {directory}/{name};" for name in TEMPORARY)
        return replaced(text, "\nhttp {", f"\nhttp {{ access_log off; {own}")

    def wait_until_serving(self) -> Self:
        """Read what it says until its workers run."""
        assert self.process.stderr is not None
        timer = Timer(DEADLINE, self.process.kill)
        timer.start()
        said = []
        try:
            for line in self.process.stderr:
                said.append(line)
                if "start worker process " in line:
                    return self
        finally:
            timer.cancel()
        raise AssertionError(f"nginx did not start: {''.join(said)}")

    async def peer(self, **headers: str) -> Client:
        """A connection to /ws/signaling/ of some node."""
        return await Client.open(f"ws://127.0.0.1:{self.port}/ws/signaling/", None, **headers)

    async def status(self, path: str) -> int:
        """How a page is answered."""

        def ask() -> int:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=DEADLINE) as answer:
                return int(answer.status)

        return await asyncio.to_thread(ask)

    def __enter__(self) -> Self:
        return self.wait_until_serving()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=DEADLINE)


@pytest.fixture(scope="session")
def binary() -> str:
    return find("nginx")


@pytest.fixture
def start_nginx(stack: ExitStack, tmp_path: Path, binary: str) -> Callable[..., Nginx]:
    """Start nginx in front of three nodes, or of one that stands for three."""

    def start(nodes: Sequence[Process], places: Sequence[str] = (), *, by_room: bool = False) -> Nginx:
        places = places or [f"127.0.0.1:{node.port}" for node in nodes]
        return stack.enter_context(Nginx(binary, tmp_path, [*places] * (NODES // len(nodes)), by_room=by_room))

    return start


async def test_peers_talk_through_it_both_ways(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[[Sequence[Process]], Nginx]
) -> None:
    nginx = start_nginx(start_nodes(1))
    peers = [await nginx.peer() for _ in range(2)]
    await joined_pair(peers)
    await talk(*peers)
    for peer in peers:
        await peer.close()


async def test_peers_of_different_nodes_talk_through_it(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[[Sequence[Process]], Nginx], redis_url: str
) -> None:
    nodes = start_nodes(NODES, REDIS_URL=redis_url, MCP_ACTORS_SECRET_KEY=make())
    nginx = start_nginx(nodes)
    peers = [await nginx.peer() for _ in range(NODES)]
    try:
        for index, peer in enumerate(peers):
            assert len((await peer.join("r", str(index)))["peers"]) == index + 1
        await peers[0].expect("peer-joined", peer_id="1")
        await peers[0].expect("peer-joined", peer_id="2")
        await peers[1].expect("peer-joined", peer_id="2")
        await talk(peers[0], peers[1])
    finally:
        for peer in peers:
            await peer.end()
    assert [await asyncio.to_thread(opened, node) for node in nodes] == [1] * NODES


async def test_connections_are_spread_over_all_nodes(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[[Sequence[Process]], Nginx]
) -> None:
    nodes = start_nodes(NODES)
    nginx = start_nginx(nodes)
    peers = [await nginx.peer() for _ in range(3 * NODES)]
    for peer in peers:
        await peer.close()
    assert [await asyncio.to_thread(opened, node) for node in nodes] == [3] * NODES


async def test_the_members_of_a_room_that_their_urls_name_are_at_one_node(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[..., Nginx]
) -> None:
    nodes = start_nodes(NODES)
    nginx = start_nginx(nodes, by_room=True)
    assert await met_in_rooms(f"ws://127.0.0.1:{nginx.port}", ROOMS) == [2] * ROOMS
    peers = [await nginx.peer() for _ in range(2 * ROOMS)]
    for peer in peers:
        await peer.end()
    counts = [await asyncio.to_thread(opened, node) for node in nodes]
    assert sum(counts) == 4 * ROOMS
    assert max(counts) < 3 * ROOMS


async def test_a_page_of_the_same_origin_is_served_and_may_connect(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[[Sequence[Process]], Nginx]
) -> None:
    nginx = start_nginx(start_nodes(1))
    for path in ("/healthz", "/", "/client/index.js"):
        assert await nginx.status(path) == 200
    peer = await nginx.peer(Origin=f"http://127.0.0.1:{nginx.port}")
    await peer.join("r", "a")
    await peer.close()


async def test_a_node_that_was_killed_is_routed_around(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[[Sequence[Process]], Nginx]
) -> None:
    nodes = start_nodes(NODES)
    nginx = start_nginx(nodes)
    before = [await nginx.peer() for _ in range(NODES)]
    nodes[0].process.kill()
    assert await first_lost(before)
    after = [await nginx.peer() for _ in range(3 * NODES)]
    for index, peer in enumerate(after):
        await peer.join("r", str(index))
        assert await nginx.status("/healthz") == 200
    for peer in (*before, *after):
        await peer.end()
    assert sum([await asyncio.to_thread(opened, node) for node in nodes[1:]]) == len(before) - 1 + len(after)


async def test_a_node_that_drains_is_routed_around(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[[Sequence[Process]], Nginx], redis_url: str
) -> None:
    drains = {"REDIS_URL": redis_url, "MCP_ACTORS_SECRET_KEY": make(), "MCP_ACTORS_DRAIN_SECONDS": "600"}
    nodes = start_nodes(NODES, **drains)
    nginx = start_nginx(nodes)
    before = [await nginx.peer() for _ in range(NODES)]
    for index, peer in enumerate(before):
        await peer.join("r", f"before {index}")
    nodes[0].process.send_signal(signal.SIGTERM)
    asked = [asyncio.ensure_future(asked_to_reconnect(peer)) for peer in before]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
    assert sum(task.done() for task in asked) == 1
    after = [await nginx.peer() for _ in range(3 * NODES)]
    for index, peer in enumerate(after):
        await peer.join("s", str(index))
    for peer in (*before, *after):
        await peer.close()
    await asyncio.gather(*asked, return_exceptions=True)
    assert await asyncio.to_thread(nodes[0].process.wait, DEADLINE) == 0


async def test_a_node_that_stops_says_so_to_its_clients(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[[Sequence[Process]], Nginx]
) -> None:
    nodes = start_nodes(1)
    peer = await start_nginx(nodes).peer()
    nodes[0].process.send_signal(signal.SIGTERM)
    await peer.expect_close(1001)
    await peer.end()


async def test_a_node_that_trusts_it_limits_and_logs_clients_by_their_own_address(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[[Sequence[Process]], Nginx]
) -> None:
    limits = {"MCP_ACTORS_TRUSTED_PROXIES": "127.0.0.1"} | LIMITED
    (node,) = start_nodes(1, **limits)
    nginx = start_nginx([node])
    peers = await limited_pair(nginx.port)
    for peer in peers:
        await peer.end()
    await told_by(node)


async def test_a_node_at_a_unix_socket_serves_its_clients_by_their_own_address(
    start_nodes: Callable[..., list[Process]], start_nginx: Callable[..., Nginx], tmp_path: Path
) -> None:
    place = f"unix:{tmp_path}/signaling.sock"
    limits = {"MCP_ACTORS_TRUSTED_PROXIES": "unix:"} | LIMITED
    nodes = start_nodes(1, place, **limits)
    nginx = start_nginx(nodes, [place])
    assert await nginx.status("/") == 200
    peers = await limited_pair(nginx.port)
    await joined_pair(peers)
    await talk(*peers)
    for peer in peers:
        await peer.end()
    told = await told_by(nodes[0])
    assert not [line for line in told if line["level"] == "warning"]


@pytest.mark.parametrize("name", ["proxy_read_timeout", "proxy_send_timeout"])
def test_its_patience_is_three_pings_long(name: str) -> None:
    (seconds,) = re.findall(rf"^ +{name} (\d+)s;$", FILE.read_text(), re.MULTILINE)
    assert int(seconds) >= 3 * DEFAULTS["ping_interval"]


def test_each_of_its_lines_is_explained() -> None:
    explained = False
    for line in (line.strip() for line in FILE.read_text().splitlines()):
        if line.endswith(";") and not line.startswith("#"):
            assert explained or line.startswith(("listen", "proxy_pass")), f"{line} has no comment above it"
        explained = bool(line) and (line.startswith("#") or explained)
