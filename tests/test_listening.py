"""Listening sockets: their buffers, and Unix sockets as files that come and go."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors import listening
from mcp_actors.app import StartError
from mcp_actors.auth.secret import make
from mcp_actors.listening import Place, listen, most_open
from tests.support.client import Client
from tests.support.server import END_DEADLINE, Process, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.engine import Engine
    from tests.conftest import ExpectedLogs

SHARED = "clients of a Unix socket share one address; set MCP_ACTORS_TRUSTED_PROXIES=unix:"
URL = "ws://localhost/ws/signaling/"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signaling.sock"


def open_at(path: Path, mode: str = "660") -> Any:
    (found,) = listen(f"unix:{path}", 0, mode=mode)
    return closing(found)


def test_the_kernel_buffers_of_connections_are_limited_unless_that_is_left_to_the_system() -> None:
    def buffers(limit: int) -> list[int]:
        found = listen("127.0.0.1", 0)
        listening.limit_buffers(found, send=limit, receive=limit)
        try:
            options = (socket.SO_SNDBUF, socket.SO_RCVBUF)
            return [one.getsockopt(socket.SOL_SOCKET, option) for one in found for option in options]
        finally:
            for one in found:
                one.close()

    assert all(20_000 <= size <= 40_000 for size in buffers(20_000))
    assert not all(20_000 <= size <= 40_000 for size in buffers(0))


@pytest.mark.parametrize("limit", [20_000, 0])
def test_the_kernel_buffers_of_connections_to_a_unix_socket_are_limited_too(path: Path, limit: int) -> None:
    with open_at(path) as found, socket.socket(socket.AF_UNIX) as client:
        listening.limit_buffers([found], send=limit, receive=limit)
        client.connect(str(path))
        accepted: list[socket.socket] = []
        found.accepted = lambda connection, _address: accepted.append(connection)
        with pytest.raises(BlockingIOError):
            found.accept()
        (size,) = [one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) for one in accepted]
        assert size == (2 * limit or client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
        accepted[0].close()


def test_the_place_that_other_machines_reach_counts_most() -> None:
    here, there = Place("unix:/run/a", 0), Place("0.0.0.0", 8000)  # noqa: S104
    assert most_open([here, there]) == there
    assert most_open([here]) == here


@pytest.mark.parametrize("mode", ["600", "660", "666"])
def test_a_unix_socket_has_the_permissions_that_it_is_given(path: Path, mode: str) -> None:
    with open_at(path, mode):
        assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)


def test_a_unix_socket_is_gone_when_it_is_closed(path: Path) -> None:
    with open_at(path) as found:
        assert str(Place.of(found)) == f"unix:{path}"
    assert not path.exists()


def test_the_file_of_a_server_that_was_killed_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
        killed.listen()
    assert path.exists()
    with open_at(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("backlog", [16, 0], ids=["idle", "full"])
def test_that_of_a_server_that_runs_is_not_replaced(path: Path, backlog: int) -> None:
    with socket.socket(socket.AF_UNIX) as runs, socket.socket(socket.AF_UNIX) as client:
        runs.bind(str(path))
        runs.listen(backlog)
        client.connect(str(path))
        with pytest.raises(StartError, match=r"Address already in use\. Is another server running there\?"):
            listen(f"unix:{path}", 0)
        assert path.is_socket()


def test_a_file_that_is_no_socket_is_not_replaced(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(StartError, match=r"a file that is no socket.*Choose another path with --host"):
        listen(f"unix:{path}", 0)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("place", "why"),
    [("/no/such/directory/a.sock", "No such file or directory"), ("/tmp/" + "a" * 200, "path too long")],  # noqa: S108
)
def test_a_path_that_cannot_be_is_an_error_that_names_it(place: str, why: str) -> None:
    with pytest.raises(StartError, match=why) as error:
        listen(f"unix:{place}", 0)
    assert f"unix:{place}" in str(error.value)


def test_a_server_that_was_replaced_leaves_the_file_of_the_other_one(path: Path) -> None:
    with open_at(path) as first:
        path.unlink()
        with open_at(path):
            first.close()
            assert path.is_socket()


def test_a_child_process_that_closes_it_leaves_the_file(path: Path) -> None:
    with open_at(path) as found:
        child = os.fork()
        if not child:
            found.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert path.is_socket()


def test_two_servers_do_not_replace_one_stale_file_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LOCK_TIMEOUT", 0.1)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        with pytest.raises(StartError, match="Cannot listen on"):
            listen(f"unix:{path}", 0)
    finally:
        os.close(directory)
    with open_at(path):
        assert path.is_socket()


@pytest.fixture
def start(tmp_path: Path, path: Path) -> Iterator[Callable[..., Process]]:
    """Start a server at the Unix socket; it is killed after the test if it still runs."""
    started: list[Process] = []

    def at_path(*arguments: str, **environ: str) -> Process:
        process = Process(tmp_path, "--host", f"unix:{path}", *arguments, **environ)
        started.append(process)
        return process.wait_until_serving()

    yield at_path
    for process in started:
        with process:
            pass


def details(path: Path, *headers: str) -> Any:
    """What /healthz says to a process of this machine."""
    more = [word for header in headers for word in ("--header", header)]
    command = ["curl", "--silent", "--show-error", "--unix-socket", str(path), *more, "http://localhost/healthz"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=END_DEADLINE).stdout)


def exists(path: Path) -> bool:
    return path.exists()


async def pair(path: Path) -> list[Client]:
    peers = [await Client.open_at(path, URL) for _ in range(2)]
    for index, peer in enumerate(peers):
        await peer.join("r", str(index))
    await peers[0].expect("peer-joined", peer_id="1")
    return peers


async def test_peers_talk_at_a_unix_socket_which_is_gone_afterwards(start: Callable[..., Process], path: Path) -> None:
    process = start(MCP_ACTORS_TRUSTED_PROXIES="unix:")
    assert f"curl --unix-socket {path} http://localhost/healthz" in "".join(process.greeting)
    one, other = await pair(path)
    offer = {"type": "offer", "sdp": "v=0 " + "x" * 50_000}
    for _ in range(20):
        await one.say("offer", "r", {"target_peer_id": "1", "offer": offer})
    for _ in range(20):
        await other.expect("offer", offer=offer)
    process.process.send_signal(signal.SIGTERM)
    await one.expect_close(1001)
    status, _, err = await asyncio.to_thread(process.finish)
    for peer in (one, other):
        await peer.end()
    assert status == 0
    assert not exists(path)
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["listening", "stopped"]


def children(process: Process) -> list[str]:
    return Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children").read_text().split()


async def test_several_processes_share_a_unix_socket(
    start: Callable[..., Process], path: Path, engine: Engine, prefix: str
) -> None:
    redis = {"REDIS_URL": engine.url, "MCP_ACTORS_REDIS_PREFIX": prefix, "MCP_ACTORS_SECRET_KEY": make()}
    more = {"MCP_ACTORS_TRUSTED_PROXIES": "unix:", "MCP_ACTORS_LOG_LEVEL": "debug", "MCP_ACTORS_DRAIN_SECONDS": "0"}
    process = start("--processes", "2", **redis, **more)
    peers = []
    for worker in children(process):  # the connection is for the other one
        os.kill(int(worker), signal.SIGSTOP)
        peers.append(await Client.open_at(path, URL))
        os.kill(int(worker), signal.SIGCONT)
    for index, peer in enumerate(peers):
        assert len((await peer.join("r", str(index)))["peers"]) == index + 1
    process.process.send_signal(signal.SIGTERM)
    status, _, err = await asyncio.to_thread(process.finish)
    for peer in peers:
        await peer.end()
    opened = [line["process"] for line in map(json.loads, err.splitlines()) if line["event"] == "opened"]
    assert (status, sorted(opened)) == (0, [1, 2])
    assert not exists(path)


async def test_a_killed_server_is_started_again_at_its_path(start: Callable[..., Process], path: Path) -> None:
    start().stop(signal.SIGKILL)
    assert exists(path)
    again = start()
    for peer in await pair(path):
        await peer.end()
    assert again.stop() == 0


def test_a_second_server_does_not_start_at_the_path_of_one_that_runs(
    tmp_path: Path, start: Callable[..., Process], path: Path
) -> None:
    runs = start()
    status, _, err = Process(tmp_path, "--host", f"unix:{path}").finish()
    assert status == 1
    assert err.startswith(f"mcp-actors: Cannot listen on unix:{path}: Address already in use.")
    assert details(path)["status"] == "ok"
    assert runs.stop() == 0


async def test_clients_at_a_unix_socket_have_one_address_unless_their_proxy_is_trusted(
    tmp_path: Path, path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors", SHARED)
    server = Server(tmp_path, host=f"unix:{path}")
    await server.start()
    peer = await Client.open_at(path, URL, **{"X-Forwarded-For": "192.0.2.1"})
    assert list(server.app.addresses._known) == ["unix:"]
    await peer.end()
    await server.stop()


async def test_clients_of_a_trusted_proxy_at_a_unix_socket_have_their_own(tmp_path: Path, path: Path) -> None:
    server = Server(tmp_path, host=f"unix:{path}", trusted_proxies="unix:", max_address_handshakes=1)
    await server.start()
    peers = [await Client.open_at(path, URL, **{"X-Forwarded-For": f"192.0.2.{index}"}) for index in (1, 2)]
    assert list(server.app.addresses._known) == ["192.0.2.1", "192.0.2.2"]
    silent = [await asyncio.open_unix_connection(path) for _ in range(5)]
    peers += [await Client.open_at(path, URL)]  # none of them counts against another
    for _, writer in silent:
        writer.close()
    for peer in peers:
        await peer.end()
    await server.stop()


def test_a_process_of_this_machine_is_told_details_at_a_unix_socket_but_no_client_of_a_proxy(
    start: Callable[..., Process], path: Path
) -> None:
    process = start(MCP_ACTORS_TRUSTED_PROXIES="unix:")
    assert "rooms" in details(path)
    assert "rooms" not in details(path, "X-Forwarded-For: 192.0.2.1")
    assert "rooms" not in details(path, "Host: signaling.example.com")
    assert process.stop() == 0
