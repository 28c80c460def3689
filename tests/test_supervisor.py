"""Several worker processes on one port: real ones, killed and stopped in every way."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import termios
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient
from websockets.exceptions import InvalidStatus

from bench.engine import Engine
from bench.ports import free_ports
from mcp_actors.app import StartError
from mcp_actors.auth.secret import make
from mcp_actors.environment import load
from mcp_actors.supervisor import MAX_DELAY, MIN_DELAY, STEADY, STOP_TIMEOUT, restart_delay, serve
from tests.support.client import Client
from tests.support.server import FOREIGN, Process, hear, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 30.0

SECRET = make()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the children of a process in /proc")


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with Engine() as engine:
        yield engine.url


@pytest.fixture
def start_node(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Process]]:
    """Start processes that serve one port, and give their clients so many seconds to go when they are stopped."""
    with ExitStack() as running:

        def start(drain_seconds: float, processes: int, **more: str) -> Process:
            environ = {
                "REDIS_URL": redis_url,
                "MCP_ACTORS_SECRET_KEY": SECRET,
                "MCP_ACTORS_LOG_LEVEL": "debug",
                "MCP_ACTORS_DRAIN_SECONDS": str(drain_seconds),
            } | more
            process = Process(tmp_path, "--port", "0", "--processes", str(processes), **environ)
            return running.enter_context(process).wait_until_serving()

        yield start


@pytest.fixture
def node(start_node: Callable[..., Process]) -> Process:
    """Two processes that serve one port, and drain in no time."""
    return start_node(0.3, 2)


async def open_peers(node: Process, count: int) -> list[Client]:
    return [await Client.open(f"ws://localhost:{node.port}/ws/signaling/") for _ in range(count)]


async def expect_reconnect_and_close(peers: list[Client]) -> None:
    for peer in peers:
        await peer.expect("reconnect")
        await peer.expect_close(1012)
        await peer.end()


async def test_all_workers_serve_one_port_and_one_greeting_says_so(tmp_path: Path, redis_url: str) -> None:
    environ = {"REDIS_URL": redis_url, "MCP_ACTORS_SECRET_KEY": SECRET, "MCP_ACTORS_LOG_LEVEL": "debug"}
    with Process(tmp_path, "--port", "0", "--processes", "3", **environ) as node:
        node.wait_until_serving()
        assert node.process.stdout is not None
        assert next(node.process.stdout) == "  processes   3 on this port; a room spans them all\n"
        for peer in await open_peers(node, 40):
            await peer.close()
        node.process.send_signal(signal.SIGTERM)
        status, out, err = await asyncio.to_thread(node.finish)
    assert (status, out) == (0, "")
    lines = [json.loads(line) for line in err.splitlines()]
    listening = [line for line in lines if line["event"] == "listening"]
    assert sorted(line["process"] for line in listening) == [1, 2, 3]
    assert len({line["node"] for line in listening}) == 3
    assert {line["port"] for line in listening} == {node.port}
    assert {line["process"] for line in lines if line["event"] == "opened"} == {1, 2, 3}


async def test_peers_of_all_workers_meet_in_one_room(node: Process) -> None:
    peers = await open_peers(node, 12)
    found = [len((await peer.join("r", str(index)))["peers"]) for index, peer in enumerate(peers)]
    for peer in peers:
        await peer.end()
    assert await asyncio.to_thread(node.stop) == 0
    assert found == list(range(1, 13))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_asks_every_client_to_reconnect_and_exits_0(node: Process, number: int) -> None:
    peers = await open_peers(node, 12)
    node.process.send_signal(number)
    await expect_reconnect_and_close(peers)
    assert await asyncio.to_thread(node.process.wait, DEADLINE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_parent_and_workers_at_once_counts_once(node: Process, number: int) -> None:
    peers = await open_peers(node, 12)
    for pid in (node.process.pid, *workers(node.process)):
        os.kill(pid, number)
    await expect_reconnect_and_close(peers)
    assert await asyncio.to_thread(node.process.wait, DEADLINE) == 0


async def test_the_parent_waits_for_a_drain_which_ends_with_the_last_client(
    start_node: Callable[..., Process],
) -> None:
    node = start_node(STOP_TIMEOUT + 600, 2)
    peers = await open_peers(node, 12)
    node.process.send_signal(signal.SIGTERM)
    for peer in peers:
        await peer.expect("reconnect")
    assert node.process.poll() is None
    for peer in peers:
        await peer.close()
    assert await asyncio.to_thread(node.process.wait, DEADLINE) == 0


@pytest.mark.parametrize("processes", [1, 2])
async def test_probes_are_answered_during_a_drain(start_node: Callable[..., Process], processes: int) -> None:
    node = start_node(600, processes)
    peers = await open_peers(node, 6)
    probe, url = AsyncHTTPClient(), f"http://localhost:{node.port}"
    node.process.send_signal(signal.SIGTERM)
    for peer in peers:
        await peer.expect("reconnect")
    for _ in range(6):
        answer = await probe.fetch(f"{url}/readyz", raise_error=False)
        assert (answer.code, answer.body) == (503, b'{"ready": false, "reason": "draining"}')
        assert (await probe.fetch(f"{url}/healthz")).code == 200
    with pytest.raises(InvalidStatus, match="503"):
        await open_peers(node, 1)
    for peer in peers:
        await peer.close()
    assert await asyncio.to_thread(node.process.wait, DEADLINE) == 0


@pytest.mark.parametrize(("processes", "status"), [(1, -signal.SIGTERM), (2, 128 + signal.SIGTERM)])
async def test_connections_are_accepted_until_load_balancers_have_noticed(
    start_node: Callable[..., Process], processes: int, status: int
) -> None:
    node = start_node(60, processes, MCP_ACTORS_SHUTDOWN_DELAY="60")
    node.process.send_signal(signal.SIGTERM)
    for _ in range(processes):
        await asyncio.to_thread(hear, node.process, "not ready any more, waiting for load balancers")
    answer = await AsyncHTTPClient().fetch(f"http://localhost:{node.port}/readyz", raise_error=False)
    assert (answer.code, json.loads(answer.body)) == (503, {"ready": False, "reason": "draining"})
    peers = await open_peers(node, 4)
    for number, peer in enumerate(peers):
        await peer.join(f"of {processes}", str(number))
    node.process.send_signal(signal.SIGTERM)
    assert (await asyncio.to_thread(node.finish))[0] == status
    for peer in peers:
        await peer.end()


@pytest.mark.parametrize(
    ("processes", "first", "status"), [(1, signal.SIGINT, -signal.SIGTERM), (2, signal.SIGTERM, 128 + signal.SIGTERM)]
)
async def test_a_second_signal_ends_a_drain(
    start_node: Callable[..., Process], processes: int, first: int, status: int
) -> None:
    node = start_node(600, processes)
    peers = await open_peers(node, 6)
    node.process.send_signal(first)
    for peer in peers:
        await peer.expect("reconnect")
    node.process.send_signal(signal.SIGTERM)
    assert (await asyncio.to_thread(node.finish))[0] == status
    for peer in peers:
        await peer.end()


async def test_no_worker_outlives_a_killed_parent(node: Process) -> None:
    peers = await open_peers(node, 12)
    node.process.kill()
    await expect_reconnect_and_close(peers)
    # the pipes end when the last process that could write to them is gone
    status, _, err = await asyncio.to_thread(node.finish)
    assert status == -signal.SIGKILL
    assert err.count('"stopped"') == 2


async def test_a_worker_that_dies_is_restarted_after_a_growing_delay(node: Process) -> None:
    process, port = node.process, node.port
    for _ in range(2):
        hear(process, "listening")
    victim = workers(process)[0]
    for pause in (0.1, 0.2):
        os.kill(victim, signal.SIGKILL)
        died = hear(process, "worker died, restarting it")
        assert (died["level"], died["how"], died["delay"]) == ("warning", "signal SIGKILL", pause)
        again = hear(process, "listening")
        assert (again["process"], again["port"]) == (died["process"], port)
        victim = workers(process)[-1]
    assert len(workers(process)) == 2
    await expect_working(node)


async def expect_working(node: Process) -> None:
    for peer in await open_peers(node, 12):
        await peer.close()
    assert await asyncio.to_thread(node.stop) == 0


async def test_a_worker_that_an_operator_stops_is_restarted(node: Process) -> None:
    for _ in range(2):
        hear(node.process, "listening")
    os.kill(workers(node.process)[0], signal.SIGTERM)
    assert hear(node.process, "worker died, restarting it")["how"] == "exit status 0"
    hear(node.process, "listening")
    await expect_working(node)


async def test_each_worker_listens_on_the_admin_port(start_node: Callable[..., Process]) -> None:
    port = free_ports()
    node = start_node(0, 2, MCP_ACTORS_ADMIN_PORT=str(port))
    hear(node.process, "listening for operators")
    hear(node.process, "listening for operators")
    response = await AsyncHTTPClient().fetch(f"http://localhost:{port}/healthz")
    assert json.loads(response.body)["broker"] == "redis"
    assert node.stop() == 0


def test_without_a_place_for_the_sockets_of_the_processes_the_server_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_url: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    settings = load(overrides={"processes": 2, "redis_url": redis_url}, environ={}, directory=tmp_path)
    with pytest.raises(StartError, match="TMPDIR"):
        serve(settings, asyncio.run, announce=print, complain=print)


def test_a_port_in_use_is_reported_once(tmp_path: Path, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ("--host", "127.0.0.1", "--port", port, "--processes", "3")
        status, out, err = Process(tmp_path, *arguments, REDIS_URL=redis_url, MCP_ACTORS_SECRET_KEY=SECRET).finish()
    assert (status, out) == (1, "")
    assert err.count(f"Cannot listen on 127.0.0.1 port {port}") == err.count("\n") == 1
    assert "--port" in err


def test_a_port_is_not_shared_with_another_deployment(tmp_path: Path, node: Process, redis_url: str) -> None:
    for processes in ("1", "2"):
        arguments = ("--port", str(node.port), "--processes", processes)
        status, _, err = Process(tmp_path, *arguments, REDIS_URL=redis_url, MCP_ACTORS_SECRET_KEY=SECRET).finish()
        assert status == 1
        assert f"port {node.port}" in err
    assert node.stop() == 0


def test_an_unreachable_redis_is_reported_once(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--processes", "3")
    with Process(
        tmp_path, *arguments, REDIS_URL="redis://:hidden@127.0.0.1:1", MCP_ACTORS_SECRET_KEY=SECRET
    ) as process:
        status, out, err = process.finish()
    assert (status, out) == (1, "")
    complaints = [line for line in err.splitlines() if line.startswith("mcp-actors: ")]
    assert len(complaints) == 1
    assert "127.0.0.1:1" in complaints[0]
    assert "hidden" not in err


SCRIPT = """
import os, select, signal, sys
from mcp_actors.logs import set_up
from mcp_actors.supervisor import Alive, Failed, Serving, Supervisor

def runs(parent):
    with open(f"runs of {{parent.number}}", "a+") as file:
        file.write(".")
        return file.tell()

def serve(parent):
    parent.tell(Serving("hello"))
    select.select([parent], [], [])
    return 0

def task(parent):
{task}

set_up("info", "json")
say = lambda text: print(text, flush=True)
complain = lambda text: print(text, file=sys.stderr)
how = {{"stop_timeout": {timeout}, "worker_timeout": {worker_timeout}}}
status = Supervisor({count}, task, announce=say, complain=complain, **how).run()
sys.exit(status)
"""


BLOCKED_BY_SIGUSR1 = """
import asyncio, signal, sys, time
from mcp_actors.environment import load
from mcp_actors.logs import set_up
from mcp_actors.supervisor import serve

async def with_trap(main):
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, time.sleep, 600)
    await main

set_up("info", "json")
say = lambda text: print(text, flush=True)
sys.exit(serve(load(), lambda main: asyncio.run(with_trap(main)), announce=say, complain=say))
"""


def start(
    directory: Path, count: int, task: str, timeout: float = STOP_TIMEOUT, worker_timeout: float = 0.0
) -> subprocess.Popen[str]:
    body = "\n".join(f"    {line}" for line in task.splitlines())
    script = SCRIPT.format(count=count, timeout=timeout, worker_timeout=worker_timeout, task=body)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit status and all that was said; it comes only when every child is gone."""
    try:
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("task", "status", "why"),
    [
        ("parent.tell(Failed('no luck'))\nreturn 3", 3, "no luck\n"),
        ("return 0", 1, "died before it served: exit status 0.\n"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "died before it served: signal SIGKILL.\n"),
        ("raise RuntimeError('no luck')", 1, "RuntimeError: no luck\n"),
        (
            "if parent.number == 2:\n    parent.tell(Failed('no luck'))\n    return 3\nreturn serve(parent)",
            3,
            "no luck\n",
        ),
    ],
)
def test_a_worker_that_cannot_start_stops_all_and_its_error_is_shown_once(
    tmp_path: Path, task: str, status: int, why: str
) -> None:
    code, out, err = finish(start(tmp_path, 3, task))
    assert (code, out) == (status, "")
    assert err.endswith(why)
    assert err.count(why) == 1


def test_a_worker_that_cannot_restart_is_tried_again(tmp_path: Path) -> None:
    task = """\
match runs(parent):
    case 1:
        parent.tell(Serving("hello"))
        os.kill(os.getpid(), signal.SIGKILL)
    case 2 | 3:
        parent.tell(Failed("Redis is away"))
        return 1
parent.tell(Serving("again"))
os.write(1, b"again\\n")
return serve(parent)"""
    process = start(tmp_path, 1, task)
    died = [hear(process, "worker died, restarting it") for _ in range(3)]
    assert [(line["how"], line.get("reason"), line["delay"]) for line in died] == [
        ("signal SIGKILL", None, 0.1),
        ("exit status 1", "Redis is away", 0.2),
        ("exit status 1", "Redis is away", 0.4),
    ]
    assert process.stdout is not None
    assert [next(process.stdout), next(process.stdout)] == ["hello\n", "again\n"]
    process.send_signal(signal.SIGTERM)
    status, out, _ = finish(process)
    assert (status, out) == (0, "")


def test_a_worker_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    task = """\
import threading, time
parent.tell(Serving("hello"))
def keep_telling():
    while True:
        parent.tell(Alive())
        time.sleep(0.05)
if runs(parent) == 1 and parent.number == 1:
    signal.pause()
threading.Thread(target=keep_telling, daemon=True).start()
select.select([parent], [], [])
return 0"""
    process = start(tmp_path, 2, task, worker_timeout=2.0)
    assert process.stdout is not None
    assert next(process.stdout) == "hello\n"
    hangs = hear(process, "worker hangs, killing it")
    assert (hangs["level"], hangs["process"], hangs["silent_seconds"]) == ("warning", 1, 2.0)
    died = hear(process, "worker died, restarting it")
    assert (died["process"], died["how"]) == (1, "signal SIGKILL")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0


async def test_a_server_process_that_stands_still_is_replaced(start_node: Callable[..., Process]) -> None:
    node = start_node(0.3, 2, MCP_ACTORS_WORKER_TIMEOUT="3")
    for _ in range(2):
        hear(node.process, "listening")
    os.kill(workers(node.process)[0], signal.SIGSTOP)
    hangs = await asyncio.to_thread(hear, node.process, "worker hangs, killing it")
    again = await asyncio.to_thread(hear, node.process, "listening")
    assert again["process"] == hangs["process"]
    await expect_working(node)


@pytest.fixture
def blocked_by_sigusr1(tmp_path: Path, redis_url: str) -> Iterator[subprocess.Popen[str]]:
    """Two processes whose event loops SIGUSR1 blocks."""
    settings = {"PORT": "0", "PROCESSES": "2", "WORKER_TIMEOUT": "3", "SECRET_KEY": SECRET, "REDIS_URL": redis_url}
    environ = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environ |= {f"MCP_ACTORS_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-c", BLOCKED_BY_SIGUSR1]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=pipe, stderr=pipe, text=True) as process:
        yield process
        process.kill()


async def test_a_server_process_whose_event_loop_is_blocked_is_replaced(
    blocked_by_sigusr1: subprocess.Popen[str],
) -> None:
    node = blocked_by_sigusr1
    for _ in range(2):
        await asyncio.to_thread(hear, node, "listening")
    os.kill(workers(node)[0], signal.SIGUSR1)
    hangs = await asyncio.to_thread(hear, node, "worker hangs, killing it")
    again = await asyncio.to_thread(hear, node, "listening")
    assert again["process"] == hangs["process"]
    node.send_signal(signal.SIGTERM)
    assert (await asyncio.to_thread(finish, node))[0] == 0


@pytest.mark.parametrize("processes", [1, 2])
async def test_sighup_reloads_and_interrupts_nothing(start_node: Callable[..., Process], processes: int) -> None:
    node = start_node(0.3, processes)
    for _ in range(processes):
        hear(node.process, "listening")
    peers = await open_peers(node, 6)
    node.process.send_signal(signal.SIGHUP)
    for _ in range(processes):
        assert hear(node.process, "reloading")["level"] == "info"
    for index, peer in enumerate(peers):
        await peer.join(f"reloaded by {processes}", str(index))
        await peer.end()
    assert await asyncio.to_thread(node.stop) == 0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_server_ends_with_its_terminal(tmp_path: Path, redis_url: str, processes: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mcp_actors", "--port", "0", "--processes", processes],
        cwd=tmp_path,
        env=os.environ | {"REDIS_URL": redis_url, "MCP_ACTORS_SECRET_KEY": SECRET},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no thread runs yet
    )
    os.close(theirs)
    assert process.stdout is not None
    while "messages" not in next(process.stdout):
        pass
    os.close(ours)
    status, _, err = finish(process)
    assert status == 0
    assert '"stopped"' in err


def test_a_second_signal_kills_workers_that_do_not_stop(tmp_path: Path) -> None:
    task = """\
serve(parent)
os.write(1, b"asked\\n")
while True:
    signal.pause()"""
    process = start(tmp_path, 2, task)
    assert process.stdout is not None
    assert next(process.stdout) == "hello\n"
    process.send_signal(signal.SIGINT)
    assert [next(process.stdout), next(process.stdout)] == ["asked\n", "asked\n"]
    process.send_signal(signal.SIGTERM)
    status, _, err = finish(process)
    assert (status, err) == (128 + signal.SIGTERM, "")


def test_workers_that_do_not_stop_in_time_when_another_cannot_start_are_killed(tmp_path: Path) -> None:
    task = """\
if parent.number == 1:
    serve(parent)
    while True:
        signal.pause()
parent.tell(Failed("no luck"))
return 3"""
    status, _, err = finish(start(tmp_path, 2, task, timeout=0.2))
    assert (status, err) == (3, "no luck\n")


def test_a_long_explanation_of_a_failure_arrives_whole(tmp_path: Path) -> None:
    status, _, err = finish(start(tmp_path, 2, "parent.tell(Failed('no luck ' * 100_000))\nreturn 1"))
    assert (status, err) == (1, "no luck " * 100_000 + "\n")


def test_the_restart_delay_doubles_up_to_a_bound_and_resets_after_steady_service() -> None:
    assert restart_delay(0, 0) == MIN_DELAY
    assert restart_delay(0.1, 1) == 0.2
    assert restart_delay(9, 0) == MAX_DELAY
    assert restart_delay(MAX_DELAY, STEADY) == MIN_DELAY
