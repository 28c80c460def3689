"""The memory of the process and of the kernel has one ceiling, whoever fills it, and only those who fill it pay."""

from __future__ import annotations

import json
import resource
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from bench.attack.raw_client import frame
from tests.support.server import Process
from tests.support.socket import HANDSHAKE

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
DEADLINE = 30.0
"""Seconds to wait for anything: the machine may be busy."""

MEMORY, SHARE, BUFFER = 24 * MIB, 16 * MIB, 16_384
SETTINGS = {
    "MCP_ACTORS_MAX_MEMORY_BYTES": str(MEMORY),
    "MCP_ACTORS_MAX_ADDRESS_MEMORY_BYTES": str(SHARE),
    "MCP_ACTORS_MAX_SOCKET_BUFFER_BYTES": str(BUFFER),
    "MCP_ACTORS_CONNECTION_BYTE_RATE": "0",
    "MCP_ACTORS_ADDRESS_BYTE_RATE": "0",
    "MCP_ACTORS_CONNECTION_MESSAGE_RATE": "0",
    "MCP_ACTORS_ADDRESS_MESSAGE_RATE": "0",
    "MCP_ACTORS_PING_INTERVAL": "300",  # the clients do not read all the time
    "MCP_ACTORS_RESUME_WINDOW": "300",
}
SLACK = 80 * MIB
"""Memory that the process may take beside what is counted: connections, and messages on their way within it."""

CLIENTS = 150
"""Clients that are sent a MiB each, far more than the ceiling."""

TEXT, SIZE = "x" * 60_000, 60_000
LARGE, HEAD, PING, PONG = 126, 2, 0x89, 0x8A


SIGNS = {"pongs": frame(b"", PONG), "messages": frame(b'{"type":"ping"}')}
"""What a client sends that does not read."""


SMALL = 4096
"""Bytes of a small receive buffer, which leaves the rest to the server."""


class Blocking:
    """A client on a blocking socket, with a source address and a receive buffer of a given size."""

    def __init__(self, port: int, source: str = "127.0.0.1", receive_buffer: int = 65_536) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(DEADLINE)
        self._socket.bind((source, 0))
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(HANDSHAKE)
        self._read = b""
        while b"\r\n\r\n" not in self._read:
            self._read += self._some()
        self._read = self._read.partition(b"\r\n\r\n")[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, kind: str, payload: dict[str, Any], room: str = "r", **fields: Any) -> None:
        """Send a message."""
        text = json.dumps({"type": kind, "room": room, "payload": payload, **fields}).encode()
        self._socket.sendall(frame(text))

    def send(self, data: bytes) -> None:
        """Send a frame."""
        self._socket.sendall(data)

    def expect(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read until a message of a type, with these fields; pings are answered."""
        while True:
            first, payload = self._frame()
            self._answer(first, payload)
            if first == 0x81:
                message: dict[str, Any] = json.loads(payload)
                if message["type"] == kind and fields.items() <= message.items():
                    return message

    def join(self, peer: str, room: str = "r", **payload: Any) -> dict[str, Any]:
        """Join a room, and return the payload of the reply."""
        self.say("join", {"peer_id": peer, **payload}, room, id=str(payload))  # else a reply may be one that was kept
        joined: dict[str, Any] = self.expect("joined", id=str(payload))["payload"]
        return joined

    def vanish(self) -> None:
        """Break the connection."""
        self._socket.close()

    def read_a_little(self) -> None:
        """Read some bytes, and answer the pings among them."""
        self._read += self._socket.recv(16_384)
        size = self._frame_size()
        while size and len(self._read) >= size:
            self._answer(*self._frame())
            size = self._frame_size()

    def _frame_size(self) -> int:
        """The bytes of the next frame, 0 while they are not known."""
        if len(self._read) < 2 * HEAD:
            return 0
        length = self._read[1]
        return HEAD + length if length < LARGE else 2 * HEAD + int.from_bytes(self._read[HEAD : 2 * HEAD], "big")

    def _answer(self, first: int, payload: bytes) -> None:
        if first == PING:
            self._socket.sendall(frame(payload, PONG))

    def _some(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionResetError("the server hung up")
        return data

    def _take(self, size: int) -> bytes:
        while len(self._read) < size:
            self._read += self._some()
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def _frame(self) -> tuple[int, bytes]:
        first, length = self._take(HEAD)
        if length >= LARGE:
            length = int.from_bytes(self._take(2 if length == LARGE else 8), "big")
        return first, self._take(length)


def rss(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def queued(port: int) -> int:
    """The bytes that the kernel keeps for the clients of a port, as they were not taken."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(fields[4].split(":")[0], 16) for fields in lines if fields[1].endswith(f":{port:04X}"))


@pytest.fixture
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    """A server in a process of its own, with small limits."""
    marker = request.node.get_closest_marker("settings")
    changed = {f"MCP_ACTORS_{name.upper()}": str(value) for name, value in (marker.kwargs if marker else {}).items()}
    with Process(tmp_path, "serve", "--port", "0", **(SETTINGS | changed)) as process:
        yield process.wait_until_serving()
        assert process.stop() == 0


def addresses(source: str) -> Iterator[str]:
    """Source addresses of attackers: one, or another for each."""
    for number in range(CLIENTS):
        yield "127.9.9.9" if source == "one" else f"127.10.{number}.1"


def flood(process: Process, sender: Blocking, before: int) -> None:
    """Send each attacker about a MiB of its own, and watch the memory."""
    most = 0
    for _ in range(MIB // SIZE):
        for number in range(CLIENTS):
            sender.say("signal", {"target_peer_id": f"mallory {number}", "data": TEXT})
        sender.say("signal", {"target_peer_id": "nobody", "data": 0}, id="done")
        sender.expect("error", id="done")
        most = max(most, rss(process.process.pid) - before)
        assert queued(process.port) <= CLIENTS * 4 * BUFFER
    assert most <= MEMORY + SLACK


def exchange(one: Blocking, two: Blocking, data: str) -> None:
    """Send a message from `one` to `two`, which has it at once."""
    one.say("signal", {"target_peer_id": "two", "data": data}, "calm")
    while two.expect("signal")["payload"]["data"] != data:
        pass


@pytest.mark.parametrize("source", ["one", "many"])
def test_clients_that_do_not_read_pay_for_the_memory_that_they_take(process: Process, source: str) -> None:
    with ExitStack() as stack:
        one, two, sender = (stack.enter_context(Blocking(process.port)) for _ in range(3))
        one.join("one", "calm")
        two.join("two", "calm")
        sender.join("sender")
        for number, address in enumerate(addresses(source)):
            stack.enter_context(Blocking(process.port, address, SMALL)).join(f"mallory {number}")
        flood(process, sender, rss(process.process.pid))
        exchange(one, two, "still here")
        newcomer = stack.enter_context(Blocking(process.port))
        newcomer.join("newcomer", "calm")


@pytest.mark.settings(max_session_bytes=2 * MIB)
@pytest.mark.parametrize("source", ["one", "many"])
def test_clients_that_are_away_pay_for_the_memory_that_they_take(process: Process, source: str) -> None:
    with ExitStack() as stack:
        sender, bystander = (stack.enter_context(Blocking(process.port)) for _ in range(2))
        sender.join("sender")
        resume = bystander.join("bystander")["resume"]
        bystander.vanish()
        before = rss(process.process.pid)
        for number, address in enumerate(addresses(source)):
            mallory = Blocking(process.port, address)
            mallory.join(f"mallory {number}")
            mallory.vanish()
        sender.say("signal", {"target_peer_id": "bystander", "data": "you were away"})
        flood(process, sender, before)
        bystander = stack.enter_context(Blocking(process.port))
        joined = bystander.join("bystander", resume=resume)
        assert joined["resumed"]


@pytest.mark.settings(max_connections=20, max_address_detached=0)
def test_sessions_of_strangers_keep_nobody_from_coming_back(process: Process) -> None:
    with ExitStack() as stack:
        tokens = []
        for number in range(40):
            mallory = Blocking(process.port, "127.9.9.9")
            mallory.join(f"mallory {number}", "crowd")
            mallory.vanish()
        for number in range(5):
            client = Blocking(process.port, f"127.11.0.{number}")
            tokens.append(client.join(f"client {number}")["resume"])
            client.vanish()
        for number in range(40):
            mallory = Blocking(process.port, "127.9.9.9")
            mallory.join(f"another mallory {number}", "crowd")
            mallory.vanish()
        for number, token in enumerate(tokens):
            client = stack.enter_context(Blocking(process.port, f"127.11.0.{number}"))
            assert client.join(f"client {number}", resume=token)["resumed"]


@pytest.mark.settings(ping_interval=1, max_outbox_bytes=50_000_000)
@pytest.mark.parametrize("sign", SIGNS)
def test_a_client_that_only_sends_is_dropped_and_one_that_reads_slowly_is_not(process: Process, sign: str) -> None:
    with ExitStack() as stack:
        watcher, slow = (stack.enter_context(Blocking(process.port)) for _ in range(2))
        deaf = stack.enter_context(Blocking(process.port, receive_buffer=SMALL))
        watcher.join("watcher", presence=True)
        deaf.join("deaf")
        slow.join("slow")
        for _ in range(50):
            for target in ("deaf", "slow"):
                watcher.say("signal", {"target_peer_id": target, "data": TEXT})
        stopped = threading.Event()

        def live() -> None:
            """Send and read as these two do, until the test ends."""
            while not stopped.wait(0.05):
                slow.read_a_little()
                with suppress(ConnectionError):
                    deaf.send(SIGNS[sign])

        living = threading.Thread(target=live)
        living.start()
        stack.callback(living.join)
        stack.callback(stopped.set)
        assert watcher.expect("peer-away")["payload"]["peer_id"] == "deaf"
