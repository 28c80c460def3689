"""The loud peers of `isolation`: `python -m bench.loud PORT` floods, and does not read, until it is told to stop.

Frames are masked once and written over and over through plain sockets, so that being loud takes little CPU from those
who measure.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.dialects import DIALECTS
from bench.runner import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

ROOT = Path(__file__).parent.parent
BLOCK = 64
"""Frames the flooder hands to the kernel at once."""

BURST, PAUSE = 10, 0.01
"""So many offers at once, so many seconds apart, go to the peer that does not read: some 2.4 MB per second."""
DEAF_FOR = 5.0
"""Seconds after which the peer that does not read is replaced by a fresh one, as the server may have closed it."""

DEAF_BUFFER = 4096
"""Bytes the kernel takes for the peer that does not read; what is more, the server has to keep."""

PATIENCE = 10.0
"""Seconds to join, and to begin to be loud."""

PEERS = DIALECTS["peers"]
SMALL = 125
MEDIUM = 0xFFFF


def masked(text: bytes) -> bytes:
    """A text frame as clients write it. The mask is 0, which is one as good as any."""
    if len(text) <= SMALL:
        return struct.pack("!BB4x", 0x81, 0x80 | len(text)) + text
    if len(text) > MEDIUM:
        raise ValueError("too long for a signal")
    return struct.pack("!BBH4x", 0x81, 0xFE, len(text)) + text


def join(port: int, room: str, member: str, buffer: int = 0) -> socket.socket:
    """A socket that is a member of a room."""
    peer = socket.socket()
    if buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    peer.settimeout(PATIENCE)
    peer.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {PEERS.path(member)} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    )
    peer.sendall("\r\n".join((*lines, "", "")).encode())
    _read_until(peer, b"\r\n\r\n")
    for frame in PEERS.opening(room, member):
        peer.sendall(masked(frame))
    _read_until(peer, PEERS.joined)
    peer.settimeout(None)
    return peer


def _read_until(peer: socket.socket, end: bytes) -> None:
    got = b""
    while end not in got:
        more = peer.recv(4096)
        if not more:
            raise ConnectionError(f"the server hung up: {got!r}")
        got += more


def read_all(peer: socket.socket) -> None:
    """Read and throw away, until the connection ends."""
    with suppress(OSError):
        while peer.recv(1 << 20):
            pass


def flood(port: int, begun: threading.Event) -> None:
    """Send candidates as fast as they are taken, to a peer that reads."""
    reader = join(port, "loud-flood", "reader")
    threading.Thread(target=read_all, args=(reader,), daemon=True).start()
    sender = join(port, "loud-flood", "flooder")
    threading.Thread(target=read_all, args=(sender,), daemon=True).start()
    template = PEERS.signal("candidate", "loud-flood", 0, "reader")
    block = masked(template.at(0)) * BLOCK
    while True:
        sender.sendall(block)
        begun.set()


def bother(port: int, begun: threading.Event) -> None:
    """Send offers to a peer that never reads; take a new one now and then."""
    number = 0
    while True:
        room = f"loud-deaf-{number}"
        deaf, sender = join(port, room, "deaf", DEAF_BUFFER), join(port, room, "sender")
        threading.Thread(target=read_all, args=(sender,), daemon=True).start()
        burst = masked(PEERS.signal("offer", room, 0, "deaf").at(0)) * BURST
        until = time.monotonic() + DEAF_FOR
        while time.monotonic() < until:
            sender.sendall(burst)
            begun.set()
            time.sleep(PAUSE)
        sender.shutdown(socket.SHUT_RDWR)
        deaf.close()
        number += 1


class Loud:
    """The loud peers, as a process: they are at it while the context lasts. Raises `LoadError` if they fell silent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.loud", str(self._port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)  # noqa: S603 - our own
        if not self._said():
            self._process.wait()
            raise LoadError("the loud peers did not get in")
        return self

    def _said(self) -> bytes:
        return self._process.stdout.readline() if self._process.stdout else b""

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        fell_silent = self._process.poll() is not None
        self._process.terminate()
        self._process.communicate()
        if fell_silent and kind is None:
            raise LoadError("the loud peers ended before the measurement did")


def main() -> None:
    """Be loud until the process is ended, or one of the two fails; with what CPU the others leave."""
    os.nice(19)
    events = []
    for work in (flood, bother):
        events.append(threading.Event())
        threading.Thread(target=_or_end, args=(work, int(sys.argv[1]), events[-1]), daemon=True).start()
    if all(begun.wait(PATIENCE) for begun in events):
        sys.stdout.write("loud\n")
        sys.stdout.flush()
        threading.Event().wait()


def _or_end(work: Callable[[int, threading.Event], None], port: int, begun: threading.Event) -> None:
    try:
        work(port, begun)
    except OSError as error:
        sys.stderr.write(f"loud peers: {error}\n")
        os._exit(1)


if __name__ == "__main__":
    main()
