"""systemd: its sockets, and what it is told. It is played by its own tools, or by the test as the manual pages say."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcp_actors.app import StartError
from mcp_actors.auth.secret import make
from mcp_actors.systemd import ServiceManager, take_sockets
from tests.support.client import DEADLINE, Client
from tests.support.server import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.engine import Engine

ROOT = Path(__file__).parent.parent
URL = "ws://localhost/ws/signaling/"

HAND_OVER = """
import os, sys
for index, descriptor in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(descriptor, 3 + index)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(index + 1), "LISTEN_FDNAMES": "signaling"}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts a command with sockets as systemd does."""


class Started(Process):
    """A server that another command starts, with files that it inherits."""

    def __init__(
        self, before: Sequence[str], descriptors: Sequence[int], directory: Path, *arguments: str, **environ: str
    ) -> None:
        self.before, self.descriptors = before, descriptors
        super().__init__(directory, *arguments, **environ)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test starts, last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signaling.sock"


@pytest.fixture
def listening(stack: ExitStack, path: Path) -> socket.socket:
    """A Unix socket that systemd has opened."""
    made = stack.enter_context(socket.socket(socket.AF_UNIX))
    made.bind(str(path))
    made.listen()
    return made


@pytest.fixture
def start(stack: ExitStack, tmp_path: Path) -> Callable[..., Process]:
    """Start a server with sockets that listen."""

    def with_sockets(*sockets: socket.socket, processes: int = 1, **environ: str) -> Process:
        descriptors = [each.fileno() for each in sockets]
        before = [sys.executable, "-c", HAND_OVER, ",".join(map(str, descriptors))]
        environ = {"MCP_ACTORS_TRUSTED_PROXIES": "unix:"} | environ
        process = Started(before, descriptors, tmp_path, "--processes", str(processes), **environ)
        return stack.enter_context(process)

    return with_sockets


def is_socket(path: Path) -> bool:
    return path.is_socket()


def children(process: Process) -> list[int]:
    pid = process.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cluster(engine: Engine, prefix: str) -> dict[str, str]:
    redis = {"REDIS_URL": engine.url, "MCP_ACTORS_REDIS_PREFIX": prefix, "MCP_ACTORS_SECRET_KEY": make()}
    return redis | {"MCP_ACTORS_DRAIN_SECONDS": "0"}


async def test_a_connection_starts_the_server_which_serves_it(stack: ExitStack, tmp_path: Path, path: Path) -> None:
    tool = shutil.which("systemd-socket-activate")
    assert tool is not None, "systemd-socket-activate is not installed: apt-get install systemd"
    environ = {"PYTHONPATH": str(ROOT), "MCP_ACTORS_TRUSTED_PROXIES": "unix:"}
    given = [word for item in environ.items() for word in ("--setenv", "=".join(item))]
    process = stack.enter_context(Started([tool, "--listen", str(path), *given], (), tmp_path))
    assert process.process.stderr is not None
    said = await asyncio.to_thread(process.process.stderr.readline)
    assert said.startswith("Listening on "), said
    peer = await Client.open_at(path, URL)
    await peer.join("r", "a")
    await peer.end()
    process.wait_until_serving()
    assert await asyncio.to_thread(process.stop) == 0


async def test_connections_wait_and_sessions_resume_while_the_server_is_restarted(
    start: Callable[..., Process], listening: socket.socket, path: Path, engine: Engine, prefix: str
) -> None:
    environ = cluster(engine, prefix)
    first = start(listening, **environ).wait_until_serving()
    one, other = [await Client.open_at(path, URL) for _ in range(2)]
    joined = await one.join("r", "1")
    await other.join("r", "2")
    await one.expect("peer-joined", peer_id="2")
    first.process.send_signal(signal.SIGTERM)
    await one.expect_close(1012)
    await asyncio.to_thread(first.finish)
    assert is_socket(path)
    again = asyncio.ensure_future(Client.open_at(path, URL))  # nobody accepts it yet
    second = start(listening, **environ).wait_until_serving()
    peer = await again
    await peer.say("join", "r", {"peer_id": "1", "resume": joined["resume"], "received": one.received})
    await peer.expect("joined", resumed=True, complete=True, order=joined["order"])
    for client in (peer, one, other):
        await client.end()
    assert await asyncio.to_thread(second.stop) == 0
    assert is_socket(path)


async def test_several_processes_share_its_sockets(
    stack: ExitStack, start: Callable[..., Process], listening: socket.socket, path: Path, engine: Engine, prefix: str
) -> None:
    port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    process = start(listening, port, processes=2, MCP_ACTORS_LOG_LEVEL="debug", **cluster(engine, prefix))
    process.wait_until_serving()
    peers = []
    for child in children(process):  # the connections are for the other one
        os.kill(child, signal.SIGSTOP)
        peers.append(await Client.open_at(path, URL))
        peers.append(await Client.open(f"ws://127.0.0.1:{port.getsockname()[1]}/ws/signaling/"))
        os.kill(child, signal.SIGCONT)
    for index, peer in enumerate(peers):
        assert len((await peer.join("r", str(index)))["peers"]) == index + 1
    process.process.send_signal(signal.SIGTERM)
    status, _, err = await asyncio.to_thread(process.finish)
    for peer in peers:
        await peer.end()
    opened = [line["process"] for line in map(json.loads, err.splitlines()) if line["event"] == "opened"]
    assert (status, sorted(opened)) == (0, [1, 1, 2, 2])


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "HOME": "/"}
    assert take_sockets(environ) == []
    assert environ == {"HOME": "/"}


def test_a_socket_that_does_not_listen_is_an_error_that_names_what_to_change(
    stack: ExitStack, start: Callable[..., Process]
) -> None:
    datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    status, _, err = start(datagrams).finish()
    assert status == 1
    assert "ListenStream= and Accept=no" in err
    assert "Traceback" not in err


@pytest.fixture
def manager(stack: ExitStack, tmp_path: Path) -> socket.socket:
    """The socket on which the service manager is told."""
    made = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    made.bind(str(tmp_path / "notify"))
    made.settimeout(DEADLINE)
    return made


def told(manager: socket.socket, *, beside: str = "WATCHDOG=1") -> list[str]:
    """What it is told next, other than signs of life."""
    while True:
        lines = manager.recv(4096).decode().splitlines()
        if lines != [beside]:
            return lines


@pytest.mark.parametrize("processes", [1, 2])
def test_it_is_told_when_the_server_serves_reloads_lives_and_stops(
    start: Callable[..., Process],
    listening: socket.socket,
    manager: socket.socket,
    engine: Engine,
    prefix: str,
    processes: int,
) -> None:
    environ = {"NOTIFY_SOCKET": str(manager.getsockname()), "WATCHDOG_USEC": "200000"} | cluster(engine, prefix)
    process = start(listening, processes=processes, **environ)
    assert told(manager) == ["READY=1"]
    for _ in range(5):
        assert told(manager, beside="nothing") == ["WATCHDOG=1"]
    process.process.send_signal(signal.SIGHUP)
    reloading, since = told(manager)
    assert (reloading, since.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    assert told(manager) == ["READY=1"]
    process.process.send_signal(signal.SIGTERM)
    assert told(manager) == ["STOPPING=1"]
    assert process.finish()[0] == 0


def test_a_manager_in_the_abstract_namespace_is_told_and_one_that_is_gone_is_no_error(tmp_path: Path) -> None:
    name = f"mcp-actors-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        abstract.bind(f"\0{name}")
        abstract.settimeout(DEADLINE)
        ServiceManager(f"@{name}").stopping()
        assert abstract.recv(100) == b"STOPPING=1"
    ServiceManager(f"@{name}").stopping()
    ServiceManager(str(tmp_path / "nowhere")).ready()


def test_a_process_that_is_not_watched_gives_no_signs_of_life() -> None:
    for environ in ({}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "30000000"}):
        expected = 15.0 if len(environ) == 1 else 0.0
        assert ServiceManager.take({"NOTIFY_SOCKET": "/run/notify"} | environ).interval == expected
        assert ServiceManager.take(dict(environ)).interval == 0.0


def test_descriptors_that_are_not_sockets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        monkeypatch.setattr("mcp_actors.systemd.FIRST_DESCRIPTOR", descriptor)
        with pytest.raises(StartError, match="Accept=no"):
            take_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
    finally:
        os.close(descriptor)
