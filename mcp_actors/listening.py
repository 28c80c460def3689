"""Listening sockets: on a port, or in the file system (Unix sockets)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tornado.netutil import bind_sockets

from mcp_actors.adapters.tornado.http_server import ListeningSocket
from mcp_actors.app import StartError
from mcp_actors.loopback import UNIX, is_loopback, plain_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BACKLOG = 1024
"""Connections that may wait to be accepted."""

LOCK_TIMEOUT = 2.0
"""Seconds to wait for another server that makes or removes a Unix socket in the same directory."""


class Place(NamedTuple):
    """Where a socket listens: a host and a port, or `unix:` with a path, and port 0."""

    host: str
    port: int

    @classmethod
    def of(cls, listening: socket.socket) -> Place:
        """Return the place of a socket."""
        name = listening.getsockname()
        if listening.family == socket.AF_UNIX:
            path = os.fsdecode(name)
            return cls(UNIX + ("@" + path[1:] if path.startswith("\0") else path), 0)
        return cls(name[0], int(name[1]))

    def __str__(self) -> str:
        """The place for logs and greetings."""
        if self.host.startswith(UNIX):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def most_open(places: Iterable[Place]) -> Place:
    """Return the place that other machines reach, if one of them is such."""
    return min(places, key=lambda place: is_loopback(place.host))


def listen(
    host: str, port: int, *, mode: str = "600", admin: bool = False, shared: bool = False
) -> list[ListeningSocket]:
    """Listen on every address of a host, or at `unix:` with a path. Raises `StartError`.

    `mode`: who may connect to a Unix socket, as for chmod. `admin`: it is the port for operators. `shared` lets other
    processes listen on the same port.
    """
    if host.startswith(UNIX):
        return [_listen_at(host.removeprefix(UNIX), int(mode, 8))]
    try:
        bound = bind_sockets(port, plain_host(host), backlog=BACKLOG, reuse_port=shared)
    except (OSError, UnicodeError) as error:
        if admin:
            hint = "Choose others with MCP_ACTORS_ADMIN_HOST and MCP_ACTORS_ADMIN_PORT; 0 is no port for operators."
        elif getattr(error, "errno", None) == errno.EADDRINUSE:
            hint = f"Is another server running there? Choose another port: --port {port + 1}, or PORT=."
        else:
            hint = "Choose another address with --host, such as localhost or 0.0.0.0, or another port with --port."
        problem = getattr(error, "strerror", None) or error
        raise StartError(f"Cannot listen on {host} port {port}: {problem}. {hint}") from None
    return [ListeningSocket.of(one) for one in bound]


def reserve(host: str, port: int, *, admin: bool = False) -> tuple[int, list[socket.socket]]:
    """Reserve the port; return its number, which the system chooses for 0, and sockets that hold it without listening.

    Workers listen with SO_REUSEPORT, which would silently share the port with another deployment that does so too;
    hence the first attempt without. No connection comes to sockets that do not listen.
    """
    probes = listen(host, port, admin=admin)
    addresses = [probe.getsockname() for probe in probes]
    reserved = []
    for probe, address in zip(probes, addresses, strict=True):
        holder = socket.socket(probe.family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if probe.family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.close()
        holder.bind(address)
        reserved.append(holder)
    return int(addresses[0][1]), reserved


def limit_buffers(sockets: Iterable[socket.socket], *, send: int, receive: int) -> None:
    """Let the kernel buffer so many bytes for each connection that is accepted; 0 leaves that to the system."""
    for option, size in ((socket.SO_SNDBUF, send), (socket.SO_RCVBUF, receive)):
        for one in sockets if size else ():
            one.setsockopt(socket.SOL_SOCKET, option, size)  # accepted connections inherit it


def adopt(listening: socket.socket) -> ListeningSocket:
    """Take over a socket that listens."""
    kind = UnixListeningSocket if listening.family == socket.AF_UNIX else ListeningSocket
    return kind.of(listening)


class UnixListeningSocket(ListeningSocket):
    """A Unix socket. Its connections have no addresses; a number tells them apart.

    Its file is removed when it is closed by the process that made it, unless another server has replaced it.
    """

    _file: _File | None = None

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno)
        self._numbers = count(1)

    def remove_on_close(self, path: Path) -> None:
        """Remove the file when this process closes the socket."""
        self._file = _File.of(path)

    def close(self) -> None:
        """Stop listening, and remove the file."""
        super().close()
        made, self._file = self._file, None
        if made is not None and made.maker == os.getpid():
            with suppress(OSError), _locked(made.path.parent):
                if _File.of(made.path) == made:
                    made.path.unlink()

    def _accept_one(self) -> tuple[socket.socket, Any]:
        connection, _ = super()._accept_one()
        doubled = self.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)  # of TCP, connections inherit it
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, doubled // 2)
        return connection, (UNIX, next(self._numbers))


class _File(NamedTuple):
    """The file of a socket, and the process that made it."""

    path: Path
    device: int
    inode: int
    maker: int

    @classmethod
    def of(cls, path: Path) -> _File:
        found = path.lstat()
        return cls(path, found.st_dev, found.st_ino, os.getpid())


def _listen_at(path: str, mode: int) -> UnixListeningSocket:
    try:
        file = Path(path).absolute()  # a server may change its directory
        with _locked(file.parent):
            _remove_stale(file)
            listening = UnixListeningSocket.of(_bind(file, mode))
            listening.remove_on_close(file)
            return listening
    except OSError as error:
        hint = "Choose another path with --host, such as unix:/run/mcp-actors/signaling.sock."
        if error.errno == errno.EADDRINUSE:
            hint = "Is another server running there? " + hint
        raise StartError(f"Cannot listen on {UNIX}{path}: {error.strerror or error}. {hint}") from None


def _bind(path: Path, mode: int) -> socket.socket:
    """Listen at a path where nothing is. No one beyond `mode` can connect, not even for a moment."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        made.bind(os.fspath(path))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that is gone. Raises `OSError` if there is a file, or a server that runs."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(errno.EEXIST, "There is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)  # a server that accepts nothing is there, too
        try:
            asking.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other servers from making or removing sockets in a directory meanwhile. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)
