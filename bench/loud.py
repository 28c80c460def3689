"""The loud peers of `isolation`: `python -m bench.loud PORT` floods, and does not read, until its input ends.

With names of rooms behind the port there is no flood, but a peer that does not read in each of these rooms. At the end
it says what happened to them.

Frames are masked once and written over and over through plain sockets, so that being loud takes little CPU from those
who measure.
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
"""Frames the flooder hands to the kernel at once."""

BURST, PAUSE = 10, 0.01
"""So many offers at once, so many seconds apart, go to each peer that does not read: some 2.4 MB per second."""
DEAF_FOR = 5.0
"""Seconds after which the peer that does not read is replaced by a fresh one, as the server may have closed it."""

DEAF_BUFFER = 4096
"""Bytes the kernel takes for the peer that does not read; what is more, the server has to keep."""

PATIENCE = 10.0
"""Seconds to join, and to begin to be loud."""

CLOSED = int(CloseCode.RATE_LIMITED).to_bytes(2, "big") + b"rate-limited"

HEARD = {"told_to_wait": b'"rate-limited"', "floods_closed": CLOSED, "slow_closed": b'"peer-away"'}
"""What the server says to the loud ones, and by what it is known: no more bytes than in `CLOSED`."""

ADDRESSES = {"reader": "192.0.2.1", "flooder": "192.0.2.2", "deaf": "192.0.2.3", "sender": "192.0.2.4"}
"""Where they come from, for a server that believes it."""

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


class Heard:
    """What the server said to the loud ones."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(HEARD, 0)
        self._lock = threading.Lock()

    def note(self, before: bytes, data: bytes) -> None:
        """Count what is said in some bytes, and not what was in the last of those before them already."""
        for name, sign in HEARD.items():
            if found := (before + data).count(sign) - before.count(sign):
                with self._lock:
                    self._counts[name] += found

    def told(self) -> str:
        """All of it, as JSON."""
        return json.dumps(self._counts)


def join(port: int, room: str, member: str, buffer: int = 0) -> socket.socket:
    """A socket that is a member of a room; each kind of them comes from an address of its own."""
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
            raise ConnectionError(f"the server hung up: {got!r}")
        got += more


def read_all(peer: socket.socket, heard: Heard | None = None) -> None:
    """Read and throw away, until the connection ends, or is said to."""
    last = b""
    with suppress(OSError):
        while data := peer.recv(1 << 20):
            if heard is not None:
                heard.note(last, data)
                if CLOSED in last + data:
                    return
                last = (last + data)[-len(CLOSED) :]


def flood(port: int, heard: Heard, begun: threading.Event) -> None:
    """Send candidates as fast as they are taken, to a peer that reads; come back whenever the server closes."""
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
                begun.set()
        sender.close()


def bother(port: int, heard: Heard, begun: threading.Event, *, rooms: Sequence[str] = ()) -> None:
    """Send offers to peers that never read, one in each room; take new ones now and then."""
    for number in itertools.count():
        places = rooms or (f"loud-deaf-{number}",)
        pairs = [
            (join(port, room, f"deaf-{number}", DEAF_BUFFER), join(port, room, f"sender-{number}")) for room in places
        ]
        for _, sender in pairs:
            threading.Thread(target=read_all, args=(sender, heard), daemon=True).start()
        bursts = [masked(PEERS.signal("offer", room, 0, f"deaf-{number}").at(0)) * BURST for room in places]
        until = time.monotonic() + DEAF_FOR
        while time.monotonic() < until:
            for (_, sender), burst in zip(pairs, bursts, strict=True):
                sender.sendall(burst)
            begun.set()
            time.sleep(PAUSE)
        for deaf, sender in pairs:
            sender.shutdown(socket.SHUT_RDWR)
            deaf.close()


class Loud:
    """The loud peers, as a process: they are at it while the context lasts. Raises `LoadError` if they fell silent."""

    def __init__(self, port: int, *rooms: str) -> None:
        self._arguments = [str(port), *rooms]
        self.heard: dict[str, float] = {}
        """What happened to them, once they have ended."""
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.loud", *self._arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe)  # noqa: S603 - our own
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
        told, _ = self._process.communicate()
        if fell_silent and kind is None:
            raise LoadError("the loud peers ended before the measurement did")
        self.heard = json.loads(told or "{}")


def main() -> None:
    """Be loud until the process is ended, or one of the two fails; with what CPU the others leave."""
    os.nice(19)
    port, rooms = int(sys.argv[1]), sys.argv[2:]
    heard, events = Heard(), []
    for work in (partial(bother, rooms=rooms),) if rooms else (flood, bother):
        events.append(threading.Event())
        threading.Thread(target=_or_end, args=(partial(work, port, heard, events[-1]),), daemon=True).start()
    if all(begun.wait(PATIENCE) for begun in events):
        sys.stdout.write("loud\n")
        sys.stdout.flush()
        sys.stdin.read()
        sys.stdout.write(heard.told())


def _or_end(work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        sys.stderr.write(f"loud peers: {error}\n")
        os._exit(1)


if __name__ == "__main__":
    main()
