"""settings/Caddyfile, in a real Caddy, in front of real nodes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from bench.ports import free_ports
from mcp_actors.auth.secret import make
from tests.proxies.clients import (
    DEADLINE,
    LIMITED,
    NODES,
    ROOMS,
    asked_to_reconnect,
    find,
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

FILE = Path(__file__).parents[2] / "settings" / "Caddyfile"
EXAMPLES = "127.0.0.1:8000 127.0.0.1:8001 127.0.0.1:8002"


class Caddy:
    """The example configuration without TLS, with ports of the test, all files in a directory of its own."""

    def __init__(self, binary: str, directory: Path, nodes: Sequence[Process], *, by_room: bool = False) -> None:
        self.port = free_ports()
        text = replaced(FILE.read_text(), "\nsignaling.example.com {", f"\nhttp://127.0.0.1:{self.port} {{")
        text = replaced(text, EXAMPLES, " ".join(f"127.0.0.1:{node.port}" for node in nodes))
        if by_room:
            text = replaced(text, "#request_header X-Room", "request_header X-Room")
            text = replaced(text, "lb_policy least_conn", "lb_policy header X-Room")
        (directory / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
        home = {"XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory), "HOME": str(directory)}
        command = [binary, "run", "--config", str(directory / "Caddyfile"), "--adapter", "caddyfile"]
        self._log = (directory / "caddy.log").open("w")
        self.process = subprocess.Popen(command, env=home, stdout=self._log, stderr=self._log)

    async def peer(self) -> Client:
        """A connection to /ws/signaling/ of some node."""
        return await Client.open(f"ws://127.0.0.1:{self.port}/ws/signaling/", None)

    def status(self, path: str) -> int:
        """How a page is answered; 0 if nothing listens yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=DEADLINE) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            return 0

    def __enter__(self) -> Self:
        deadline = time.monotonic() + DEADLINE
        while self.status("/") != 200:
            assert self.process.poll() is None, Path(self._log.name).read_text()
            assert time.monotonic() < deadline, Path(self._log.name).read_text()
            time.sleep(0.05)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        self._log.close()


@pytest.fixture
def start_caddy(stack: ExitStack, tmp_path: Path) -> Callable[..., Caddy]:
    """Start Caddy in front of nodes."""
    binary = find("caddy")
    return lambda nodes, **options: stack.enter_context(Caddy(binary, tmp_path, nodes, **options))


async def test_the_members_of_a_room_that_their_urls_name_are_at_one_node(
    start_nodes: Callable[..., list[Process]], start_caddy: Callable[..., Caddy]
) -> None:
    nodes = start_nodes(NODES)
    caddy = start_caddy(nodes, by_room=True)
    assert await met_in_rooms(f"ws://127.0.0.1:{caddy.port}", ROOMS) == [2] * ROOMS
    peers = [await caddy.peer() for _ in range(ROOMS)]
    for peer in peers:
        await peer.end()
    assert max([await asyncio.to_thread(opened, node) for node in nodes]) < 3 * ROOMS


async def test_peers_of_different_nodes_talk_through_it(
    start_nodes: Callable[..., list[Process]], start_caddy: Callable[[Sequence[Process]], Caddy], redis_url: str
) -> None:
    caddy = start_caddy(start_nodes(NODES, REDIS_URL=redis_url, MCP_ACTORS_SECRET_KEY=make()))
    peers = [await caddy.peer() for _ in range(2)]
    await joined_pair(peers)
    await talk(*peers)
    for peer in peers:
        await peer.close()


async def test_a_node_that_trusts_it_limits_and_logs_clients_by_their_own_address(
    start_nodes: Callable[..., list[Process]], start_caddy: Callable[[Sequence[Process]], Caddy]
) -> None:
    limits = {"MCP_ACTORS_TRUSTED_PROXIES": "127.0.0.1"} | LIMITED
    (node,) = start_nodes(1, **limits)
    caddy = start_caddy([node])
    peers = await limited_pair(caddy.port)
    for peer in peers:
        await peer.end()
    await told_by(node)


async def test_a_node_that_was_killed_is_routed_around(
    start_nodes: Callable[..., list[Process]], start_caddy: Callable[[Sequence[Process]], Caddy]
) -> None:
    nodes = start_nodes(NODES)
    caddy = start_caddy(nodes)
    nodes[0].process.kill()
    peers = [await caddy.peer() for _ in range(3 * NODES)]
    for index, peer in enumerate(peers):
        await peer.join("r", str(index))
    for peer in peers:
        await peer.end()


async def test_a_node_that_drains_is_routed_around(
    start_nodes: Callable[..., list[Process]], start_caddy: Callable[[Sequence[Process]], Caddy], redis_url: str
) -> None:
    settings = {"REDIS_URL": redis_url, "MCP_ACTORS_SECRET_KEY": make(), "MCP_ACTORS_DRAIN_SECONDS": "600"}
    nodes = start_nodes(NODES, MCP_ACTORS_SHUTDOWN_DELAY="5", **settings)
    caddy = start_caddy(nodes)
    before = [await caddy.peer() for _ in range(NODES)]
    for index, peer in enumerate(before):
        await peer.join("r", f"before {index}")
    nodes[0].process.send_signal(signal.SIGTERM)
    asked = [asyncio.ensure_future(asked_to_reconnect(peer)) for peer in before]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
    assert sum(task.done() for task in asked) == 1
    after = [await caddy.peer() for _ in range(3 * NODES)]
    for index, peer in enumerate(after):
        await peer.join("s", str(index))
    for peer in (*before, *after):
        await peer.close()
    await asyncio.gather(*asked, return_exceptions=True)
    assert await asyncio.to_thread(nodes[0].process.wait, DEADLINE) == 0
