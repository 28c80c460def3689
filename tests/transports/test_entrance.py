"""Where connections come in, when many do and say nothing, or no files are left."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from mcp_actors.transports.entrance import TURN, Door
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE, Client
from tests.support.loop import until
from tests.support.server import Process, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is closed after the test."""
    with ExitStack() as stack:
        yield stack


def knock(stack: ExitStack, port: int, words: bytes = b"") -> socket.socket:
    knocking = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))
    knocking.sendall(words)
    knocking.setblocking(False)
    return knocking


def is_hung_up_on(knocking: socket.socket) -> bool:
    try:
        return knocking.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


async def open_until_turned_away(port: int) -> list[Client]:
    opened: list[Client] = []
    with suppress(OSError, WebSocketException):
        while True:
            opened.append(await Client.open(f"ws://127.0.0.1:{port}/ws/signaling/"))
    return opened


def test_a_process_allows_itself_as_many_files_as_the_system_does() -> None:
    code = (
        "import resource; from mcp_actors.transports.entrance import allow_many_files; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256)); allow_many_files(); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "(256, 256)\n"


def test_many_that_come_at_once_are_let_in_by_turns(stack: ExitStack) -> None:
    """Others are served between two turns: one of them used to be as long as the queue."""
    door = stack.enter_context(Door.of(socket.create_server(("127.0.0.1", 0))))
    door.setblocking(False)
    waiting = 2 * TURN + 1
    for _ in range(waiting):
        knock(stack, door.getsockname()[1])
    while waiting:
        let_in = 0
        with suppress(BlockingIOError):
            while True:
                stack.enter_context(door.accept()[0])
                let_in += 1
        assert 1 <= let_in <= TURN
        waiting -= let_in


@pytest.mark.settings(max_handshakes=8)
@pytest.mark.parametrize("words", [b"", b"GET /ws/signaling/ HTTP/1.1\r\nHost: "])
async def test_the_oldest_that_is_no_websocket_yet_goes_for_a_new_one(
    server: Server, stack: ExitStack, words: bytes
) -> None:
    a, b = await server.pair()
    entrance = server.app._server
    await until(lambda: entrance.handshakes == 0, "no handshake under way")
    silent = []
    for number in range(20):
        silent.append(knock(stack, server.app.port, words))
        await until(lambda: entrance.handshakes == min(8, number + 1), "the connection is accepted")  # noqa: B023
    await until(lambda: all(map(is_hung_up_on, silent[:12])), "the twelve oldest are gone")
    assert not any(map(is_hung_up_on, silent[12:]))
    newcomer = await server.peer()
    await newcomer.join("r", "c")
    for peer in (a, b):
        await peer.expect("peer-joined", peer_id="c")


@pytest.mark.settings(max_address_handshakes=3)
async def test_more_from_one_address_than_it_may_have_are_hung_up_on_and_the_first_stay(
    server: Server, stack: ExitStack
) -> None:
    entrance = server.app._server
    silent = [knock(stack, server.app.port) for _ in range(8)]
    await until(lambda: sum(map(is_hung_up_on, silent)) == 5, "five are gone")
    assert not any(map(is_hung_up_on, silent[:3]))
    other = stack.enter_context(socket.socket())
    other.bind(("127.0.0.2", 0))
    other.connect(("127.0.0.1", server.app.port))
    await until(lambda: entrance.handshakes == 4, "one of another address is let in")
    for knocking in silent[:3]:
        knocking.close()
    await until(lambda: entrance.handshakes == 1, "they are gone, and no more counted")
    assert list(entrance._by_address.values()) == [1]
    await (await server.peer()).join("r", "a")


@pytest.mark.settings(max_address_handshakes=1, trusted_proxies=("127.0.0.1",))
async def test_a_trusted_proxy_has_as_many_under_way_as_there_may_be_in_all(server: Server, stack: ExitStack) -> None:
    silent = [knock(stack, server.app.port) for _ in range(5)]
    await until(lambda: server.app._server.handshakes == 5, "all are let in")
    assert not any(map(is_hung_up_on, silent))


@pytest.mark.settings(max_handshakes=1)
async def test_websockets_are_not_counted_nor_requests_that_were_answered(server: Server) -> None:
    peers = [await server.peer() for _ in range(5)]
    for number, peer in enumerate(peers):
        await peer.join("r", str(number))
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.app.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()
    await until(lambda: server.app._server.handshakes == 0, "nothing is counted")
    await peers[0].say("signal", "r", {"target_peer_id": "4", "data": 1})
    await peers[4].expect("signal")


async def test_websockets_over_tls_are_not_counted(tmp_path: Path) -> None:
    pem = make_certificate(tmp_path / "server.pem")
    server = Server(tmp_path, tls_cert_file=str(pem), max_handshakes=1)
    await server.start()
    trusting = ssl.create_default_context(cafile=str(pem))
    url = server.url("/ws/signaling/", "wss")
    peers = [Client(await connect(url, ssl=trusting, compression=None, proxy=None)) for _ in range(3)]
    for number, peer in enumerate(peers):
        await peer.join("r", str(number))
    await until(lambda: server.app._server.handshakes == 0, "nothing is counted")
    for peer in peers:
        await peer.close()
    await server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the files of another process")
async def test_a_process_without_files_left_turns_newcomers_away_quietly_and_serves_on(
    tmp_path: Path, stack: ExitStack
) -> None:
    with Process(tmp_path, "--port", "0", "--host", "127.0.0.1") as server:
        server.wait_until_serving()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (100, 100))
        a, b = [await Client.open(f"ws://127.0.0.1:{server.port}/ws/signaling/") for _ in range(2)]
        await a.join("r", "a")
        await b.join("r", "b")
        await a.expect("peer-joined")
        silent = [knock(stack, server.port) for _ in range(200)]
        await until(lambda: sum(map(is_hung_up_on, silent)) > 100, "most are hung up on")
        newcomer = await Client.open(f"ws://127.0.0.1:{server.port}/ws/signaling/")
        await newcomer.join("r", "c")
        full = await open_until_turned_away(server.port)
        assert 50 < len(full) < 100
        await a.expect("peer-joined", peer_id="c")
        await a.say("signal", "r", {"target_peer_id": "b", "data": 1})
        await b.expect("peer-joined", peer_id="c")
        await b.expect("signal", data=1)
        for client in (a, b, newcomer, *full):
            await client.end()
        files = Path(f"/proc/{server.process.pid}/fd")
        await until(lambda: len(list(files.iterdir())) < 50, "the server has closed what was cut")
        await (await Client.open(f"ws://127.0.0.1:{server.port}/ws/signaling/")).end()
        server.process.terminate()
        status, _, err = await asyncio.to_thread(server.finish)
    assert status == 0
    warnings = [json.loads(line) for line in err.splitlines() if json.loads(line)["level"] != "info"]
    assert len(warnings) == 1
    assert "no files left" in warnings[0]["event"]
