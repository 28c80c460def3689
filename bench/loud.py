"""The loud peers (noisy neighbours) of `isolation`: `python -m bench.loud PORT [ROOM ...]`.

Without rooms, one peer floods another and one never reads, each in a room of its own. With rooms, a peer that never
reads joins each of them. They go on until standard input is closed, and then print what the server told them.

Frames are masked once and written repeatedly through plain sockets, so that little CPU is taken from the measurement.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.dialects import DIALECTS
from bench.runner import LoadError
from mcp_actors.protocol.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

ROOT = Path(__file__).parent.parent
BLOCK = 64
"""Frames that the flooder passes to the kernel at once."""

BURST, PAUSE = 10, 0.01
"""Offers per burst to each peer that never reads, and seconds between bursts; about 2.4 MB per second."""
REPLACE_AFTER = 5.0
"""Seconds after which a peer that never reads is replaced, as the server may have closed it."""

RECEIVE_BUFFER = 4096
"""Receive buffer of a peer that never reads, in bytes; the server must buffer the rest."""

TIMEOUT = 60.0
"""Seconds to join and to start."""

CLOSED = int(CloseCode.RATE_LIMITED).to_bytes(2, "big") + b"rate-limited"

HEARD = {"told_to_wait": b'"rate-limited"', "floods_closed": CLOSED, "slow_refused": b'"unavailable"'}
"""The counted events, and the bytes that identify each in the server's output; none longer than `CLOSED`."""

ADDRESSES = {"reader": "192.0.2.1", "flooder": "192.0.2.2", "deaf": "192.0.2.3", "sender": "192.0.2.4"}
"""The client addresses for X-Forwarded-For."""

PEERS = DIALECTS["peers"]
SMALL = 125
MEDIUM = 0xFFFF


def masked(text: bytes) -> bytes:
    """Build a text frame as clients send it, with an all-zero mask."""
    if len(text) <= SMALL:
        return struct.pack("!BB4x", 0x81, 0x80 | len(text)) + text
    if len(text) > MEDIUM:
        raise ValueError("too long for a signal")
    return struct.pack("!BBH4x", 0x81, 0xFE, len(text)) + text


class Counts:
    """Counts what the server told the loud peers; safe to use by several threads."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(HEARD, 0)
        self._lock = threading.Lock()

    def note(self, before: bytes, data: bytes) -> None:
        """Count occurrences in `data`, also those that begin in `before`, the end of the data before it."""
        for name, sign in HEARD.items():
            if found := (before + data).count(sign) - before.count(sign):
                with self._lock:
                    self._counts[name] += found

    def as_json(self) -> str:
        """Return the counts as JSON."""
        return json.dumps(self._counts)


def join(port: int, room: str, member: str, buffer: int = 0) -> socket.socket:
    """Connect a socket and join a room. Each kind of member has an address of its own."""
    peer = socket.socket()
    if buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    peer.settimeout(TIMEOUT)
    peer.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {PEERS.path(member)} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        f"X-Forwarded-For: {ADDRESSES[member.partition('-')[0]]}",
    )
    peer.sendall("\r\n".join((*lines, "", "")).encode())
    _read_until(peer, b"\r\n\r\n")
    payload = {"peer_id": member, "presence": True}
    peer.sendall(masked(json.dumps({"type": "join", "room": room, "payload": payload}).encode()))
    _read_until(peer, PEERS.joined)
    peer.settimeout(None)
    return peer


def _read_until(peer: socket.socket, end: bytes) -> None:
    got = b""
    while end not in got:
        more = peer.recv(4096)
        if not more:
            raise ConnectionError(f"the server closed the connection: {got!r}")
        got += more


def read_all(peer: socket.socket, heard: Counts | None = None) -> None:
    """Read and discard until the connection ends or is closed for flooding."""
    last = b""
    with suppress(OSError):
        while data := peer.recv(1 << 20):
            if heard is not None:
                heard.note(last, data)
                if CLOSED in last + data:
                    return
                last = (last + data)[-len(CLOSED) :]


def flood(port: int, heard: Counts, started: threading.Event) -> None:
    """Send candidates as fast as possible to a peer that reads. Reconnect whenever the server closes the connection."""
    reader = join(port, "loud-flood", "reader")
    threading.Thread(target=read_all, args=(reader,), daemon=True).start()
    block = masked(PEERS.signal("candidate", "loud-flood", 0, "reader").at(0)) * BLOCK
    for number in itertools.count():
        sender = join(port, "loud-flood", f"flooder-{number:06d}")
        hearing = threading.Thread(target=read_all, args=(sender, heard), daemon=True)
        hearing.start()
        with suppress(OSError):
            while hearing.is_alive():
                sender.sendall(block)
                started.set()
        sender.close()


def send_to_non_readers(port: int, heard: Counts, started: threading.Event, *, rooms: Sequence[str] = ()) -> None:
    """Send offers to peers that never read, one in each room. Replace all now and then, and when one is closed."""
    for number in itertools.count():
        places = rooms or (f"loud-deaf-{number}",)
        pairs = [
            (join(port, room, f"deaf-{number}", RECEIVE_BUFFER), join(port, room, f"sender-{number}"))
            for room in places
        ]
        for _, sender in pairs:
            threading.Thread(target=read_all, args=(sender, heard), daemon=True).start()
        bursts = [masked(PEERS.signal("offer", room, 0, f"deaf-{number}").at(0)) * BURST for room in places]
        until = time.monotonic() + REPLACE_AFTER
        with suppress(OSError):  # the server may close a sender, too
            while time.monotonic() < until:
                for (_, sender), burst in zip(pairs, bursts, strict=True):
                    sender.sendall(burst)
                started.set()
                time.sleep(PAUSE)
        for deaf, sender in pairs:
            with suppress(OSError):
                sender.shutdown(socket.SHUT_RDWR)
            deaf.close()


class Loud:
    """The process of the loud peers; it runs while the context lasts. Raises `LoadError` if it ended early."""

    def __init__(self, port: int, *rooms: str) -> None:
        self._arguments = [str(port), *rooms]
        self.heard: dict[str, float] = {}
        """Counts of what the server told them, set when they have ended."""
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.loud", *self._arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe)  # noqa: S603 - our own
        if not self._first_line():
            self._process.wait()
            raise LoadError("the loud peers could not join")
        return self

    def _first_line(self) -> bytes:
        return self._process.stdout.readline() if self._process.stdout else b""

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        ended_early = self._process.poll() is not None
        told, _ = self._process.communicate()
        if ended_early and kind is None:
            raise LoadError("the loud peers ended early")
        self.heard = json.loads(told or "{}")


def main() -> None:
    """Run until standard input is closed or a thread fails."""
    os.nice(19)
    port, rooms = int(sys.argv[1]), sys.argv[2:]
    heard, events = Counts(), []
    for work in (partial(send_to_non_readers, rooms=rooms),) if rooms else (flood, send_to_non_readers):
        events.append(threading.Event())
        threading.Thread(target=_or_end, args=(partial(work, port, heard, events[-1]),), daemon=True).start()
    if all(started.wait(TIMEOUT) for started in events):
        sys.stdout.write("loud\n")
        sys.stdout.flush()
        sys.stdin.read()
        sys.stdout.write(heard.as_json())


def _or_end(work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        sys.stderr.write(f"loud peers: {error}\n")
        os._exit(1)


if __name__ == "__main__":
    main()
