"""The HTTP server under load: many connections that say nothing, and no files left."""

from __future__ import annotations

import asyncio
import json
import os
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

from mcp_actors.adapters.tornado.http_server import MAX_ACCEPTED, HttpServer, ListeningSocket
from mcp_actors.server import REQUEST_BUFFER
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE, Client
from tests.support.loop import until
from tests.support.server import Process, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.iostream import IOStream


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes sockets after the test."""
    with ExitStack() as stack:
        yield stack


def open_socket(stack: ExitStack, port: int, words: bytes = b"") -> socket.socket:
    opened = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))
    opened.sendall(words)
    opened.setblocking(False)
    return opened


def is_closed(opened: socket.socket) -> bool:
    try:
        return opened.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


async def open_until_refused(port: int) -> list[Client]:
    opened: list[Client] = []
    with suppress(OSError, WebSocketException):
        while True:
            opened.append(await Client.open(f"ws://127.0.0.1:{port}/ws/signaling/"))
    return opened


def test_a_process_allows_itself_as_many_files_as_the_system_does() -> None:
    code = (
        "import resource; from mcp_actors.adapters.tornado.http_server import allow_many_files; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256)); allow_many_files(); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "(256, 256)\n"


def test_connections_that_arrive_at_once_are_accepted_in_batches(stack: ExitStack) -> None:
    listening = stack.enter_context(ListeningSocket.of(socket.create_server(("127.0.0.1", 0))))
    listening.setblocking(False)
    accepted: list[socket.socket] = []
    listening.accepted = lambda connection, _address: accepted.append(stack.enter_context(connection))
    waiting = 2 * MAX_ACCEPTED + 1
    for _ in range(waiting):
        open_socket(stack, listening.getsockname()[1])
    for batch in (MAX_ACCEPTED, MAX_ACCEPTED, 1):
        accepted.clear()
        with pytest.raises(BlockingIOError):
            listening.accept()
        assert len(accepted) == batch


async def test_accepted_connections_are_served_by_address_in_turn(
    server: Server, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []
    handle_stream = HttpServer.handle_stream

    def note(http_server: HttpServer, stream: IOStream, address: tuple[str, int]) -> None:
        served.append(address[0])
        handle_stream(http_server, stream, address)

    monkeypatch.setattr(HttpServer, "handle_stream", note)
    for number in (*[1] * 9, *[2] * 5, 3):  # in the order in which the system accepts them, at once
        opened = stack.enter_context(socket.socket())
        opened.bind((f"127.0.0.{number}", 0))
        opened.connect(("127.0.0.1", server.port))
        opened.sendall(b"G")
    await until(lambda: len(served) == 15, "all are served")
    assert [address[-1] for address in served] == [*"123", *"12" * 4, *"1" * 4]


@pytest.mark.settings(max_handshakes=8, request_timeout=5)
async def test_the_address_with_the_most_handshakes_gives_up_its_oldest(server: Server, stack: ExitStack) -> None:
    one = stack.enter_context(socket.socket())
    one.bind(("127.0.0.2", 0))
    one.connect(("127.0.0.1", server.port))
    one.setblocking(False)
    await until(lambda: server.http_server.handshakes == 1, "it is accepted")
    silent = [open_socket(stack, server.port) for _ in range(20)]
    await until(lambda: sum(map(is_closed, silent)) == 13, "the oldest of the address with the most are gone")
    assert not any(map(is_closed, [one, *silent[13:]]))


@pytest.mark.settings(max_handshakes=8)
@pytest.mark.parametrize("words", [b"", b"GET /ws/signaling/ HTTP/1.1\r\nHost: "])
async def test_the_oldest_handshake_is_closed_for_a_new_connection(
    server: Server, stack: ExitStack, words: bytes
) -> None:
    a, b = await server.pair()
    http_server = server.http_server
    await until(lambda: http_server.handshakes == 0, "no handshake under way")
    silent = []
    for number in range(20):
        silent.append(open_socket(stack, server.port, words))
        await until(lambda: http_server.handshakes == min(8, number + 1), "the connection is accepted")  # noqa: B023
    await until(lambda: all(map(is_closed, silent[:12])), "the twelve oldest are gone")
    assert not any(map(is_closed, silent[12:]))
    newcomer = await server.peer()
    await newcomer.join("r", "c")
    for peer in (a, b):
        await peer.expect("peer-joined", peer_id="c")


@pytest.mark.settings(max_address_handshakes=3)
async def test_handshakes_of_one_address_beyond_its_limit_are_closed_and_the_first_stay(
    server: Server, stack: ExitStack
) -> None:
    http_server = server.http_server
    silent = [open_socket(stack, server.port) for _ in range(8)]
    await until(lambda: sum(map(is_closed, silent)) == 5, "five are gone")
    assert not any(map(is_closed, silent[:3]))
    other = stack.enter_context(socket.socket())
    other.bind(("127.0.0.2", 0))
    other.connect(("127.0.0.1", server.port))
    await until(lambda: http_server.handshakes == 4, "one of another address is let in")
    for opened in silent[:3]:
        opened.close()
    await until(lambda: http_server.handshakes == 1, "they are gone, and no more counted")
    await (await server.peer()).join("r", "a")


@pytest.mark.settings(max_address_handshakes=3)
async def test_connections_that_another_process_has_accepted_count_and_are_served_as_any_other(
    server: Server, stack: ExitStack
) -> None:
    http_server = server.http_server
    clients = []
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        for _ in range(5):
            clients.append(open_socket(stack, elsewhere.getsockname()[1], b"GET /healthz HTTP/1.1\r\n"))
            http_server.take(*elsewhere.accept())
    await until(lambda: sum(map(is_closed, clients)) == 2, "two are gone")
    assert not any(map(is_closed, clients[:3]))
    assert http_server.handshakes == 3
    clients[0].setblocking(True)
    clients[0].sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
    answer = await asyncio.to_thread(clients[0].recv, 64)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.settings(max_address_handshakes=1, trusted_proxies=("127.0.0.1",))
async def test_a_trusted_proxy_may_have_as_many_handshakes_as_there_may_be_in_all(
    server: Server, stack: ExitStack
) -> None:
    silent = [open_socket(stack, server.port) for _ in range(5)]
    await until(lambda: server.http_server.handshakes == 5, "all are accepted")
    assert not any(map(is_closed, silent))


@pytest.mark.settings(max_handshakes=1)
@pytest.mark.settings(request_timeout=0.2)
async def test_a_connection_on_which_nothing_arrives_is_closed_in_the_end(server: Server, stack: ExitStack) -> None:
    silent = open_socket(stack, server.port)
    await until(lambda: is_closed(silent), "it is closed")
    assert server.http_server.handshakes == 0


def receive_buffer_at_server(client: tuple[str, int]) -> int:
    """The limit of the receive buffer of a connection, which the server has in this process."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(link.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(link.name))) as found:
                    if found.getpeername() == client:
                        return found.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    raise AssertionError(f"no connection of {client}")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for sockets in /proc")
@pytest.mark.parametrize("secure", [False, True])
async def test_the_kernel_buffers_less_of_requests_than_of_websockets(
    tmp_path: Path, stack: ExitStack, secure: bool
) -> None:
    certificate = {"tls_cert_file": str(make_certificate(tmp_path / "server.pem"))} if secure else {}
    server = Server(tmp_path, max_socket_buffer_bytes=50_000, **certificate)
    await server.start()
    try:
        silent = open_socket(stack, server.port)
        await until(lambda: server.http_server.handshakes == 1, "it is accepted")
        websocket = await server.client("/ws/signaling/")
        sizes = [receive_buffer_at_server(one) for one in (silent.getsockname(), websocket.socket.local_address)]
        assert sizes == [2 * REQUEST_BUFFER, 100_000]  # Linux doubles them
    finally:
        await server.stop()


async def test_websockets_and_answered_requests_do_not_count_as_handshakes(server: Server) -> None:
    peers = [await server.peer() for _ in range(5)]
    for number, peer in enumerate(peers):
        await peer.join("r", str(number))
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()
    await until(lambda: server.http_server.handshakes == 0, "nothing is counted")
    await peers[0].say("signal", "r", {"target_peer_id": "4", "data": 1})
    await peers[4].expect("signal")


async def test_websockets_over_tls_do_not_count_as_handshakes(tmp_path: Path) -> None:
    pem = make_certificate(tmp_path / "server.pem")
    server = Server(tmp_path, tls_cert_file=str(pem), max_handshakes=1)
    await server.start()
    trusting = ssl.create_default_context(cafile=str(pem))
    url = server.url("/ws/signaling/", "wss")
    peers = [Client(await connect(url, ssl=trusting, compression=None, proxy=None)) for _ in range(3)]
    for number, peer in enumerate(peers):
        await peer.join("r", str(number))
    await until(lambda: server.http_server.handshakes == 0, "nothing is counted")
    for peer in peers:
        await peer.close()
    await server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the files of another process")
async def test_a_process_that_is_out_of_files_sheds_connections_and_serves_on(tmp_path: Path, stack: ExitStack) -> None:
    with Process(tmp_path, "--port", "0", "--host", "127.0.0.1") as server:
        server.wait_until_serving()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (100, 100))
        a, b = [await Client.open(f"ws://127.0.0.1:{server.port}/ws/signaling/") for _ in range(2)]
        await a.join("r", "a")
        await b.join("r", "b")
        await a.expect("peer-joined")
        silent = [open_socket(stack, server.port) for _ in range(200)]
        await until(lambda: sum(map(is_closed, silent)) > 100, "most are hung up on")
        newcomer = await Client.open(f"ws://127.0.0.1:{server.port}/ws/signaling/")
        await newcomer.join("r", "c")
        full = await open_until_refused(server.port)
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
    assert "out of file descriptors" in warnings[0]["event"]
